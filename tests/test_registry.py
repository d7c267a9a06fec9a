"""Which filters are there: names, versions, plug-ins, and what breaks alone."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import distilled_filters
from distilled_filters import registry
from distilled_filters.errors import DuplicateFilterError, IncompatibleEngineError, SpecError, UnknownFilterError
from distilled_filters.filter import Filter, load
from distilled_filters.panel import BrokenFilterWarning, Panel
from distilled_filters.registry import available, filter_names, newest_folders
from distilled_filters.status import Status
from tests.conftest import FILTERS, SHIPPED, SNIPPET, House, edited, flip_byte, run_python


@dataclass(frozen=True)
class Site:
    """A folder on `sys.path` for made-up distributions."""

    path: Path

    def distribution(self, name: str, **entries: str) -> None:
        """Install a distribution's metadata: which packages it promises for which filters."""
        info = self.path / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"{entry} = {value}" for entry, value in entries.items()]
        (info / "entry_points.txt").write_text("\n".join(["[distilled_filters]", *lines, ""]))
        registry._forget()

    def package(self, package: str, house: House, name: str, *, major: int = 1) -> Path:
        """Move a filter of a house into a package whose import would be noticed; return its folder."""
        home = self.path.joinpath(*package.split("."))
        home.mkdir(parents=True, exist_ok=True)
        (home / "__init__.py").write_text("raise AssertionError('a filter package was imported')\n")
        return (house.root / name / f"v{major}").rename(home / f"v{major}")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_registry: None) -> Site:
    path = tmp_path / "site"
    path.mkdir()
    monkeypatch.syspath_prepend(path)
    return Site(path)


# --- the shipped filters -------------------------------------------------------------------------------


def test_the_shipped_filters_are_found(fresh_registry: None) -> None:
    assert tuple(filter_names()) == SHIPPED
    entries = available()
    assert [entry.name for entry in entries] == list(SHIPPED)
    for entry in entries:
        assert entry.problem is None
        assert entry.distribution == "distilled-filters"
        assert entry.folder == FILTERS / entry.name / "v1"
        assert entry.version is not None
        assert (entry.licence, bool(entry.lens), len(entry.languages)) == ("Apache-2.0", True, 7)
    assert newest_folders(FILTERS) == [FILTERS / name / "v1" for name in SHIPPED]


@pytest.mark.parametrize(
    "requirement",
    ["uplifting", "uplifting==1.*", "uplifting>=1,<2", "uplifting ~= 1.0", "uplifting!=2"],
)
def test_a_requirement_finds_a_filter(requirement: str) -> None:
    each = load(requirement)
    assert each.name == "uplifting"
    assert each.version.startswith("1.")


@pytest.mark.parametrize(
    ("requirement", "said"),
    [
        ("upliftin", "did you mean 'uplifting'"),
        ("Uplifting", "did you mean 'uplifting'"),
        ("nature-recovery", "did you mean 'nature_recovery'"),
        ("policy_efectiveness", "did you mean 'policy_effectiveness'"),
        ("xyzzy", "Installed: ai_engineering_practice, belonging"),
        ("uplifting==9.*", "no installed version of uplifting satisfies '==9.*'; installed: 1."),
        ("uplifting<1", "installed: 1."),
        ("", "neither a filter name nor a requirement"),
        ("up lifting", "neither a filter name nor a requirement"),
        ("uplifting=1", "neither a filter name nor a requirement"),
        ("../uplifting", "neither a filter name nor a requirement"),
        ("backbones", "no filter named 'backbones'"),
    ],
)
def test_an_unknown_name_or_version_says_what_there_is(requirement: str, said: str) -> None:
    with pytest.raises(UnknownFilterError) as caught:
        load(requirement)
    assert said in str(caught.value)
    assert isinstance(caught.value, LookupError)


@pytest.mark.parametrize("requirement", [None, 3, b"uplifting", ["uplifting"]], ids=repr)
def test_what_is_no_text_is_no_requirement(requirement: Any) -> None:
    with pytest.raises(UnknownFilterError, match="`distillery list` shows what is installed") as caught:
        load(requirement)
    assert str(caught.value).startswith(repr(requirement))
    with pytest.raises(UnknownFilterError, match="is neither a filter name"):
        Panel([requirement])


def test_arguments_reach_the_filter() -> None:
    each = load("uplifting", checkpoint="me5_small", threads=3)
    assert (each.checkpoint, each.threads) == ("me5_small", 3)
    with pytest.raises(UnknownFilterError, match="no checkpoint 'large'"):
        load("uplifting", checkpoint="large")


# --- versions side by side -----------------------------------------------------------------------------


@pytest.fixture
def versions(house: House, monkeypatch: pytest.MonkeyPatch) -> House:
    """`uplifting` in the versions 1.3.0, 2.0.1 and 10.0.0, beside `belonging`."""
    for version in ("1.3.0", "10.0.0", "2.0.1"):
        house.add(version=version)
    house.add("belonging")
    house.use(monkeypatch)
    return house


