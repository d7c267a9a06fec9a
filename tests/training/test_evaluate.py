"""`evaluate` over a tiny student: every method beside it, effects, speed, and the command."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("torch")

from typer.testing import CliRunner

from distilled_filters.cli.app import app
from distilled_filters.errors import SettingError
from distilled_filters.training.evaluate import BASELINES, evaluate
from distilled_filters.training.evaluate.bootstrap import resample
from distilled_filters.training.evaluate.figures import Figures
from tests.training.conftest import LENSES, Workshop

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals are tested with their figures; here they only cost time."""
    monkeypatch.setattr("distilled_filters.training.evaluate.measure.resample", partial(resample, draws=10))


@pytest.fixture
def data(workshop: Workshop, tmp_path: Path) -> Path:
    """The tiny data, of which some rows were read twice."""
    folder = tmp_path / "data"
    shutil.copytree(workshop.data, folder)
    rows = [json.loads(line) for line in (folder / "labels.jsonl").read_text().splitlines()]
    for row in rows[:30]:
        row["runs"].append({lens: [score + 1 for score in scores] for lens, scores in row["runs"][0].items()})
    (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_everything_beside_the_student(workshop: Workshop, data: Path, tmp_path: Path) -> None:
    evaluation = evaluate(
        data, workshop.filters, "validation", base=str(workshop.base), cache=tmp_path / "cache", runs=[workshop.run],
        head_only=True, speed=True,
    )  # fmt: skip
    assert evaluation.methods == ("student", "teacher", *BASELINES)
    assert [note.split(":")[0] for note in evaluation.notes] == [
        "the validation split chose checkpoints and fitted the intervals"
    ]
    assert evaluation.teacher_rows == 30
    for lens in LENSES:
        report = json.loads((workshop.filters / lens / "v1" / "metrics.json").read_text())
        assert report == json.loads(json.dumps(evaluation.reports[lens]))
        # The second reading lies one point above the first wherever the lens is in scope.
        assert report["methods"]["teacher"]["in_scope_dimension_mae"] == pytest.approx(1)
        assert 0 < report["effects"]["fp32"]["mean_absolute_change"]["average"] < 0.5
        # No article of the tiny data is longer than its window: without the tail nothing changes.
        assert report["effects"]["head_only"]["mean_absolute_change"] == {"average": 0, "dimensions": 0}
    assert evaluation.speed
    assert [row["n"] for row in evaluation.speed["rows"]] == [evaluation.n]


def test_frozen_embeddings_are_worked_out_once(
    workshop: Workshop, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distilled_filters.training.evaluate import frozen

    def measured() -> Figures:
        cache = tmp_path / "cache"
        return evaluate(data, workshop.filters, "validation", base=str(workshop.base), cache=cache).means["frozen_head"]

    first = measured()
    monkeypatch.setattr(frozen, "embed", None)
    assert measured() == first


def test_another_run_is_not_taken_for_the_filters_own(workshop: Workshop, data: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(workshop.run / "recipe.json", other)
    tensors = load_file(str(workshop.run / "student.safetensors"))
    name = next(name for name in tensors if name.endswith("layer.1.output.LayerNorm.weight"))
    save_file(tensors | {name: tensors[name].flip(0) * -1}, str(other / "student.safetensors"))
    with pytest.raises(SettingError, match="not what"):
        evaluate(data, workshop.filters, "validation", runs=[other])
    with pytest.raises(SettingError, match=r"no training run"):
        evaluate(data, workshop.filters, "validation", runs=[tmp_path])


def test_an_unknown_split_is_named_with_the_known_ones(workshop: Workshop, data: Path) -> None:
    with pytest.raises(SettingError, match=r"'dev'; it has: calibration, test, train, validation"):
        evaluate(data, workshop.filters, "dev")


def test_the_command_shows_writes_and_holds_gates(
    workshop: Workshop, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    gates = tmp_path / "gates.toml"
    gates.write_text("[mean]\nmedium_average_precision = {at_least = 0.3}\n")
    options = [
        "evaluate",
        "--data",
        str(data),
        "--filters",
        str(workshop.filters),
        "--split",
        "validation",
        "--gates",
        str(gates),
    ]
    shown = CliRunner().invoke(app, [*options, "--report", str(tmp_path / "report")])
    assert shown.exit_code == 0, shown.output
    assert (tmp_path / "report" / "index.html").is_file()
    assert max(len(line) for line in shown.stdout.splitlines()) <= 100
    for words in ("mean of the filters", "teacher", *LENSES, "gates: 1 of 1 hold", "--base names the encoder"):
        assert words in shown.stdout
    gates.write_text("[every]\ntier_agreement = {at_least = 1.5}\n")
    failed = CliRunner().invoke(app, [*options, "--json"])
    assert failed.exit_code == 1
    assert failed.stderr.count("gate failed:") == len(LENSES)
    assert "it must be at least 1.5" in failed.stderr
    assert [gate["passed"] for gate in json.loads(failed.stdout)["gates"]] == [False] * len(LENSES)
