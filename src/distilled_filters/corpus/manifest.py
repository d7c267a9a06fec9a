"""What the bytes of a run's output depend on, so that no run goes on with other things than it began with."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import distilled_filters
from distilled_filters.checkpoints import sha256_of
from distilled_filters.corpus.places import Place
from distilled_filters.corpus.sources import Source
from distilled_filters.filter import Filter
from distilled_filters.scorers.base import DEVICE_VARIABLE, PRECISION_VARIABLE
from distilled_filters.threads import thread_count

__all__ = ["differences", "manifest"]

# Another version of one of these may read an article otherwise, score it otherwise, or write it otherwise.
_LIBRARIES = ("ftfy", "numpy", "onnxruntime", "resiliparse", "tokenizers")
_WRITERS = {"parquet": ("pyarrow",)}
_OF_EXPERTS = ("peft", "torch", "transformers")


def manifest(sources: Sequence[Source], filters: Sequence[Filter], form: str) -> dict[str, Any]:
    """Return everything the bytes of a run's output depend on; reads local inputs once for their digests.

    Remote inputs are known by what their store tells of them, such as an entity tag.
    Standard input has no digest and can only be scored in one go.
    """
    experts = _OF_EXPERTS if any(_has_expert(each) for each in filters) else ()
    return {
        "engine": distilled_filters.__version__,
        "libraries": {name: _version(name) for name in (*_LIBRARIES, *_WRITERS.get(form, ()), *experts)},
        "format": form,
        "inputs": [_input(source.name, source.place, source.size) for source in sources],
        "filters": {
            each.name: {
                "version": each.version,
                "checkpoint": each.checkpoint,
                "spec_sha256": sha256_of(each.folder / "filter.toml"),
                "backbone_sha256": each.provenance.backbone_sha256,
                "head_sha256": each.provenance.head_sha256,
                **(_runs_on(each) if _has_expert(each) else {}),
            }
            for each in filters
        },
        "order": [each.name for each in filters],
    }


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:  # opening the filter tells, with the pip line
        return None


def _has_expert(each: Filter) -> bool:
    return any(part.weights.kind == "lora" for part in each.parts)


def _runs_on(each: Filter) -> dict[str, Any]:
    """Return where a language model was told to run: another device, precision or number of threads moves scores."""
    return {
        "device": each.device or os.environ.get(DEVICE_VARIABLE),
        "precision": each.precision or os.environ.get(PRECISION_VARIABLE),
        "threads": thread_count(),
    }


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say in words what is not the same in two manifests."""
    old, new = _flat(before), _flat(now)
    return [
        f"{key} was {_short(old.get(key))} and is {_short(new.get(key))}"
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key)
    ]


def _input(name: str, place: Place | None, size: int | None) -> dict[str, Any]:
    if place is None:
        return {"path": name}
    if not place.local:
        return {"path": name, "size": size, "fingerprint": place.fingerprint()}
    try:
        return {"path": name, "size": size, "sha256": sha256_of(Path(place.path))}
    except OSError as error:
        # Reading will tell; here it must only not pass for a file that can be read.
        return {"path": name, "size": size, "sha256": error.strerror}


def _flat(value: object, key: str = "") -> dict[str, object]:
    """Return the leaves of nested settings by dotted keys."""
    if isinstance(value, list | tuple):
        value = dict(enumerate(value))
    if not isinstance(value, Mapping):
        return {key.removeprefix("."): value}
    return {name: leaf for part, inner in value.items() for name, leaf in _flat(inner, f"{key}.{part}").items()}


def _short(value: object) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) < 64 else f"{text[:12]}..."