def test_versions_stand_side_by_side(versions: House) -> None:
    assert [load(f"uplifting{wanted}").version for wanted in ("", "==1.*", "<10", ">1,<2", "!=10.0.0")] == [
        "10.0.0", "1.3.0", "2.0.1", "1.3.0", "2.0.1",
    ]  # fmt: skip
    assert [(entry.name, entry.version) for entry in available()] == [
        ("belonging", "1.0.0"), ("uplifting", "10.0.0"), ("uplifting", "2.0.1"), ("uplifting", "1.3.0"),
    ]  # fmt: skip
    assert newest_folders(versions.root) == [versions.root / "belonging" / "v1", versions.root / "uplifting" / "v10"]
    with pytest.raises(UnknownFilterError, match=r"installed: 10\.0\.0, 2\.0\.1, 1\.3\.0"):
        load("uplifting==3.*")


def test_a_version_is_an_attribute_of_its_filter(versions: House) -> None:
    newest = load("uplifting", threads=3)
    assert newest.v1.version == "1.3.0"
    assert newest.v2.v10.version == "10.0.0"
    assert newest.v1.threads == 3
    assert {newest.v1.score(SNIPPET).provenance.version, newest.score(SNIPPET).provenance.version} == {
        "1.3.0",
        "10.0.0",
    }
    with pytest.raises(AttributeError, match=r"no installed version of uplifting satisfies '==9\.\*'"):
        _ = newest.v9
    assert not hasattr(newest, "v")
    assert not hasattr(newest, "version1")


def test_the_shipped_filter_has_its_version_as_an_attribute() -> None:
    assert load("uplifting").v1.name == "uplifting"
    with pytest.raises(AttributeError, match=r"installed: 1\."):
        _ = load("uplifting").v9


@pytest.mark.parametrize(("broken", "whole"), [("1", "2.0.1"), ("2", "1.3.0"), ("10", "2.0.1")])
def test_a_broken_version_does_not_stop_another_that_is_asked_for(versions: House, broken: str, whole: str) -> None:
    (versions.root / "uplifting" / f"v{broken}" / "filter.toml").write_text("name = ")
    assert load(f"uplifting=={whole}").version == whole
    assert load(f"uplifting=={whole[0]}.*").version == whole
    problems = {str(entry.folder and entry.folder.name): entry.problem for entry in available()}
    assert "not readable TOML" in str(problems.pop(f"v{broken}"))
    assert set(problems.values()) == {None}


def test_a_broken_newest_version_is_never_replaced_in_silence(versions: House) -> None:
    (versions.root / "uplifting" / "v10" / "filter.toml").write_text("name = ")
    with pytest.raises(SpecError, match="not readable TOML"):
        load("uplifting")
    assert load("belonging").name == "belonging"


@pytest.mark.parametrize("change", [{"name": "lifting_up"}, {"version": "3.0.0"}])
def test_a_spec_in_the_wrong_folder_is_refused(versions: House, change: dict[str, str]) -> None:
    path = versions.root / "uplifting" / "v10" / "filter.toml"
    with edited(path) as spec:
        spec.update(change)
    with pytest.raises(SpecError, match=r"filter\.toml: .* belongs in (lifting_up/v10|uplifting/v3)"):
        load("uplifting")


def test_ac20_a_filter_for_another_engine_is_listed_with_its_problem(versions: House) -> None:
    with edited(versions.root / "belonging" / "v1" / "filter.toml") as spec:
        spec["engine"] = ">=7"
    with pytest.raises(IncompatibleEngineError, match="pip install"):
        load("belonging")
    (entry,) = (entry for entry in available() if entry.name == "belonging")
    assert entry.problem is not None
    assert "pip install" in entry.problem


# --- plug-ins ------------------------------------------------------------------------------------------


def test_a_plug_in_is_found_by_name_and_not_imported(site: Site, house: House) -> None:
    house.add("belonging", name="sports")
    folder = site.package("sports_filter", house, "sports")
    site.distribution("acme-filters", sports="sports_filter")
    assert "sports" in filter_names()
    assert "sports" in dir(distilled_filters)
    (entry,) = (entry for entry in available() if entry.name == "sports")
    assert (entry.version, entry.distribution, entry.folder, entry.problem) == ("1.0.0", "acme-filters", folder, None)
    assert load("sports==1.*").folder == folder
    assert distilled_filters.sports.name == "sports"
    assert not [name for name in sys.modules if name.startswith("sports")]


def test_reading_the_names_looks_into_no_package(site: Site) -> None:
    site.distribution("acme-filters", sports="absent_package.sports")
    assert filter_names() == sorted([*SHIPPED, "sports"])


# Scores by a plug-in in a process that has opened nothing yet.
PLUG_IN = f"""
import json, sys
sys.path.insert(0, sys.argv[1])
from distilled_filters import sports
print(json.dumps(sports.score({SNIPPET!r}).to_dict()))
"""


