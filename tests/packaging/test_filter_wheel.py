"""`distillery package`: a wheel of one filter, found, scored, verified and pinned by itself."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from distilled_filters.cli.checks import file_checks
from distilled_filters.errors import ChecksumError, DistilledFiltersError
from distilled_filters.filter import Filter, load
from distilled_filters.registry import available
from distilled_filters.training.publish import wheel as wheel_module
from distilled_filters.training.publish.bundle import PublishError
from distilled_filters.training.publish.wheel import package
from tests.cli.conftest import Run
from tests.conftest import SNIPPET, edited, flip_byte
from tests.language_models import CHECKPOINT
from tests.packaging.conftest import Site, change_spec, finished, finished_with_expert

DATA = ["CARD.md", "calibration.json", "filter.toml", "golden.jsonl", "head.safetensors", "metrics.json",
        "percentiles.json", "prompt.md"]  # fmt: skip
INSIDE = ["__init__.py", "meta.json", *(f"sports/v1/{name}" for name in DATA)]


def test_the_wheel_holds_the_filter_and_says_what_it_needs(sports_wheel: Path, sports_folder: Path) -> None:
    assert sports_wheel.name == "distilled_filter_sports-1.0.0-py3-none-any.whl"
    with zipfile.ZipFile(sports_wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
        assert sorted(names) == sorted(f"distilled_filter_sports/{name}" for name in INSIDE)
        info = "distilled_filter_sports-1.0.0.dist-info"
        metadata = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
        assert metadata.get_all("Requires-Dist") == ["distilled-filters<0.2,>=0.1"]
        assert (metadata["Name"], metadata["Version"]) == ("distilled-filter-sports", "1.0.0")
        assert metadata["License-Expression"] == "Apache-2.0"
        points = archive.read(f"{info}/entry_points.txt").decode().split()
        assert points == ["[distilled_filters]", "sports", "=", "distilled_filter_sports.sports"]
        meta = json.loads(archive.read("distilled_filter_sports/meta.json"))
        assert (meta["name"], meta["version"], meta["engine"]) == ("sports", "1.0.0", "distilled-filters>=0.1,<0.2")
        for name in DATA:
            content = (sports_folder / name).read_bytes()
            assert archive.read(f"distilled_filter_sports/sports/v1/{name}") == content
            wanted = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
            assert meta["files"][f"sports/v1/{name}"] == wanted


def test_the_same_folder_makes_the_same_bytes(sports_wheel: Path, tmp_path: Path) -> None:
    again = finished(tmp_path / "filters", "sports")
    for path in again.iterdir():
        os.utime(path, (1_000_000_000, 1_000_000_000))
        path.chmod(0o600)
    assert package(again, tmp_path).read_bytes() == sports_wheel.read_bytes()


def test_a_version_is_made_once(sports_folder: Path, tmp_path: Path) -> None:
    there = tmp_path / "distilled_filter_sports-1.0.0-py3-none-any.whl"
    there.write_bytes(b"another")
    with pytest.raises(PublishError, match=r"is there already with other bytes; .*raise it in .*filter\.toml"):
        package(sports_folder, tmp_path)
    assert there.read_bytes() == b"another"


def test_a_folder_by_another_name_is_refused(sports_folder: Path, tmp_path: Path) -> None:
    folder = finished(tmp_path / "filters", "sports")
    with pytest.raises(PublishError, match=r"sports==1\.0\.0 belongs in a folder sports/v1"):
        package(folder.rename(folder.with_name("v2")), tmp_path)


def test_an_installed_wheel_is_found_scored_and_verified(
    sports_wheel: Path, sports_folder: Path, site: Site, distillery: Run
) -> None:
    folder = site.install(sports_wheel)
    (entry,) = (entry for entry in available() if entry.name == "sports")
    assert (entry.version, entry.distribution, entry.folder) == ("1.0.0", "distilled-filter-sports", folder)
    assert load("sports==1.0.0").score(SNIPPET).to_dict() == Filter(sports_folder).score(SNIPPET).to_dict()
    verified = distillery("verify", "sports", "--json")
    assert verified.exit_code == 0, verified.output
    assert {check["what"] for check in json.loads(verified.stdout)} >= {*DATA, "meta.json"}


@pytest.mark.parametrize("name", INSIDE)
def test_a_flipped_byte_in_any_file_is_refused_with_its_name(name: str, sports_wheel: Path, site: Site) -> None:
    """Weights and spec when the filter loads, the rest when it is verified."""
    site.install(sports_wheel)
    flip_byte(site.path / "distilled_filter_sports" / name)
    file = Path(name).name
    if file in ("filter.toml", "head.safetensors", "calibration.json", "percentiles.json"):
        with pytest.raises(DistilledFiltersError, match=file):
            load("sports", threads=1).load()
    else:
        problems = [check for check in file_checks(load("sports", threads=1).load()) if check.problem]
        assert [problem.what for problem in problems] == [file]


def test_a_filter_s_own_wheel_takes_the_place_of_the_library_s_same_major(
    site: Site, tmp_path: Path, distillery: Run
) -> None:
    folder = finished(tmp_path / "filters", "uplifting", "1.0.7")
    site.install(package(folder, tmp_path))
    (entry,) = (entry for entry in available() if entry.name == "uplifting")
    assert (entry.version, entry.distribution) == ("1.0.7", "distilled-filter-uplifting")
    assert load("uplifting").version == "1.0.7"
    validated = distillery("validate", "uplifting")
    assert validated.exit_code == 0, validated.output
    assert "uplifting: distilled-filter-uplifting takes the place of the library's 1." in validated.stdout


def test_another_major_stands_beside_the_library_s(site: Site, tmp_path: Path) -> None:
    folder = finished(tmp_path / "filters", "uplifting", "2.0.0")
    site.install(package(folder, tmp_path))
    versions = {entry.version: entry.distribution for entry in available() if entry.name == "uplifting"}
    assert versions.pop("2.0.0") == "distilled-filter-uplifting"
    assert set(versions.values()) == {"distilled-filters"}
    assert load("uplifting==1.*").version.startswith("1.")


@pytest.mark.slow
def test_a_backbone_the_library_lacks_travels_along(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = finished(tmp_path / "filters", "sports")
    monkeypatch.setattr(wheel_module, "embedded_folder", lambda: tmp_path / "none")
    installed = site.install(package(folder, tmp_path))
    backbone = site.path / "distilled_filter_sports" / "backbones" / "me5_small" / "v1"
    assert sorted(path.name for path in backbone.iterdir()) == ["backbone.toml", "model.onnx", "tokenizer.json"]
    each = load("sports", threads=1)
    assert (each.folder, each.backbone_folder) == (installed, backbone)
    assert each.score(SNIPPET).status == "ok"
    flip_byte(backbone / "backbone.toml")
    with pytest.raises(
        ChecksumError, match=r"backbone\.toml is not the file that distilled-filter-sports was built with"
    ):
        load("sports")


def test_a_filter_with_an_expert_brings_adapter_and_language_model_and_requires_the_extra(
    tmp_path: Path, site: Site, distillery: Run
) -> None:
    pytest.importorskip("peft")
    folder = finished_with_expert(tmp_path / "filters", "sports")
    with edited(folder.parents[1] / "backbones" / "tiny_lm" / "v1" / "backbone.toml") as spec:
        spec["licence"] = "gemma terms"
    (folder / CHECKPOINT / "metrics.json").write_text("{}")
    built = package(folder, tmp_path)
    with zipfile.ZipFile(built) as archive:
        names = {name.removeprefix("distilled_filter_sports/") for name in archive.namelist()}
        metadata = Parser().parsestr(archive.read("distilled_filter_sports-1.0.0.dist-info/METADATA").decode())
        meta = json.loads(archive.read("distilled_filter_sports/meta.json"))
    assert metadata.get_all("Requires-Dist") == ["distilled-filters[lora]<0.2,>=0.1"]
    assert metadata["License-Expression"] == "Apache-2.0 AND LicenseRef-gemma-terms"
    adapter = f"sports/v1/{CHECKPOINT}/adapter_model.safetensors"
    model = {f"backbones/tiny_lm/v1/{name}" for name in ("backbone.toml", "config.json", "model.safetensors")}
    assert names >= {adapter, f"sports/v1/{CHECKPOINT}/metrics.json", "sports/v1/cascade/cascade.json", *model}
    assert meta["checkpoints"]["cascade"] == {"kind": "cascade", "student": "me5_small", "expert": CHECKPOINT}
    assert set(meta["files"]) >= {adapter, *model}
    assert not any(name.startswith("backbones/me5_small") for name in names), "the library embeds it"
    judged = distillery("validate", str(built), "--json")
    assert [verdict["problem"] for verdict in json.loads(judged.stdout)] == [None]

    installed = site.install(built)
    assert load("sports", threads=1).score(SNIPPET).stage == "student"
    for checkpoint in (CHECKPOINT, "cascade"):
        expert = load("sports", checkpoint=checkpoint, threads=1, device="cpu")
        assert expert.score(SNIPPET).stage == "expert"
        expert.unload()
    assert [check.what for check in file_checks(load("sports", threads=1)) if check.problem] == []
    flip_byte(installed / CHECKPOINT / "adapter_model.safetensors")
    broken = [check.what for check in file_checks(load("sports", threads=1)) if check.problem]
    assert broken == [f"{CHECKPOINT}/adapter_model.safetensors"]


def test_package_tells_how_to_pin(sports_folder: Path, tmp_path: Path, distillery: Run) -> None:
    filters = str(sports_folder.parents[1])
    for name in ("sports", "sports/v1", str(sports_folder)):
        done = distillery("package", name, "--filters", filters, "-o", str(tmp_path / "dist"))
        assert done.exit_code == 0, done.output
        assert "pin it in requirements as distilled-filter-sports==1.0.0" in done.stdout
    unknown = distillery("package", "sprots", "--filters", filters)
    assert unknown.exit_code == 2
    assert "has sports" in unknown.stderr


def test_a_lens_that_is_no_longer_fit_makes_no_wheel(tmp_path: Path) -> None:
    folder = finished(tmp_path / "filters", "sports")
    change_spec(folder, lens="Another lens than the card says.")
    with pytest.raises(PublishError, match=r"CARD\.md is stale"):
        package(folder, tmp_path / "dist")
    assert not (tmp_path / "dist").exists()
