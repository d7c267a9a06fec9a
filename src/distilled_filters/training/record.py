"""What a run folder says of itself: recipe, environment, data digests, and what training reached.

`recipe.json` is written when a run begins and again when it ends; `student.safetensors`
comes last, so that a folder which has one is finished.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distilled_filters.checkpoints import sha256_of
from distilled_filters.errors import SettingError
from distilled_filters.files import write_json
from distilled_filters.spec import LensSpec

__all__ = ["STUDENT_FILE", "Run", "begin", "digests", "environment", "finish", "is_finished", "read_run"]

STUDENT_FILE = "student.safetensors"
_RECORD_FILE = "recipe.json"
_LIBRARIES = ("distilled-filters", "torch", "transformers", "accelerate", "tokenizers", "numpy", "scikit-learn")
_OF_EXPERTS = ("peft", "bitsandbytes", "unsloth")


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its recipe's fields, and the Trainer's history.

    `lenses` are the dimensions of every head by its filter's name, in the head's order;
    None in runs that are older than this part of the record.
    """

    folder: Path
    recipe: dict[str, Any]
    history: list[dict[str, Any]]
    lenses: dict[str, list[str]] | None

    @property
    def is_expert(self) -> bool:
        """Whether a language model was trained, and no encoder."""
        return "method" in self.recipe

    @property
    def weights(self) -> Path:
        """The student's file."""
        return self.folder / STUDENT_FILE

    @property
    def looks(self) -> list[dict[str, Any]]:
        """The history's rows that measured the validation split."""
        return [row for row in self.history if "eval_ranking" in row]

    @property
    def best(self) -> dict[str, Any]:
        """The look whose student was kept."""
        return max(self.looks, key=lambda row: float(row["eval_ranking"]))


def is_finished(folder: Path) -> bool:
    """Tell whether training has ended in a folder."""
    return (folder / STUDENT_FILE).is_file() and (folder / _RECORD_FILE).is_file()


def read_run(folder: Path) -> Run:
    """Read a finished run.

    Raises:
        SettingError: when there is none, or it has not finished.
    """
    if not (folder / _RECORD_FILE).is_file():
        raise SettingError(
            f"{folder} is no training run: it has no {_RECORD_FILE}. Runs are made by `distillery train`"
        )
    if not is_finished(folder):
        raise SettingError(
            f"the run in {folder} has not finished: it has no {STUDENT_FILE}. "
            f"Repeat its `distillery train` with --output {folder} to go on"
        )
    record = _read(folder)
    heads = record.get("lenses")
    return Run(
        folder,
        record["recipe"],
        record.get("history", []),
        heads and {head["name"]: head["dimensions"] for head in heads},
    )


def digests(files: Mapping[str, Path], splits: Iterable[str]) -> dict[str, Any]:
    """Return what tells one state of the data from another: a SHA-256 a file, and rows a split."""
    return {
        "sha256": {name: sha256_of(path) for name, path in sorted(files.items())},
        "rows": dict(sorted(Counter(splits).items())),
    }


def begin(output: Path, recipe: Mapping[str, Any], lenses: Sequence[LensSpec], data: Mapping[str, Any]) -> None:
    """Record what a run is about to do, or check that it does what it began as.

    Raises:
        SettingError: when the folder holds a run with another recipe, other filters or
            other data, naming what differs.
    """
    heads = [{"name": lens.name, "dimensions": list(lens.dimension_names)} for lens in lenses]
    if not (output / _RECORD_FILE).exists():
        if (output / "checkpoints").exists():
            raise SettingError(f"{output} holds checkpoints and no {_RECORD_FILE}; choose another --output")
        output.mkdir(parents=True, exist_ok=True)
        record = {"recipe": recipe, "lenses": heads, "data": data, "environment": environment()}
        write_json(output / _RECORD_FILE, {**record, "rows": data["rows"].get("train", 0), "history": []})
        return
    earlier = _read(output)
    differing = _differing(earlier["recipe"], recipe)
    if not differing and earlier.get("lenses") != heads:
        differing = ["the filters or their dimensions have changed"]
    if not differing and earlier.get("data") != data:
        differing = [_changed(earlier.get("data"), data)]
    if differing:
        raise SettingError(
            f"{output} holds another run: {'; '.join(differing)}. "
            "Choose another --output; a finished run's student is taken up with --start"
        )


def finish(output: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Add to the record what training reached, and at which step it was best."""
    record = {**_read(output), "history": list(history)}
    best = Run(output, record["recipe"], record["history"], None).best
    record["best"] = {
        "step": best["step"],
        **{key: best[f"eval_{key}"] for key in ("ranking", "medium_ap", "scope_ap")},
    }
    write_json(output / _RECORD_FILE, record)


def environment() -> dict[str, Any]:
    """Return what a run's figures may depend on beside its recipe and data."""
    import torch

    cuda = torch.cuda.is_available()
    libraries = (*_LIBRARIES, *(name for name in _OF_EXPERTS if importlib.util.find_spec(name)))
    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in libraries},
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name() if cuda else f"cpu ({platform.machine()}, {os.cpu_count()} processors)",
        "threads": torch.get_num_threads(),
        "git_commit": _git_commit(),
    }


def _git_commit() -> str | None:
    """Return the commit of the checkout this package is part of, with `-dirty` where files have changed."""
    here = Path(__file__)

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here.parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        # An installed package may lie in somebody else's checkout.
        git("ls-files", "--error-unmatch", here.name)
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return None


def _read(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / _RECORD_FILE).read_text(encoding="utf-8"))
    return record


def _differing(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    keys = [key for key in {**earlier, **now} if earlier.get(key) != now.get(key)]
    return [f"{key} was {earlier.get(key)!r}, is {now.get(key)!r}" for key in keys]


def _changed(earlier: Mapping[str, Any] | None, now: Mapping[str, Any]) -> str:
    before, after = (earlier or {}).get("sha256", {}), now["sha256"]
    names = sorted(name for name in {**before, **after} if before.get(name) != after.get(name))
    return f"the data have changed ({', '.join(names) or 'other rows can be read'})"
