from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import distilled_filters
from distilled_filters import registry
from distilled_filters.cli.app import COMMANDS
from tests.cli.conftest import EXAMPLES, Run

NAMES = ["score", "explain", "list", "info", "verify", "prefetch", "doctor"]

# Everything but these and the standard library would be weight that no help page needs.
HELP = {
    "attr",  # rich looks whether attrs, which development tools bring, is there
    "annotated_doc",
    # rich looks at attrs classes where attrs is installed.
    "click",
    "distilled_filters",
    "markdown_it",
    "mdurl",
    "pygments",
    "rich",
    "shellingham",
    "typer",
}
LIST = {*HELP, "annotated_types", "packaging", "pydantic", "pydantic_core", "typing_extensions", "typing_inspection"}

_REPORT_MODULES = """
import sys
before = set(sys.modules)
from distilled_filters.cli import main
sys.argv = ["distillery", *sys.argv[1:]]
try:
    main()
finally:
    print(*(set(sys.modules) - before), file=sys.stderr)
"""


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    """A folder for `sys.path` with 20 installed distributions of a filter each."""
    spec = (registry.embedded_folder() / "uplifting" / "v1" / "filter.toml").read_text(encoding="utf-8")
    for number in range(20):
        name = f"plugin_{number:02d}"
        folder = tmp_path / f"{name}_package" / "v1"
        folder.mkdir(parents=True)
        folder.with_name("__init__.py").write_text("raise RuntimeError('a filter package was imported')\n")
        (folder / "filter.toml").write_text(spec.replace('name = "uplifting"', f'name = "{name}"', 1), encoding="utf-8")
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[distilled_filters]\n{name} = {name}_package\n")
    return tmp_path


def _python(*arguments: str, path: Path) -> subprocess.CompletedProcess[str]:
    folders = os.pathsep.join(filter(None, [str(path), os.environ.get("PYTHONPATH")]))
    environment = {"PYTHONPATH": folders, "PATH": "", "HOME": str(path)}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False, encoding="utf-8"
    )


@pytest.mark.parametrize(("arguments", "allowed"), [("--help", HELP), ("list", LIST)])
def test_ac16_help_and_list_import_little_and_no_plugin(arguments: str, allowed: set[str], plugins: Path) -> None:
    done = _python("-c", _REPORT_MODULES, arguments, path=plugins)
    assert done.returncode == 0, done.stderr
    imported = {module.split(".")[0] for module in done.stderr.split()}
    foreign = {name for name in imported - sys.stdlib_module_names - allowed if not name.startswith("_")}
    assert foreign == set()
    if arguments == "list":
        assert done.stdout.count("plugin_") == 2 * 20  # name and distribution
    commands = {module for module in done.stderr.split() if module in {f"distilled_filters.cli.{n}" for n in NAMES}}
    assert commands == ({"distilled_filters.cli.list"} if arguments == "list" else set())


def _processor_time() -> float:
    """Seconds that finished child processes computed: a busy machine stretches these less than the clock's."""
    used = os.times()
    return used.children_user + used.children_system


@pytest.mark.parametrize("arguments", ["--help", "list"])
@pytest.mark.parametrize(
    ("clock", "runs", "most"),
    [
        pytest.param(_processor_time, 3, 0.9, id="busy"),
        pytest.param(time.perf_counter, 20, 0.3, id="idle", marks=pytest.mark.stress),
    ],
)
def test_ac16_help_and_list_are_quick_with_20_plugins(
    arguments: str, clock: Callable[[], float], runs: int, most: float, plugins: Path
) -> None:
    """AC16's 0.3 s by the clock are for an idle machine; one that runs all tests is held to a looser bound."""

    def seconds() -> float:
        started = clock()
        assert _python("-m", "distilled_filters", arguments, path=plugins).returncode == 0
        return clock() - started

    assert min(seconds() for _ in range(runs)) <= most


def test_help_names_every_command(distillery: Run) -> None:
    done = distillery("--help")
    assert done.exit_code == 0
    assert all(name in done.stdout for name in NAMES)


@pytest.mark.parametrize("name", [each.name for each in COMMANDS if each.installed])
def test_every_command_has_help_with_examples_and_json(name: str, distillery: Run) -> None:
    done = distillery(name, "--help")
    assert done.exit_code == 0
    assert f"distillery {name}" in done.stdout
    if name in NAMES:
        assert "Examples" in done.stdout
        assert "--json" in done.stdout


def test_version(distillery: Run) -> None:
    assert distillery("--version").stdout == f"distilled-filters {distilled_filters.__version__}\n"


def test_wrong_usage_exits_2_and_suggests(distillery: Run) -> None:
    done = distillery("scor")
    assert done.exit_code == 2
    assert "'score'" in done.stderr
    assert distillery("score", "--threads", "0", EXAMPLES).exit_code == 2


def test_named_errors_are_one_line_and_exit_2(distillery: Run) -> None:
    for arguments, text in (
        (("info", "upliftin"), "did you mean 'uplifting'?"),
        (("info", "uplifting==9.*"), "no installed version"),
        (("score", "absent.jsonl"), "there is no file absent.jsonl"),
        (("score", EXAMPLES, "-f", "uplifting", "-f", "uplifting"), "uplifting"),
    ):
        done = distillery(*arguments)
        assert done.exit_code == 2
        assert done.stderr.startswith("error: ")
        assert text in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_closed_pipe_ends_a_command_quietly(tmp_path: Path) -> None:
    corpus = tmp_path / "many.jsonl"
    corpus.write_text("null\n" * 5000)
    for arguments in (f"score {corpus} --json -f uplifting", "list"):
        pipe = f"{sys.executable} -m distilled_filters {arguments} | head -n 1"
        done = subprocess.run(["bash", "-c", pipe], capture_output=True, text=True, check=False)
        assert done.stdout.count("\n") == 1
        assert done.stderr == ""
