"""`list`, `info`, `verify`, `prefetch` and `doctor`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from distilled_filters.filter import Filter
from distilled_filters.golden import record_golden
from tests.cli.conftest import Run
from tests.conftest import House, edited


def _damage_spec(filters: Path, name: str) -> None:
    with edited(filters / name / "v1" / "filter.toml") as spec:
        spec["dimensions"][0]["weight"] += 0.25


def test_list_shows_broken_filters_with_their_problem(distillery: Run, own_filters: Path) -> None:
    _damage_spec(own_filters, "belonging")
    shown = distillery("list")
    assert shown.exit_code == 0
    assert "broken: belonging:" in shown.stdout
    assert "the weights sum to 1.25, not 1" in shown.stdout
    belonging, uplifting = json.loads(distillery("list", "--json").stdout)
    assert (belonging["version"], uplifting["version"], uplifting["problem"]) == (None, "1.0.0", None)
    assert uplifting["languages"][:2] == ["en", "nl"]


def test_info_shows_what_a_filter_asks_and_weighs(distillery: Run, own_filters: Path) -> None:
    metrics = {
        "split": "test",
        "n": 99,
        "methods": {"mean_predictor": {"average_mae": None}, "student": {"average_mae": 0.25}},
        "intervals_95": {"average_mae": [0.2, 0.3]},
    }
    (own_filters / "uplifting" / "v1" / "metrics.json").write_text(json.dumps(metrics))
    shown = distillery("info", "uplifting").stdout
    assert "average_mae" not in shown, "names of programs, not words for people"
    (mae,) = (line.split("  ") for line in shown.splitlines() if line.startswith("MAE of the weighted average"))
    assert [cell.strip() for cell in mae if cell.strip()][1:] == ["0.250 [0.200, 0.300]", "-"]
    for text in (
        "evidence_level",
        "How well the outcome is proven",
        "high from 6",
        "tokens of title",
        "test split",
    ):
        assert text in shown
    document = json.loads(distillery("info", "uplifting==1.*", "--json").stdout)
    assert document["spec"]["tiers"][0]["name"] == "high"
    assert document["metrics"] == metrics


def test_a_filter_that_is_not_installed_is_named_by_its_folder(distillery: Run, house: House, articles: Path) -> None:
    folder = house.add("belonging")
    record_golden(Filter(folder, threads=1))
    assert json.loads(distillery("info", str(folder), "--json").stdout)["spec"]["name"] == "belonging"
    assert distillery("verify", str(folder)).exit_code == 0
    scored = distillery("score", str(articles), "--json", "-f", str(folder), "-f", "uplifting")
    assert list(json.loads(scored.stdout.splitlines()[0])["scores"]) == ["belonging", "uplifting"]
    lost = distillery("info", str(folder.parent / "v9"))
    assert lost.exit_code == 2
    assert f"{folder.parent / 'v9' / 'filter.toml'}: no such file" in lost.stderr


def test_a_filter_without_checkpoints_says_what_comes_next(distillery: Run, own_filters: Path) -> None:
    folder = own_filters / "uplifting" / "v1"
    with edited(folder / "filter.toml") as spec:
        del spec["checkpoints"]
    assert "distillery export" in distillery("info", str(folder)).stderr


def test_verify_passes_whole_filters(distillery: Run, own_filters: Path) -> None:
    done = distillery("verify")
    assert done.exit_code == 0, done.output
    assert "none failed" in done.stdout


@pytest.mark.parametrize(
    ("file", "text", "kind"),
    [
        ("head.safetensors", "the spec says", "files"),
        ("prompt.md", "SHA-256", "prompt"),
        ("golden.jsonl", "golden.jsonl", "golden"),
        ("filter.toml", "no such file", "spec"),
    ],
)
def test_verify_finds_each_damage_and_goes_on(
    file: str, text: str, kind: str, distillery: Run, own_filters: Path
) -> None:
    damaged = own_filters / "belonging" / "v1" / file
    if kind == "files":
        damaged.write_bytes(b"?" + damaged.read_bytes()[1:])
    elif kind == "prompt":
        damaged.write_text("another prompt", encoding="utf-8")
    else:
        damaged.unlink()
    done = distillery("verify", "--json")
    failed = [check for check in json.loads(done.stdout) if check["problem"]]
    assert done.exit_code == 1
    assert {check["filter"].split()[0] for check in failed} == {"belonging"}
    assert kind in {check["kind"] for check in failed}
    assert any(text in check["problem"] for check in failed)
    assert "belonging" in distillery("verify").stdout
    assert distillery("verify", "uplifting").exit_code == 0


def test_verify_names_golden_scores_that_moved(distillery: Run, own_filters: Path) -> None:
    path = own_filters / "uplifting" / "v1" / "golden.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows[0]["expected"]["weighted_average"] += 0.1
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    done = distillery("verify", "uplifting")
    assert done.exit_code == 1
    assert f"1 values off by more than 0.05: {rows[0]['id']} weighted_average" in done.stdout


def test_verify_refuses_unknown_names(distillery: Run) -> None:
    assert distillery("verify", "upliftin").exit_code == 2


def test_prefetch_has_nothing_to_do_for_embedded_filters(distillery: Run, own_filters: Path) -> None:
    done = distillery("prefetch")
    assert done.exit_code == 0
    assert "nothing to fetch" in done.stdout
    assert json.loads(distillery("prefetch", "uplifting", "--json").stdout) == [
        {"filter": "uplifting 1.0.0", "files": [], "problem": None}
    ]
    _damage_spec(own_filters, "belonging")
    done = distillery("prefetch")
    assert done.exit_code == 1
    assert "uplifting 1.0.0: comes with its files" in done.stdout


def test_doctor_finds_a_sound_installation_sound(distillery: Run, own_filters: Path) -> None:
    done = distillery("doctor")
    assert done.exit_code == 0, done.output
    for text in (
        "distilled-filters",
        "python",
        "onnxruntime",
        "articles at once",
        "HF_HUB_OFFLINE",
        "opens in",
        "no problems",
    ):
        assert text in done.stdout


def test_doctor_names_problems_with_their_remedies(
    distillery: Run, own_filters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _damage_spec(own_filters, "belonging")
    monkeypatch.setenv("DISTILLED_FILTERS_THREADS", "many")
    done = distillery("doctor", "--json")
    problems = [finding for finding in json.loads(done.stdout) if finding["problem"]]
    assert done.exit_code == 1
    assert [(each["section"], each["name"]) for each in problems] == [
        ("threads", "articles at once"),
        ("filters", "belonging"),
    ]
    assert all(each["remedy"] for each in problems)
    assert "unset DISTILLED_FILTERS_THREADS" in distillery("doctor").stdout
    done = distillery("score", "-")
    assert done.exit_code == 2
    assert "DISTILLED_FILTERS_THREADS must be" in done.stderr
