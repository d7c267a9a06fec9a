"""What the documentation claims is so: its code runs, its generated parts are fresh, its paths exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from distilled_filters.cards import generate, stale
from distilled_filters.cli.app import COMMANDS
from distilled_filters.registry import newest_folders
from distilled_filters.status import Status

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "benchmarks").glob("*.md"))]


def test_the_readme_code_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert len(run.stdout.splitlines()) >= 9


@pytest.mark.slow
@pytest.mark.parametrize("script", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_the_examples_run(script: Path) -> None:
    run = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip()


def test_generated_pages_are_fresh() -> None:
    assert (
        stale(generate(newest_folders(ROOT / "filters"), ROOT / "README.md", ROOT / "docs" / "filter.schema.json"))
        == []
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_command_of_the_docs_exists() -> None:
    known = {command.name for command in COMMANDS}
    for page in PAGES:
        named = re.findall(r"`?distillery ([a-z-]+)\b", page.read_text(encoding="utf-8"))
        assert set(named) <= known, page


def test_troubleshooting_covers_every_status_and_error() -> None:
    from distilled_filters import errors

    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    assert [status for status in Status if status is not Status.OK and f"| `{status.value}`" not in text] == []
    usual = {name for name in errors.__all__ if name.endswith("Error")} - {
        "DistilledFiltersError", "CheckpointError", "NonFiniteScoreError",
    }  # fmt: skip
    assert [name for name in usual if name not in text] == []


def test_the_architecture_names_every_room() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    package = ROOT / "src" / "distilled_filters"
    rooms = [path.stem for path in package.glob("*.py") if path.stem not in {"__init__", "__main__"}]
    rooms += [f"{path.name}/" for path in package.iterdir() if path.is_dir() and (path / "__init__.py").exists()]
    assert [room for room in rooms if f"`{room}" not in text] == []
