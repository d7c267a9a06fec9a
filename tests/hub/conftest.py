"""A local Hub, the real client pointed at it, and filters that live there."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from huggingface_hub import close_session, constants

from distilled_filters.cards import card
from distilled_filters.filter import Filter
from tests.cli.conftest import distillery
from tests.conftest import House, edited
from tests.hub.server import Hub, serve

__all__ = ["distillery"]

WEIGHTS = ("head.safetensors", "calibration.json", "percentiles.json")
REPO = "example/uplifting"


def point_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process's client ask this server, as HF_ENDPOINT would have before the client was imported."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A running Hub; this process's client, and those of its children, know no other and wait for nothing."""
    home = tmp_path / "hf"
    for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    with serve() as running:
        for variable, value in {
            "HF_ENDPOINT": running.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "*",
        }.items():
            monkeypatch.setenv(variable, value)
        point_at(running.url, monkeypatch)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(time, "sleep", lambda seconds: None)
        close_session()
        yield running
        close_session()


@dataclass
class Consumer:
    """One filter whose weights lie on the Hub, and the cache they come into."""

    folder: Path
    backbone: Path
    cache: Path
    hub: Hub

    def prefetch(self) -> set[str]:
        """Fetch and return the names of the files brought."""
        return {path.name for path in Filter(self.folder, threads=1).prefetch()}

    def cached(self) -> set[str]:
        """The names of the files in the cache."""
        return {path.name for path in self.cache.rglob("snapshots/*/*")}

    def strays(self) -> list[Path]:
        """What transfers left behind that is no whole file."""
        return list(self.cache.rglob("*.incomplete"))


@pytest.fixture
def consumer(house: House, hub: Hub, tmp_path: Path) -> Consumer:
    """A filter with the head on the Hub and the backbone embedded."""
    folder = house.add()
    revision = hub.offer(REPO, {name: (folder / name).read_bytes() for name in WEIGHTS})
    for name in WEIGHTS:
        (folder / name).unlink()
    with edited(folder / "filter.toml") as spec:
        spec["checkpoints"]["me5_small"]["hub"] = {"repo": REPO, "revision": revision}
    return Consumer(folder, house.own_backbone(), tmp_path / "hf" / "hub", hub)


@pytest.fixture
def author(house: House, hub: Hub) -> Path:
    """A finished filter folder over a backbone that no Hub has; its pages are up to date."""
    folder = house.add()
    backbone = house.own_backbone()
    for path in backbone.iterdir():
        if path.is_symlink():
            whole = path.resolve()
            path.unlink()
            os.link(whole, path)
    (folder / "CARD.md").write_text(card(folder), encoding="utf-8")
    return folder
