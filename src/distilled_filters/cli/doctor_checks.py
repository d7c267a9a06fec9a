"""What `distillery doctor` looks at; every check reports, none ends the others."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

import distilled_filters
from distilled_filters.cli.options import find_filters
from distilled_filters.errors import DistilledFiltersError
from distilled_filters.filter import Filter
from distilled_filters.scorers.onnx import open_backbone
from distilled_filters.spec import LinearCheckpoint
from distilled_filters.threads import THREADS_VARIABLE, thread_count

__all__ = ["Finding", "findings"]

_DISTRIBUTION = "distilled-filters"
_REINSTALL = f"pip install --force-reinstall {_DISTRIBUTION}"
_EXTRA = re.compile(r"extra == ['\"]([\w-]+)['\"]")
_OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; with a problem comes its remedy."""

    section: str
    name: str
    value: str
    problem: str | None = None
    remedy: str | None = None


def findings() -> list[Finding]:
    """Look at everything."""
    filters = list(_installed())
    return [
        Finding(
            "library", _DISTRIBUTION, f"{distilled_filters.__version__} in {Path(distilled_filters.__file__).parent}"
        ),
        Finding("library", "python", f"{platform.python_version()} at {sys.executable}, {platform.platform()}"),
        *_dependencies(),
        _threads(),
        *_hub(),
        *(finding for finding, _ in filters),
        *_backbones([each for _, each in filters if each is not None]),
    ]


def _dependencies() -> Iterator[Finding]:
    """Compare what is installed with what the library needs, and say which extras are whole."""
    extras: dict[str, list[str]] = {}
    for text in importlib.metadata.requires(_DISTRIBUTION) or ():
        requirement = Requirement(text)
        wanted = f"{requirement.name}{requirement.specifier}"
        problem = _unmet(requirement)
        extra = _EXTRA.search(str(requirement.marker or ""))
        if extra is None:
            version = "missing" if problem else importlib.metadata.version(requirement.name)
            yield Finding("dependencies", requirement.name, version, problem, problem and f"pip install '{wanted}'")
        else:
            extras.setdefault(extra[1], []).extend([requirement.name] if problem else [])
    for name, lacking in extras.items():
        state = f"not installed, lacks {', '.join(dict.fromkeys(lacking))}" if lacking else "installed"
        yield Finding("extras", f"[{name}]", state)


def _unmet(requirement: Requirement) -> str | None:
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return "it is not installed"
    if requirement.specifier.contains(version, prereleases=True):
        return None
    return f"{version} is installed, {requirement.specifier} is needed"


def _threads() -> Finding:
    try:
        count = thread_count()
    except ValueError as error:
        value = os.environ.get(THREADS_VARIABLE, "")
        return Finding(
            "threads", "articles at once", value, str(error), f"unset {THREADS_VARIABLE}, or set it to 1 or more"
        )
    if os.environ.get(THREADS_VARIABLE):
        source = f"from {THREADS_VARIABLE}"
    elif hasattr(os, "sched_getaffinity") and count < len(os.sched_getaffinity(0)):
        source = "from this container's CPU quota"
    else:
        source = "the processors this process may use"
    return Finding("threads", "articles at once", f"{count}, {source}; this machine has {os.cpu_count()}")


def _hub() -> Iterator[Finding]:
    from huggingface_hub.constants import HF_HUB_CACHE

    cache = Path(HF_HUB_CACHE)
    state = "exists" if cache.is_dir() else "does not exist yet"
    yield Finding("hub", "cache", f"{cache} ({state})")
    for variable in _OFFLINE_VARIABLES:
        yield Finding("hub", variable, os.environ.get(variable, "not set"))


def _installed() -> Iterator[tuple[Finding, Filter | None]]:
    try:
        for label, found in find_filters(None):
            if isinstance(found, Filter):
                yield Finding("filters", label, f"checkpoint {found.checkpoint} on {found.provenance.backbone}"), found
            else:
                yield Finding("filters", label, "broken", str(found), _remedy(found)), None
    except DistilledFiltersError as error:  # as when two distributions claim one name
        yield Finding("filters", "the list of them", "cannot be read", str(error), "as the message says"), None


def _backbones(filters: list[Filter]) -> Iterator[Finding]:
    students = {
        part.backbone_folder: (part.weights, each.name)
        for each in filters
        for part in each.parts
        if isinstance(part.weights, LinearCheckpoint)
    }
    for folder, (weights, owner) in students.items():
        name, started = weights.backbone, time.monotonic()
        try:
            backbone = open_backbone(folder, weights.backbone_sha256, owner)
        except DistilledFiltersError as error:
            yield Finding("backbones", name, "does not open", str(error), _remedy(error))
        else:
            size = sum(ref.size for ref in backbone.spec.files) / 1e6
            seconds = time.monotonic() - started
            yield Finding("backbones", name, f"{size:.1f} MB, opens in {seconds:.2f} s, {folder}")


def _remedy(error: DistilledFiltersError) -> str:
    """Return what mends a broken filter: its message says so already, or its files must come anew."""
    text = str(error)
    return "as the message says" if "pip install" in text or "distillery" in text else _REINSTALL
