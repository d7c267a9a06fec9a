"""What the core's tests share: articles, opened filters, and filter folders free to be damaged.

Nothing here depends on particular scores, so that new weights need no new tests.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load_file, save_file

import distilled_filters
from distilled_filters import registry
from distilled_filters.checkpoints import sha256_of
from distilled_filters.filter import Filter, load
from distilled_filters.panel import Panel
from distilled_filters.preprocess import Preprocessor
from distilled_filters.scorers.linear import LinearScorer
from distilled_filters.scorers.onnx import Backbone
from distilled_filters.spec import LensSpec

# A shell has what it starts in the background ignore Ctrl-C, and the programs under test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parents[1]
FILTERS = ROOT / "filters"
DATA = ROOT / "tests" / "data"
SHIPPED = (
    "ai_engineering_practice",
    "belonging",
    "economic_viability",
    "movement_growth",
    "nature_recovery",
    "policy_effectiveness",
    "sustainability_technology",
    "uplifting",
)
LANGUAGES = {"en", "nl", "es", "pt", "de", "fr", "it"}
SNIPPET = (
    "The harbour council of Ardlow said on Monday that the new clinic has treated four thousand patients "
    "in its first year, twice as many as the old one."
)
"""A wire snippet: short enough to be cheap, long enough to be scored."""

Tensors = dict[str, npt.NDArray[Any]]
Document = dict[str, Any]


def rows(path: Path) -> list[Document]:
    """Read a JSON Lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


UNREADABLE: dict[str, str] = {row["script"]: row["content"] for row in rows(DATA / "unreadable.jsonl")}
"""A text of each script that the backbone's vocabulary lacks, with the spaces and figures real news has."""


def mixed_articles(count: int, *, shortest: int = 20, longest: int = 260, seed: int = 0) -> list[Document]:
    """Make articles of log-uniform length in words, as news is, shuffled from what the examples are made of."""
    chance = random.Random(seed)
    words = " ".join(row["content"] for row in rows(ROOT / "examples" / "articles.jsonl")[:4]).split()
    lengths = (round(shortest * (longest / shortest) ** chance.random()) for _ in range(count))
    return [
        {"id": f"mixed-{number}", "title": f"Report {number}", "content": " ".join(chance.choices(words, k=length))}
        for number, length in enumerate(lengths)
    ]


def to_toml(document: Document) -> str:
    """Write plain values as TOML, one inline value a key."""

    def inline(value: object) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{json.dumps(key)} = {inline(item)}" for key, item in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(inline(item) for item in value) + "]"
        return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)

    return "".join(f"{json.dumps(key)} = {inline(value)}\n" for key, value in document.items())


@contextmanager
def edited(path: Path) -> Iterator[Document]:
    """Open a TOML file as plain values and write back what the block makes of them."""
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    yield document
    path.write_text(to_toml(document), encoding="utf-8")


@contextmanager
def edited_json(path: Path) -> Iterator[Document]:
    """Open a JSON file and write back what the block makes of it."""
    document = json.loads(path.read_text(encoding="utf-8"))
    yield document
    path.write_text(json.dumps(document), encoding="utf-8")


def file_ref(path: Path) -> Document:
    """Describe a file as a spec does."""
    return {"path": path.name, "sha256": sha256_of(path), "size": path.stat().st_size}


def flip_byte(path: Path) -> None:
    """Change one byte in the middle of a file, so that its size stays."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x01
    path.write_bytes(content)


def run_python(
    code: str, *arguments: object, timeout: float = 60, environment: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Run code in a fresh interpreter and return what it printed."""
    run = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "NO_PROXY": "*", **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@dataclass(frozen=True)
