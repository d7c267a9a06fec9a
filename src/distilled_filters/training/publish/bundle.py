"""The complete set of one filter: what travels to the Hub or into a wheel, checked, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from distilled_filters.cards import card
from distilled_filters.checkpoints import locate, sha256_of
from distilled_filters.errors import DistilledFiltersError
from distilled_filters.filter import Filter
from distilled_filters.golden import TOLERANCE, check_golden
from distilled_filters.scorers.base import Part
from distilled_filters.spec import BackboneSpec, DecoderSpec

__all__ = ["PAGES", "Bundle", "PublishError", "Shared", "read_bundle"]

PAGES = ("filter.toml", "prompt.md", "golden.jsonl", "metrics.json", "CARD.md")
"""What a filter folder holds beside its weights."""

# Tokens of the services that distillation uses: an author's note in a prompt must not carry one away.
_SECRET = re.compile(
    rb"\bhf_[A-Za-z0-9]{20,}|\bsk-[A-Za-z0-9_-]{20,}|\bAKIA[A-Z0-9]{16}\b|-----BEGIN [A-Z ]*PRIVATE KEY"
)


class PublishError(DistilledFiltersError, ValueError):
    """A filter folder is not fit to leave the house; the message names the file and what to do."""


@dataclass(frozen=True)
class Shared:
    """A model that checkpoints share: its name and version, its spec, `backbone.toml` and its other files by name."""

    name: str
    spec: BackboneSpec | DecoderSpec
    files: Mapping[str, Path]


@dataclass(frozen=True)
class Bundle:
    """A filter that is fit to travel.

    Attributes:
        filter: The filter, of the spec's default checkpoint.
        pages: The files beside the weights, by name.
        weights: The files of its checkpoints, by name; those on the Hub alone are left out where asked.
        backbones: What its checkpoints are built on; first what the default one is.
    """

    filter: Filter
    pages: Mapping[str, Path]
    weights: Mapping[str, Path]
    backbones: tuple[Shared, ...]


def read_bundle(folder: Path, *, from_cache: bool) -> Bundle:
    """Read a filter folder and check that it is complete, whole, up to date and free of secrets.

    Args:
        folder: The filter's version folder.
        from_cache: Take weights that the folder lacks from the Hub's cache, instead of leaving them out.

    Raises:
        PublishError: naming the file that is missing, stale, a link, or holds a secret.
        DistilledFiltersError: when spec or files are damaged.
    """
    each = Filter(folder, threads=1)
    owner, home = f"{each.name}=={each.version}", Path(each.name, f"v{each.version.split('.')[0]}")
    if Path(each.folder.parent.name, each.folder.name) != home:
        raise PublishError(f"{folder}: {owner} belongs in a folder {home}")
    weights = {
        ref.path: locate(ref, folder, entry.hub, owner)
        for entry in each.spec.checkpoints.values()
        for ref in entry.files
        if from_cache or entry.hub is None or (folder / ref.path).is_file()
    }
    mine = {part.weights.backbone: _shared(part, owner, whole=True) for part in each.parts}
    every = (part for name in each.spec.checkpoints for part in each.source.of(name).parts)
    # Those of the default checkpoint come first, and whole.
    backbones = mine | {part.weights.backbone: _shared(part, owner, whole=False) for part in every} | mine
    pages = {name: folder / name for name in PAGES}
    # The figures of a checkpoint with a folder of its own.
    homes = dict.fromkeys(entry.home for entry in each.spec.checkpoints.values())
    measured = {f"{home}/metrics.json": folder / home / "metrics.json" for home in homes if home}
    pages |= {name: path for name, path in measured.items() if path.is_file()}
    own = [folder / name for name in weights]
    shared = [one.files["backbone.toml"].parent / name for one in backbones.values() for name in one.files]
    for path in (*pages.values(), *own, *shared):
        if path.is_symlink():
            raise PublishError(f"{path} is a link; put the file itself there")
    for path in pages.values():
        if not path.is_file():
            raise PublishError(f"{path} is missing; a filter travels whole, with {', '.join(PAGES)}")
        if found := _SECRET.search(path.read_bytes()):
            raise PublishError(f"{path} holds what looks like a secret ({found[0][:6].decode()}...); remove it")
    if sha256_of(pages["prompt.md"]) != each.spec.prompt_sha256:
        raise PublishError(f"{pages['prompt.md']} is not the prompt whose digest the spec has")
    if pages["CARD.md"].read_text(encoding="utf-8") != card(folder):
        raise PublishError(f"{pages['CARD.md']} is stale; run `distillery cards`")
    if deviations := check_golden(each):
        first = deviations[0]
        raise PublishError(
            f"{pages['golden.jsonl']}: {len(deviations)} values off by more than {TOLERANCE}, as {first.field} of "
            f"{first.article}: {first.found}, recorded {first.expected}; run `distillery golden`"
        )
    return Bundle(each, pages, weights, tuple(backbones.values()))


def _shared(part: Part, owner: str, *, whole: bool) -> Shared:
    """Read what a checkpoint is built on; where `whole` is not asked for, what lies on the Hub alone stays there.

    Raises:
        PublishError: when it is another than the checkpoint was trained on.
    """
    folder, weights, spec = part.backbone_folder, part.weights, part.backbone()
    if spec.digest != weights.backbone_sha256:
        raise PublishError(
            f"{owner}: {part.checkpoint} was trained on weights {weights.backbone_sha256[:12]}, but {folder} has "
            f"{spec.digest[:12]}"
        )
    files = {"backbone.toml": folder / "backbone.toml"}
    files |= {
        ref.path: locate(ref, folder, spec.hub, owner)
        for ref in spec.files
        if whole or spec.hub is None or (folder / ref.path).is_file()
    }
    return Shared(weights.backbone, spec, files)
