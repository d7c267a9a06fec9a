"""`distillery validate`: what does not fit together, and the line that mends it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from distilled_filters.training.publish.wheel import package
from tests.cli.conftest import Run
from tests.conftest import SHIPPED, House, edited, flip_byte
from tests.packaging.conftest import Site, change_spec, finished
from tests.packaging.test_wheels import HOME, INFO, files_of, rewrite

Verdict = dict[str, Any]


def judged(distillery: Run, *what: object) -> list[Verdict]:
    done = distillery("validate", *map(str, what), "--json")
    found: list[Verdict] = json.loads(done.stdout)
    assert done.exit_code == (1 if any(each["problem"] for each in found) else 0), done.output
    return found


def test_what_ships_fits(distillery: Run, fresh_registry: None) -> None:
    found = judged(distillery)
    assert [each["filter"] for each in found] == list(SHIPPED)
    assert [each for each in found if each["problem"] or each["note"]] == []
    shown = distillery("validate", "uplifting")
    assert "1 looked at, none do not fit" in shown.stdout


def test_an_unknown_name_is_wrong_usage(distillery: Run) -> None:
    done = distillery("validate", "upliftin")
    assert done.exit_code == 2
    assert "no filter named 'upliftin'" in done.stderr


def test_a_wheel_is_judged_without_being_installed(sports_wheel: Path, distillery: Run, fresh_registry: None) -> None:
    (verdict,) = judged(distillery, sports_wheel)
    assert verdict == {
        "filter": "sports",
        "version": "1.0.0",
        "origin": sports_wheel.name,
        "problem": None,
        "remedy": None,
        "note": None,
    }


def test_another_engine_range_is_named_with_the_pip_line(
    site: Site, sports_wheel: Path, distillery: Run, other_wheel: Path
) -> None:
    files = files_of(other_wheel)
    spec = f"{HOME}/filter.toml"
    files[spec] = files[spec].replace(b">=0.1,<0.2", b">=7.0,<8")
    metadata = f"{INFO}/METADATA"
    files[metadata] = files[metadata].replace(b"distilled-filters<0.2,>=0.1", b"distilled-filters<8,>=7.0")
    (verdict,) = judged(distillery, rewrite(other_wheel, files))
    assert "it needs distilled-filters<8,>=7.0" in verdict["problem"]
    assert verdict["remedy"] == "pip install 'distilled-filters<8,>=7.0'"
    site.install(other_wheel)
    (verdict,) = judged(distillery, "sports")
    assert "needs distilled-filters>=7.0,<8" in verdict["problem"]
    assert verdict["remedy"] == "pip install 'distilled-filters>=7.0,<8'"
    shown = distillery("validate", "sports")
    assert "mend it with: pip install 'distilled-filters>=7.0,<8'" in shown.stdout


@pytest.mark.parametrize(("name", "gone"), [("head.safetensors", True), ("golden.jsonl", True), ("prompt.md", False),
                                            ("filter.toml", False), ("CARD.md", False)])  # fmt: skip
def test_missing_and_damaged_files_are_named(
    name: str, gone: bool, site: Site, sports_wheel: Path, distillery: Run
) -> None:
    path = site.install(sports_wheel) / name
    if gone:
        path.unlink()
    else:
        flip_byte(path)
    (verdict,) = judged(distillery, "sports")
    assert name in verdict["problem"]
    assert verdict["remedy"] == "pip install --force-reinstall --no-deps distilled-filter-sports==1.0.0"


def test_a_damaged_wheel_is_named(other_wheel: Path, distillery: Run, fresh_registry: None) -> None:
    files = files_of(other_wheel)
    files[f"{HOME}/head.safetensors"] = files[f"{HOME}/head.safetensors"][::-1]
    (verdict,) = judged(distillery, rewrite(other_wheel, files, recorded=False))
    assert "head.safetensors is not the file that its record names" in verdict["problem"]
    (verdict,) = judged(distillery, rewrite(other_wheel, files))
    assert "head.safetensors" in verdict["problem"], "a record made anew does not help: the spec has the digest"


def test_another_backbone_is_named(
    site: Site, sports_wheel: Path, other_wheel: Path, distillery: Run, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a later library embeds other weights under the backbone's name."""
    with edited(house.own_backbone() / "backbone.toml") as spec:
        trained_on, spec["model"]["sha256"] = spec["model"]["sha256"][:12], "0" * 64
    house.use(monkeypatch)
    (verdict,) = judged(distillery, other_wheel)
    assert "has 000000000000" in verdict["problem"]
    site.install(sports_wheel)
    (verdict,) = judged(distillery, "sports")
    assert f"it was trained on the backbone me5_small/v1 with digest {trained_on}" in verdict["problem"]
    assert verdict["remedy"] == "pip install --upgrade distilled-filter-sports distilled-filters"


