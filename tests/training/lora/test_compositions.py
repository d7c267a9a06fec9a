"""Cascades and ensembles as the commands make and measure them."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

from typer.testing import CliRunner

from distilled_filters.article import Article
from distilled_filters.cli.app import app
from distilled_filters.filter import Filter
from distilled_filters.scorers import decoder
from distilled_filters.training import answers as answers_module
from distilled_filters.training import beside
from distilled_filters.training.ensemble import factors
from distilled_filters.training.evaluate.bootstrap import resample
from distilled_filters.training.evaluate.speed import seconds_an_article
from tests.conftest import SNIPPET
from tests.training.lora.conftest import Forge


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep answers in the test's own folder."""
    monkeypatch.setattr(answers_module, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def filters(forge: Forge, tmp_path: Path) -> Path:
    """A copy of the filters, free to be changed."""
    return shutil.copytree(forge.filters, tmp_path / "filters")


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the bootstrap draw seldom: how sure figures are is tested elsewhere."""
    monkeypatch.setattr(beside, "resample", partial(resample, draws=20))


def distillery(*arguments: object) -> Any:
    return CliRunner().invoke(app, list(map(str, arguments)), prog_name="distillery")


def test_a_cascade_is_fitted_and_measured_and_the_expert_reads_an_article_once(
    forge: Forge, filters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, options = filters / "uplifting" / "v1", ("--data", forge.data, "--filters", filters)
    asked: list[object] = []
    answers = decoder.Decoder.answers

    def counted(self: decoder.Decoder, *arguments: Any) -> Any:
        asked.append(arguments)
        return answers(self, *arguments)

    monkeypatch.setattr(decoder.Decoder, "answers", counted)
    monkeypatch.setattr(beside, "seconds_an_article", lambda each, _: {"tiny_lora": 0.2}.get(each.checkpoint, 0.01))
    fit = ("cascade", *options, "--expert", "tiny-lora", "--agreement", 0.9, "--recall", 0.9)
    fitted = distillery(*fit, "--cost", 1.1, "--json")
    assert fitted.exit_code == 0, fitted.output
    (found,) = json.loads(fitted.stdout)
    assert found["fitted"]["tier_agreement"] >= 0.9
    assert found["cost"]["cost"] == pytest.approx(0.05 + found["fitted"]["expert_share"])
    assert (found["n"], len(asked)) == (40, 40)
    assert distillery(*fit, "--cost", 1.1).exit_code == 0
    assert len(asked) == 40

    shown = distillery("evaluate", *options, "--checkpoint", "cascade", "--json")
    assert shown.exit_code == 0, shown.output
    (measured,) = json.loads(shown.stdout)
    assert list(measured["methods"]) == ["me5_small", "cascade", "tiny_lora"]
    kept = measured["cascade"]
    assert 0 < kept["expert_share"] == kept["cost"] - 0.05
    assert kept["tier_agreement_from"] <= kept["tier_agreement"] <= kept["tier_agreement_to"]
    assert json.loads((home / "cascade" / "metrics.json").read_text(encoding="utf-8")) == measured
    assert len(asked) == 80, "the test split, once"
    said = " ".join(distillery("evaluate", *options, "--checkpoint", "cascade").stdout.split())
    assert "against the expert alone: tier agreement" in said
    assert f"(the student alone {kept['student_tier_agreement']:.3f} and" in said
    assert decoder._open == {}

    each = Filter(home, checkpoint="cascade", device="cpu")
    share = np.mean([each.score(row["content"]).stage == "expert" for row in _articles(forge, "test")])
    assert share == pytest.approx(kept["expert_share"]), "production goes the way that was measured"
    each.unload()


def _articles(forge: Forge, split: str) -> list[dict[str, Any]]:
    lines = (forge.data / "articles.jsonl").read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if row["split"] == split]


def test_a_goal_that_costs_too_much_is_told_and_nothing_is_written(
    forge: Forge, filters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shipped student knows nothing of the made-up signs, so that the expert would be asked about most."""
    home = filters / "uplifting" / "v1"
    before = (home / "filter.toml").read_bytes()
    monkeypatch.setattr(beside, "seconds_an_article", lambda each, _: {"tiny_lora": 0.2}.get(each.checkpoint, 0.1))
    done = distillery("cascade", "--data", forge.data, "--filters", filters, "--expert", "tiny_lora")
    assert done.exit_code == 1
    said = " ".join(done.output.split())
    assert "uplifting: no cascade was written: a tier agreement of 0.985 and a recall of 0.95 take" in said
    assert "of the expert's cost, 0.33 are allowed" in said
    assert "the student takes 0.50 of its time" in said
    assert (home / "filter.toml").read_bytes() == before
    assert not (home / "cascade").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cascade", "--expert", "nope"), "has a checkpoint 'nope'"),
        (("cascade", "--expert", "me5_small"), "me5_small is zero_inflated_linear; a cascade's expert is a lora"),
        (("cascade", "--expert", "tiny_lora", "--student", "tiny_lora"), "is no encoder student but lora"),
        (("cascade", "--expert", "tiny_lora", "--name", "me5_small"), "choose another --name"),
        (("cascade", "--expert", "tiny_lora", "--name", "My cascade"), "'My cascade' is no name for a checkpoint"),
        (("ensemble", "--member", "tiny_lora"), "two members or more"),
        (("ensemble", "--member", "tiny_lora", "--member", "nope"), "has all of the checkpoints tiny_lora, nope"),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_slow(
    forge: Forge, filters: Path, cache: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = distillery(*arguments, "--data", forge.data, "--filters", filters)
    assert done.exit_code != 0
    assert message in " ".join(done.output.split())
    assert not cache.exists()


def test_an_ensemble_gets_factors_and_tables_and_is_measured(forge: Forge, filters: Path) -> None:
    home, options = filters / "uplifting" / "v1", ("--data", forge.data, "--filters", filters)
    members = ("--member", "me5-small", "--member", "tiny-lora")
    fitted = distillery("ensemble", *options, *members, "--json")
    assert fitted.exit_code == 0, fitted.output
    found = json.loads(fitted.stdout)["uplifting"]["coefficients"]
    assert sum(found["tiny_lora"]) > sum(found["me5_small"]), "only the expert has learnt the made-up signs"
    each = Filter(home, checkpoint="ensemble", device="cpu")
    assert each.calibration.intervals.half_widths != [10.0]
    score = each.score(SNIPPET)
    assert score.percentile is not None
    assert (score.disagreement or 0) > 0
    each.unload()
    shown = distillery("evaluate", *options, "--checkpoint", "ensemble", "--json")
    assert shown.exit_code == 0, shown.output
    (measured,) = json.loads(shown.stdout)
    assert list(measured["methods"]) == ["me5_small", "ensemble", "tiny_lora"]
    assert measured["cascade"] is None
    assert measured["methods"]["ensemble"]["average_mae"] < measured["methods"]["me5_small"]["average_mae"]
    nested = distillery("ensemble", *options, *members, "--member", "ensemble", "--name", "more")
    assert "ensemble is itself made of others" in " ".join(nested.output.split())
    refused = distillery("calibrate", *options, "--checkpoint", "ensemble")
    assert "fit it with `distillery ensemble`" in " ".join(refused.output.split())
    assert decoder._open == {}


def test_an_expert_is_timed_on_a_few_articles_and_given_back(forge: Forge) -> None:
    articles = [Article(content=row["content"]) for row in _articles(forge, "test")] + [Article(content="short")]
    each = Filter(forge.filters / "uplifting" / "v1", checkpoint="tiny_lora", device="cpu")
    assert 0 < seconds_an_article(each, articles) < 5
    assert decoder._open == {}


def test_factors_are_found() -> None:
    chance = np.random.default_rng(0)
    truth = chance.uniform(0, 10, (400, 2))
    good, noise = truth + chance.normal(0, 0.1, truth.shape), chance.uniform(0, 10, truth.shape)
    mixed = np.stack([np.column_stack([good[:, 0], noise[:, 1]]), np.column_stack([noise[:, 0], good[:, 1]])])
    assert factors(mixed, truth, "mean").tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert factors(mixed, truth, "stacked") == pytest.approx(np.eye(2), abs=0.05)
    weighted = factors(mixed, truth, "weighted")
    assert weighted.sum(axis=0) == pytest.approx([1, 1], abs=1e-3)
    assert weighted[:, 0] == pytest.approx(weighted[:, 1])
    nothing = np.zeros((2, 3, 2))
    assert factors(nothing, nothing[0], "weighted").tolist() == [[0.5, 0.5], [0.5, 0.5]]
