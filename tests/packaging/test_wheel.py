"""The wheel as a user gets it: what is in it, and that it scores alone and offline."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LARGEST_WHEEL = 60_000_000

# Every path a wheel may hold; anything else (articles, labels, checkpoints of a run) is a leak.
ALLOWED = [
    r"distilled_filters/([a-z_]+/)*[a-z_0-9]+\.py",
    r"distilled_filters/py\.typed",
    r"distilled_filters/training/(evaluate/report|readiness/report|pages/page|pages/parts)\.html",
    r"distilled_filters/filters/(CHANGELOG\.md|gates\.toml)",
    r"distilled_filters/filters/backbones/[a-z0-9_]+/v\d+/(backbone\.toml|metrics\.json|model\.onnx|tokenizer\.json)",
    r"distilled_filters/filters/[a-z0-9_]+/v\d+/(filter\.toml|prompt\.md|head\.safetensors|calibration\.json"
    r"|percentiles\.json|metrics\.json|golden\.jsonl|CARD\.md)",
    r"distilled_filters-[\d.]+\.dist-info/(METADATA|WHEEL|RECORD|entry_points\.txt|licenses/(LICENSE|NOTICE))",
]

# Run with an empty home: no socket may be made, no name looked up.
OFFLINE_SCORE = """
import json, socket, sys
def refuse(*arguments, **options): raise AssertionError("network use: " + repr(arguments))
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refuse
from distilled_filters import Panel, uplifting
article = json.loads(open(sys.argv[1], encoding="utf-8").readline())
assert uplifting.score(article).status == "ok"
scores = Panel.all().score(article)
assert not {"torch", "transformers", "pandas", "sklearn"} & set(sys.modules)
print(json.dumps({name: score.to_dict() for name, score in scores.items()}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT], check=True, capture_output=True
    )
    (path,) = folder.glob("*.whl")
    return path


@pytest.mark.slow
def test_the_wheel_holds_only_what_ships(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    strangers = [name for name in names if not any(re.fullmatch(pattern, name) for pattern in ALLOWED)]
    assert strangers == []
    assert sum(name.endswith("filter.toml") for name in names) >= 8
    assert wheel.stat().st_size <= LARGEST_WHEEL


@pytest.mark.slow
def test_ac01_ac15_the_wheel_scores_alone_offline_without_torch(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True, capture_output=True)
    listed = subprocess.run([python, "-m", "pip", "list", "--format=json"], check=True, capture_output=True, text=True)
    installed = {row["name"].lower() for row in json.loads(listed.stdout)}
    assert not {"torch", "transformers", "pandas", "scikit-learn"} & installed
    home = tmp_path / "home"
    home.mkdir()
    run = subprocess.run(
        [python, "-c", OFFLINE_SCORE, ROOT / "examples" / "articles.jsonl"],
        env={"HOME": str(home), "PATH": os.environ["PATH"]},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert len(json.loads(run.stdout)) >= 8
    assert list(home.iterdir()) == []
