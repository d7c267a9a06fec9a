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
from distilled_filters.spec import BackboneSpec, read_backbone_spec

__all__ = ["PAGES", "Bundle", "PublishError", "read_bundle"]

PAGES = ("filter.toml", "prompt.md", "golden.jsonl", "metrics.json", "CARD.md")
"""What a filter folder holds beside its weights."""

# Tokens of the services that distillation uses: an author's note in a prompt must not carry one away.
_SECRET = re.compile(
    rb"\bhf_[A-Za-z0-9]{20,}|\bsk-[A-Za-z0-9_-]{20,}|\bAKIA[A-Z0-9]{16}\b|-----BEGIN [A-Z ]*PRIVATE KEY"
)


class PublishError(DistilledFiltersError, ValueError):
    """A filter folder is not fit to leave the house; the message names the file and what to do."""


@dataclass(frozen=True)
class Bundle:
    """A filter that is fit to travel.

    Attributes:
        filter: The filter, of the spec's default checkpoint.
        pages: The files beside the weights, by name.
        weights: The files of its checkpoints, by name; those on the Hub alone are left out where asked.
        backbone: The backbone's spec.
        backbone_files: `backbone.toml` and the backbone's files, by name.
    """

    filter: Filter
    pages: Mapping[str, Path]
    weights: Mapping[str, Path]
    backbone: BackboneSpec
    backbone_files: Mapping[str, Path]


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
    backbone_folder = each.backbone_folder
    backbone = read_backbone_spec(backbone_folder / "backbone.toml")
    backbone_files = {"backbone.toml": backbone_folder / "backbone.toml"}
    backbone_files |= {ref.path: locate(ref, backbone_folder, backbone.hub, owner) for ref in backbone.files}
    pages = {name: folder / name for name in PAGES}
    own, shared = [folder / name for name in weights], [backbone_folder / name for name in backbone_files]
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
    return Bundle(each, pages, weights, backbone, backbone_files)