def test_a_plug_in_without_a_backbone_of_its_own_uses_the_library_s(site: Site, house: House) -> None:
    """Else each wheel of one small head would carry 50 MB, or score only after a shipped filter has."""
    folder = house.add("belonging", name="sports")
    expected = Filter(folder).score(SNIPPET).to_dict()
    site.package("sports_filter", house, "sports")
    site.distribution("acme-filters", sports="sports_filter")
    assert json.loads(run_python(PLUG_IN, site.path)) == expected


def test_a_plug_in_with_a_backbone_beside_it_uses_that(site: Site, house: House) -> None:
    folder = house.add("belonging", name="sports")
    expected = Filter(folder).score(SNIPPET).to_dict()
    site.package("acme.sports", house, "sports")
    (site.path / "acme" / "__init__.py").write_text("")
    (site.path / "acme" / "backbones").symlink_to(FILTERS / "backbones")
    site.distribution("acme-filters", sports="acme.sports")
    assert json.loads(run_python(PLUG_IN, site.path)) == expected


def test_two_claims_of_one_name_name_both_distributions(site: Site) -> None:
    site.distribution("acme-filters", sports="acme_sports")
    site.distribution("other-filters", sports="other_sports")
    with pytest.raises(DuplicateFilterError) as caught:
        load("sports")
    for part in ("acme-filters", "other-filters", "'sports'", "uninstall one"):
        assert part in str(caught.value)


@pytest.mark.parametrize("name", ["panel", "cards", "cli", "load"])
def test_a_plug_in_cannot_take_the_name_of_a_part_of_the_library(name: str, site: Site, house: House) -> None:
    """`from distilled_filters import panel` brings the module, so the filter would seem to be broken or gone."""
    house.add("belonging", name=name)
    site.package("acme_filter", house, name)
    site.distribution("acme-filters", **{name: "acme_filter"})
    with pytest.raises(SpecError, match=rf"filter\.toml: name: '{name}' is a part of distilled_filters"):
        load(name)
    (entry,) = (entry for entry in available() if entry.name == name)
    assert "choose another" in str(entry.problem)
    with pytest.warns(BrokenFilterWarning, match=f"left out {name}"):
        assert [each.name for each in Panel.all().filters] == list(SHIPPED)


def test_a_plug_in_cannot_take_a_shipped_name(site: Site) -> None:
    site.distribution("acme-filters", uplifting="acme_uplifting")
    with pytest.raises(DuplicateFilterError, match=r"distilled-filters and acme-filters.*'uplifting'"):
        load("uplifting")


def test_a_quarrel_about_one_name_does_not_stop_the_others(site: Site) -> None:
    site.distribution("acme-filters", sports="acme_sports")
    site.distribution("other-filters", sports="other_sports")
    assert load("uplifting").name == "uplifting"
    assert not hasattr(distilled_filters, "no_such_filter")
    with pytest.warns(BrokenFilterWarning, match=r"sports.*acme-filters.*other-filters"):
        assert [each.name for each in Panel.all().filters] == list(SHIPPED)


@pytest.mark.parametrize("value", ["absent_package", "absent_package.sports", "json", "sports_filter:sports"])
def test_a_plug_in_without_its_package_does_not_stop_the_others(site: Site, value: str) -> None:
    site.distribution("acme-filters", sports=value)
    (entry,) = (entry for entry in available() if entry.name == "sports") if value != "json" else (None,)
    if entry is not None:
        assert entry.version is None
        assert "acme-filters" in str(entry.problem)
    with pytest.raises(UnknownFilterError, match="acme-filters"):
        load("sports")
    if entry is not None:
        with pytest.warns(BrokenFilterWarning, match="left out sports"):
            panel = Panel.all()
        assert [each.name for each in panel.filters] == list(SHIPPED)


def test_a_broken_plug_in_does_not_stop_the_others(site: Site, house: House) -> None:
    for name in ("sports", "weather", "gossip"):
        house.add("belonging", name=name)
        site.package(f"{name}_filter", house, name)
    (site.path / "sports_filter" / "v1" / "filter.toml").write_text("name = ")
    (site.path / "weather_filter" / "v1" / "head.safetensors").unlink()
    flip_byte(site.path / "gossip_filter" / "v1" / "head.safetensors")
    site.distribution("acme-filters", sports="sports_filter", weather="weather_filter", gossip="gossip_filter")
    with pytest.warns(BrokenFilterWarning, match="left out sports"):
        panel = Panel.all(threads=1)
    with pytest.warns(BrokenFilterWarning, match=r"(gossip|weather) cannot score"):
        scores = panel.score(SNIPPET)
    expected = dict.fromkeys(SHIPPED, Status.OK) | {"weather": Status.ERROR, "gossip": Status.ERROR}
    assert {name: score.status for name, score in scores.items()} == expected
