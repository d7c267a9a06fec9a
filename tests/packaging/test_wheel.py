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

from tests.conftest import SNIPPET

ROOT = Path(__file__).parents[2]
LARGEST_WHEEL = 60_000_000

# Every path a wheel may hold; anything else (articles, labels, checkpoints of a run) is a leak.
ALLOWED = [
    r"distilled_filters/([a-z_]+/)*[a-z_0-9]+\.py",
    r"distilled_filters/py\.typed",
    r"distilled_filters/training/(evaluate/report|readiness/report|pages/page|pages/parts)\.html",
    r"distilled_filters/training/scaffold/(checklist|prompt)\.md",
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


# Every file of an embedded filter and of its backbone, one after the other with one byte flipped: who refuses it?
FLIPPED = """
import json
from distilled_filters import load
from distilled_filters.cli.checks import file_checks
from distilled_filters.errors import DistilledFiltersError
from distilled_filters.scorers import onnx
folder = load("uplifting").folder
backbone = load("uplifting").backbone_folder
answers = {}
for path in sorted([*folder.iterdir(), *backbone.iterdir()]):
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    onnx._open.clear()
    try:
        filter = load("uplifting", threads=1).load()
    except DistilledFiltersError as error:
        answers[path.name] = ["load", str(error)]
    else:
        found = (check for check in file_checks(filter) if check.problem)
        answers[path.name] = ["verify", *(f"{check.what}: {check.problem}" for check in found)]
    path.write_bytes(content)
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment that has the wheel and nothing else."""
    environment = tmp_path_factory.mktemp("consumer") / "environment"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True, capture_output=True)
    return python


@pytest.mark.slow
def test_ac01_ac15_the_wheel_scores_alone_offline_without_torch(python: Path, tmp_path: Path) -> None:
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


def _run(python: Path, *arguments: str | Path, cwd: Path) -> str:
    environment = {"HOME": str(cwd), "PATH": os.environ["PATH"]}
    done = subprocess.run([python, *arguments], env=environment, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_flipped_byte_in_any_file_of_an_embedded_filter_is_refused_with_its_name(
    python: Path, tmp_path: Path
) -> None:
    answers = json.loads(_run(python, "-c", FLIPPED, cwd=tmp_path))
    loading = {
        "filter.toml",
        "head.safetensors",
        "calibration.json",
        "percentiles.json",
        "backbone.toml",
        "model.onnx",
        "tokenizer.json",
    }
    assert {name for name, (who, *_) in answers.items() if who == "load"} == loading
    for name, (_, *problems) in answers.items():
        assert len(problems) == 1, (name, problems)
        assert name in problems[0]
    assert set(answers) - loading == {"CARD.md", "golden.jsonl", "metrics.json", "prompt.md"}


@pytest.mark.slow
def test_a_filter_s_wheel_beside_the_library_s(python: Path, sports_wheel: Path, tmp_path: Path) -> None:
    """Pinned in requirements by itself, found by name, scored, verified, and fit to stay."""
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(f"--find-links {sports_wheel.parent}\n--no-index\ndistilled-filter-sports==1.0.0\n")
    _run(python, "-m", "pip", "install", "--quiet", "-r", requirements, cwd=tmp_path)
    distillery = python.parent / "distillery"
    (entry,) = (row for row in json.loads(_run(python, distillery, "list", "--json", cwd=tmp_path))
                if row["name"] == "sports")  # fmt: skip
    assert (entry["version"], entry["distribution"]) == ("1.0.0", "distilled-filter-sports")
    score = "from distilled_filters import sports; import sys; print(sports.score(open(sys.argv[1]).read()).status)"
    (tmp_path / "article.txt").write_text(SNIPPET)
    assert _run(python, "-c", score, tmp_path / "article.txt", cwd=tmp_path).strip() == "ok"
    _run(python, distillery, "verify", "sports", cwd=tmp_path)
    _run(python, distillery, "validate", cwd=tmp_path)