class House:
    """A `filters/` folder of its own, over the shipped backbone."""

    root: Path

    def add(self, source: str = "uplifting", *, name: str | None = None, version: str = "1.0.0") -> Path:
        """Copy a shipped filter without its screen, under another name and version if asked to; return its folder."""
        folder = self.root / (name or source) / f"v{version.split('.')[0]}"
        shutil.copytree(FILTERS / source / "v1", folder)
        with edited(folder / "filter.toml") as spec:
            spec["name"], spec["version"] = name or source, version
            for checkpoint in spec["checkpoints"].values():
                checkpoint.pop("screen_below", None)
        return folder

    def own_backbone(self) -> Path:
        """Give the house a backbone folder of its own, with links to the shipped files; return it."""
        shared = self.root / "backbones"
        shared.unlink()
        (folder,) = FILTERS.glob("backbones/*/v*")
        own = shared / folder.relative_to(FILTERS / "backbones")
        own.mkdir(parents=True)
        shutil.copy(folder / "backbone.toml", own)
        for name in ("model.onnx", "tokenizer.json"):
            (own / name).symlink_to(folder / name)
        return own

    def change_head(self, folder: Path, change: Callable[[Tensors], Tensors | None]) -> None:
        """Change a filter's head tensors, in place or by the dict returned, and bind the tables to them.

        The head gets no first look, so that its answer is the embedding's alone.
        """
        tensors = load_file(folder / "head.safetensors")
        tensors["lexical"][:], tensors["blend"][:] = 0, (0, 1, 0)
        save_file(change(tensors) or tensors, folder / "head.safetensors")
        self.redigest(folder)

    def redigest(self, folder: Path) -> None:
        """Write the digests of a filter's files as they are now into its tables and its spec."""
        head = file_ref(folder / "head.safetensors")
        for table in ("calibration", "percentiles"):
            with edited_json(folder / f"{table}.json") as document:
                document["head_sha256"] = head["sha256"]
        self.redigest_spec(folder)

    def redigest_spec(self, folder: Path) -> None:
        """Write the digests of a filter's files as they are now into its spec only."""
        with edited(folder / "filter.toml") as spec:
            for checkpoint in spec["checkpoints"].values():
                for key in ("head", "calibration", "percentiles"):
                    checkpoint[key] = file_ref(folder / checkpoint[key]["path"])

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make the registry find these filters in place of the shipped ones."""
        monkeypatch.setattr(registry, "embedded_folder", lambda: self.root)
        registry._forget()


def student(each: Filter) -> LinearScorer:
    """Open a filter's encoder student."""
    assert isinstance(each.scorer, LinearScorer)
    return each.scorer


def poison(value: float) -> Callable[[Tensors], None]:
    """A head change that makes the first dimension answer `value`."""

    def change(tensors: Tensors) -> None:
        tensors["bias"][1] = np.float32(value)

    return change


@pytest.fixture(autouse=True)
def _no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test reach further than this machine."""
    if request.node.get_closest_marker("network"):
        return
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            pytest.fail(f"a test without the marker `network` connects to {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture
def fresh_registry() -> Iterator[None]:
    """Forget what the registry found, before and after, and the filters the package caches as attributes."""
    before = set(vars(distilled_filters))
    registry._forget()
    yield
    registry._forget()
    for name in set(vars(distilled_filters)) - before:
        if isinstance(vars(distilled_filters)[name], Filter):
            delattr(distilled_filters, name)


@pytest.fixture
def house(tmp_path: Path, fresh_registry: None) -> House:
    """A filter house without filters, over the shipped backbone."""
    root = tmp_path / "filters"
    root.mkdir()
    (root / "backbones").symlink_to(FILTERS / "backbones")
    return House(root)


@pytest.fixture(scope="session")
def panel() -> Panel:
    """All shipped filters, opened; the answers come from one thread."""
    return Panel.all(threads=1).load()


@pytest.fixture(scope="session")
def uplifting() -> Filter:
    """One shipped filter, opened."""
    return load("uplifting", threads=1).load()


@pytest.fixture(scope="session")
def backbone(uplifting: Filter) -> Backbone:
    """The shipped backbone."""
    return student(uplifting).backbone


@pytest.fixture(scope="session")
def preprocessor(uplifting: Filter, backbone: Backbone) -> Preprocessor:
    """How the shipped filters read articles."""
    return Preprocessor(uplifting.spec.preprocessing, backbone.tokenizer)


@pytest.fixture(scope="session")
def examples() -> list[Document]:
    """The example articles of the repository."""
    return rows(ROOT / "examples" / "articles.jsonl")


@pytest.fixture(scope="session")
def lens(uplifting: Filter) -> LensSpec:
    """A lens with dimensions, gate and tiers to change."""
    return uplifting.spec
