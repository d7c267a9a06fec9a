"""One filter's wheel, built once, and a place on `sys.path` to install it to."""

from __future__ import annotations

import os
import shutil
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from distilled_filters import registry
from distilled_filters.cards import card
from distilled_filters.training.publish.wheel import package
from tests.cli.conftest import distillery
from tests.compositions import add_cascade
from tests.conftest import FILTERS, House, edited
from tests.language_models import add_expert

__all__ = ["distillery"]


@dataclass(frozen=True)
class Site:
    """A folder on `sys.path`, filled as pip fills one: with what the wheel holds."""

    path: Path

    def install(self, wheel: Path) -> Path:
        """Install a wheel; return the folder of its filter's version."""
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(self.path)
        registry._forget()
        (spec,) = self.path.glob(f"{wheel.name.split('-')[0]}/*/v*/filter.toml")
        return spec.parent


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_registry: None) -> Iterator[Site]:
    path = tmp_path / "site"
    path.mkdir()
    monkeypatch.syspath_prepend(path)
    yield Site(path)
    for name in [name for name in sys.modules if name.startswith("distilled_filter_")]:
        del sys.modules[name]


def finished(root: Path, name: str, version: str = "1.0.0") -> Path:
    """Make a filter folder that is fit to travel, over the shipped backbone."""
    root.mkdir(parents=True, exist_ok=True)
    if not (root / "backbones").exists():
        (root / "backbones").symlink_to(FILTERS / "backbones")
    folder = House(root).add("uplifting", name=name, version=version)
    (folder / "CARD.md").write_text(card(folder), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def sports_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a filter that this library does not embed."""
    return finished(tmp_path_factory.mktemp("author") / "filters", "sports")


@pytest.fixture(scope="session")
def sports_wheel(sports_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its wheel."""
    return package(sports_folder, tmp_path_factory.mktemp("dist"))


@pytest.fixture
def other_wheel(sports_wheel: Path, tmp_path: Path) -> Path:
    """A copy of the wheel to be damaged."""
    return Path(shutil.copy(sports_wheel, tmp_path))


def finished_with_expert(root: Path, name: str) -> Path:
    """Make a filter folder that is fit to travel, with a LoRA checkpoint and a cascade to it; return it."""
    folder = finished(root, name)
    add_cascade(add_expert(House(root), name), [(0.0, 10.0)])
    for path in (root / "backbones").rglob("*"):
        if path.is_symlink():
            whole = path.resolve()
            path.unlink()
            os.link(whole, path)
    return folder


def change_spec(folder: Path, **keys: object) -> None:
    """Change keys of a `filter.toml`."""
    with edited(folder / "filter.toml") as spec:
        spec.update(keys)
