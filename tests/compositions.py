"""Checkpoints made of others, written by hand: what the tests of cascades and ensembles share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distilled_filters.checkpoints import sha256_of
from distilled_filters.spec import read_filter_spec
from tests.conftest import Document, edited, file_ref
from tests.language_models import CHECKPOINT

STUDENT = "me5_small"


def add_cascade(home: Path, ask: Sequence[tuple[float, float]], name: str = "cascade") -> None:
    """Give a filter with an expert a cascade that asks it in these ranges of the student's average."""
    content = {"made_for": fingerprints(home), "source": "by hand", "ask": ask}
    entry = {"kind": "cascade", "student": STUDENT, "expert": CHECKPOINT}
    _write(home, name, entry, route=("cascade.json", content))


def add_ensemble(home: Path, coefficients: dict[str, list[float]], name: str = "ensemble") -> None:
    """Give a filter an ensemble with these factors, and tables that change nothing."""
    content = {"made_for": fingerprints(home), "source": "by hand", "coefficients": coefficients}
    folder = home / name
    folder.mkdir(exist_ok=True)
    (folder / "ensemble.json").write_text(json.dumps(content), encoding="utf-8")
    bound = {"head_sha256": sha256_of(folder / "ensemble.json")}
    intervals = {"coverage": 0.9, "edges": [], "half_widths": [10.0]}
    entry = {"kind": "ensemble", "members": list(coefficients), "method": "mean"}
    _write(
        home, name, entry, combination=("ensemble.json", content),
        calibration=("calibration.json", {**bound, "dimensions": {}, "intervals": intervals}),
        percentiles=("percentiles.json", {**bound, "source": "none yet", "averages": [0.0, 10.0]}),
    )  # fmt: skip


def fingerprints(home: Path) -> dict[str, str]:
    """Return those of student and expert as the spec has them now."""
    spec = read_filter_spec(home / "filter.toml")
    return {name: spec.checkpoints[name].fingerprint for name in (STUDENT, CHECKPOINT)}


def _write(home: Path, name: str, entry: Document, **files: tuple[str, Any]) -> None:
    (home / name).mkdir(exist_ok=True)
    for key, (file, content) in files.items():
        path = home / name / file
        path.write_text(json.dumps(content), encoding="utf-8")
        entry[key] = {**file_ref(path), "path": f"{name}/{file}"}
    with edited(home / "filter.toml") as spec:
        spec["checkpoints"][name] = entry