def test_a_name_that_is_taken_is_named(site: Site, sports_wheel: Path, other_wheel: Path, distillery: Run) -> None:
    site.install(sports_wheel)
    files = files_of(other_wheel)
    metadata = f"{INFO}/METADATA"
    files[metadata] = files[metadata].replace(b"Name: distilled-filter-sports", b"Name: acme-sports")
    (verdict,) = judged(distillery, rewrite(other_wheel, files))
    assert verdict["problem"] == "distilled-filter-sports provides a filter named 'sports' too"
    assert verdict["remedy"] == "pip uninstall distilled-filter-sports"
    (verdict,) = judged(distillery, sports_wheel)
    assert verdict["problem"] is None, "the same distribution replaces itself"


def test_two_wheels_of_one_name_do_not_fit(
    sports_wheel: Path, other_wheel: Path, distillery: Run, fresh_registry: None
) -> None:
    files = files_of(other_wheel)
    metadata = f"{INFO}/METADATA"
    files[metadata] = files[metadata].replace(b"Name: distilled-filter-sports", b"Name: acme-sports")
    first, second = judged(distillery, sports_wheel, rewrite(other_wheel, files))
    assert first["problem"] is None
    assert "distilled-filter-sports provides a filter named 'sports' too" in second["problem"]


def test_a_plug_in_that_shadows_a_shipped_filter_is_named(site: Site, tmp_path: Path, distillery: Run) -> None:
    wheel = package(finished(tmp_path / "filters", "uplifting"), tmp_path)
    (verdict,) = judged(distillery, wheel)
    assert verdict["problem"] is None
    assert verdict["note"].startswith("distilled-filter-uplifting takes the place of the library's")
    files = {
        name.replace("distilled_filter_uplifting-1.0.0", INFO.removesuffix(".dist-info")): content
        for name, content in files_of(wheel).items()
    }
    metadata = f"{INFO}/METADATA"
    files[metadata] = files[metadata].replace(b"Name: distilled-filter-uplifting", b"Name: acme-uplifting")
    (verdict,) = judged(distillery, rewrite(wheel, files))
    assert "it shadows the library's own filter 'uplifting'" in verdict["problem"]
    assert verdict["remedy"].startswith("pip uninstall acme-uplifting, or make distilled-filter-uplifting")
    site.install(wheel)
    found = judged(distillery)
    (verdict,) = (each for each in found if each["problem"])
    assert (verdict["filter"], verdict["remedy"]) == ("uplifting", "pip uninstall acme-uplifting")
    assert "both distilled-filters and acme-uplifting provide" in verdict["problem"]


def test_entry_point_and_version_must_be_the_spec_s(other_wheel: Path, distillery: Run, fresh_registry: None) -> None:
    files = files_of(other_wheel)
    metadata = f"{INFO}/METADATA"
    files[metadata] = files[metadata].replace(b"Version: 1.0.0", b"Version: 1.0.1")
    (verdict,) = judged(distillery, rewrite(other_wheel, files))
    assert verdict["problem"] == "the wheel's version is 1.0.1, the filter's 1.0.0"


def test_a_hub_filter_that_was_not_fetched_is_told_the_command(
    house: House, distillery: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = house.add()
    (folder / "head.safetensors").unlink()
    with edited(folder / "filter.toml") as spec:
        spec["checkpoints"]["me5_small"]["hub"] = {"repo": "example/uplifting", "revision": "0" * 40}
    house.use(monkeypatch)
    (verdict,) = judged(distillery)
    assert verdict["remedy"] == "distillery prefetch uplifting==1.0.0"
    change_spec(folder, name="panel")
    (verdict,) = judged(distillery)
    assert "filter.toml" in verdict["problem"]
