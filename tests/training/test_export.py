"""`distillery export`: filters that score as the student does, or nothing at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch")

from safetensors.numpy import load_file as load_numpy
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from distilled_filters.checkpoints import sha256_of
from distilled_filters.cli.app import app
from distilled_filters.errors import SettingError
from distilled_filters.filter import Filter
from distilled_filters.spec import read_backbone_spec
from distilled_filters.training import export as module
from distilled_filters.training.export import ExportRefusedError, Pruning, export
from tests.training.conftest import LENSES, Workshop

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture
def filters(workshop: Workshop, tmp_path: Path) -> Path:
    """The workshop's filters, free to be written."""
    return Path(shutil.copytree(workshop.filters, tmp_path / "filters"))


def state(folder: Path) -> dict[str, str]:
    """Return every file below a folder's parent, with its digest."""
    return {str(path): sha256_of(path) for path in folder.parent.rglob("*") if path.is_file()}


def test_an_export_scores_as_the_student_and_says_so(workshop: Workshop, filters: Path) -> None:
    exported = export([workshop.run], filters, "tiny/v2", licence="MIT", precision="fp32", data=workshop.data)
    assert exported.folder == filters / "backbones" / "tiny" / "v2"
    assert exported.parity.articles == 40
    assert exported.parity.scores.mean < 1e-4
    assert set(exported.parity.filters) == set(LENSES)
    assert exported.size == (exported.folder / "model.onnx").stat().st_size
    recorded = json.loads((exported.folder / "metrics.json").read_text())
    assert recorded["parity"]["scores"]["mean"] == exported.parity.scores.mean
    assert recorded["parity"]["articles_per_second"] > 0
    spec = read_backbone_spec(exported.folder / "backbone.toml")
    assert (spec.version, spec.quantisation) == (2, "fp32")
    assert Filter(filters / LENSES[0] / "v1").score("protest march union " * 20, strict=True).tier
    assert [path.name for path in filters.parent.iterdir()] == ["filters"]


def test_what_moves_scores_too_far_is_refused_and_nothing_is_written(
    workshop: Workshop, filters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BOUNDS", {"int8": 1e-9})
    before = state(filters)
    with pytest.raises(ExportRefusedError, match="nothing was written"):
        export([workshop.run], filters, "tiny/v1", licence="MIT", data=workshop.data)
    assert state(filters) == before


def test_a_head_that_is_not_the_students_is_caught(
    workshop: Workshop, filters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parity reads the files that were written, heads included."""
    write = module._write_head
    monkeypatch.setattr(
        module, "_write_head", lambda student, lens, home, pieces: write(student, LENSES[0], home, pieces)
    )
    before = state(filters)
    with pytest.raises(ExportRefusedError, match="moves raw scores"):
        export([workshop.run], filters, "tiny/v1", licence="MIT", data=workshop.data)
    assert state(filters) == before


def test_a_pruned_export_scores_as_the_whole(workshop: Workshop, filters: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    shutil.copy(workshop.data / "articles.jsonl", corpus)
    exported = export(
        [workshop.run], filters, "tiny/v1", licence="MIT", precision="fp32", data=workshop.data, pruning=Pruning(corpus)
    )
    assert exported.parity.scores.mean < 1e-4
    assert exported.languages["en"].growth == 0
    whole = json.loads((workshop.base / "tokenizer.json").read_text())["model"]["vocab"]
    # Articles lack two of its words, and a full stop is of one character, so it stays.
    assert exported.pieces == len(whole) - 1


def test_a_corpus_that_leaves_too_much_out_is_refused(
    workshop: Workshop, filters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"content": "city"}\n')
    monkeypatch.setattr(module, "MOST_GROWTH", -1.0)
    before = state(filters)
    with pytest.raises(ExportRefusedError, match=r"en 0\.0%"):
        export([workshop.run], filters, "tiny/v1", licence="MIT", data=workshop.data, pruning=Pruning(corpus))
    assert state(filters) == before


@pytest.mark.parametrize("name", ["tiny", "tiny/1", "../tiny/v1", "Tiny/v1", "tiny/v0"])
def test_a_backbone_needs_a_name_and_a_version(workshop: Workshop, filters: Path, name: str) -> None:
    with pytest.raises(SettingError, match="--backbone"):
        export([workshop.run], filters, name, licence="MIT")


def test_an_unfinished_run_is_told(filters: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"recipe\.json"):
        export([tmp_path], filters, "tiny/v1", licence="MIT")


def test_articles_that_cannot_be_read_check_nothing(workshop: Workshop, filters: Path) -> None:
    """The tiny vocabulary reads no golden article; parity on nothing is no parity."""
    before = state(filters)
    with pytest.raises(SettingError, match="--check"):
        export([workshop.run], filters, "tiny/v1", licence="MIT")
    assert state(filters) == before


def test_the_command_prints_one_document_and_exits_with_2_when_refused(
    workshop: Workshop, filters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["export", str(workshop.run), "--filters", str(filters), "--backbone", "tiny/v1", "--licence", "MIT",
                 "--check", str(workshop.data)]  # fmt: skip
    run = CliRunner().invoke(app, [*arguments, "--json"])
    assert run.exit_code == 0, run.output
    assert json.loads(run.stdout)["precision"] == "int8"
    run = CliRunner().invoke(app, arguments)
    assert "tiers changed" in run.stdout
    monkeypatch.setattr(module, "BOUNDS", {"int8": 1e-9})
    run = CliRunner().invoke(app, arguments)
    assert run.exit_code == 2
    assert "nothing was written" in run.stderr


def test_several_runs_ship_their_mean(workshop: Workshop, filters: Path, tmp_path: Path) -> None:
    """The other run differs by two in its biases, so the mean differs by one; dimensions by ten times that."""
    other = tmp_path / "other"
    shutil.copytree(workshop.run, other)
    weights = load_file(workshop.run / "student.safetensors")
    shifted = {name: tensor + (2.0 if name == "head.bias" else 0.0) for name, tensor in weights.items()}
    save_file(shifted, other / "student.safetensors")
    export([workshop.run, other], filters, "tiny/v3", licence="MIT", precision="fp32", data=workshop.data)
    mean = load_numpy(filters / LENSES[0] / "v1" / "head.safetensors")["bias"]
    export([workshop.run], filters, "tiny/v3", licence="MIT", precision="fp32", data=workshop.data)
    alone = load_numpy(filters / LENSES[0] / "v1" / "head.safetensors")["bias"]
    assert mean[0] - alone[0] == pytest.approx(1.0, abs=1e-4)
    assert (mean - alone)[1:] == pytest.approx([10.0] * 6, abs=1e-3)


def test_a_run_for_one_filter_leaves_the_others_alone(workshop: Workshop, filters: Path, tmp_path: Path) -> None:
    from distilled_filters.training.train import Recipe, train

    recipe = Recipe(base=str(workshop.base), epochs=1, filters=(LENSES[1],), evaluate_every=9, bf16=False)
    train(recipe, workshop.data, filters, tmp_path / "single")
    before = (filters / LENSES[0] / "v1" / "filter.toml").read_bytes()
    export([tmp_path / "single"], filters, "tiny/v4", licence="MIT", data=workshop.data)
    assert (filters / LENSES[0] / "v1" / "filter.toml").read_bytes() == before
    assert "tiny/v4" in (filters / LENSES[1] / "v1" / "filter.toml").read_text()
