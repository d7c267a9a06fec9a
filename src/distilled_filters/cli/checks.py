"""What `verify` and `validate` look at in one filter: every file against what was recorded of it, and its scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from distilled_filters.checkpoints import locate, sha256_of
from distilled_filters.errors import ChecksumError, DistilledFiltersError, SpecError
from distilled_filters.filter import Filter
from distilled_filters.hub import cached
from distilled_filters.installed import check_recorded, recorded
from distilled_filters.registry import LIBRARY, distribution_of
from distilled_filters.scorers.base import Part, Source
from distilled_filters.scorers.compositions import check_composition
from distilled_filters.spec import FileRef, HubSource

__all__ = ["Check", "file_checks", "golden_check"]

# One changed head moves every score of every article; the first few tell enough.
_DEVIATIONS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at; `error` is None where it is as it should be."""

    filter: str
    kind: str
    what: str
    error: Exception | None

    @property
    def problem(self) -> str | None:
        """What is wrong, in words."""
        if self.error is None:
            return None
        known = isinstance(self.error, DistilledFiltersError)
        return str(self.error) if known else f"{type(self.error).__name__}: {self.error}"


def file_checks(each: Filter) -> Iterator[Check]:
    """Compare every file of a filter's checkpoints, of their backbones, and the prompt with the digests in the specs.

    What checkpoints beside the one in use have on the Hub alone is not asked for. Where the filter was
    installed from a wheel, its spec, card, golden articles and metrics are compared too, with
    what the wheel recorded.
    """
    label, distribution = f"{each.name} {each.version}", distribution_of(each.folder)
    needed = {each.checkpoint, *(part.checkpoint for part in each.parts)}
    for name in (each.checkpoint, *(name for name in each.spec.checkpoints if name != each.checkpoint)):
        yield from _checkpoint_checks(each.source.of(name), distribution, asked_for=name in needed)
    if distribution is not None:
        for path in _pages(each, distribution):
            yield _run(label, "files", path.name, partial(check_recorded, path, distribution))
    yield _run(label, "prompt", "prompt.md", partial(_check_prompt, each))


def golden_check(each: Filter) -> Check:
    """Score the golden articles and compare."""
    return _run(f"{each.name} {each.version}", "golden", "golden.jsonl", partial(_check_golden, each))


def _checkpoint_checks(source: Source, distribution: str | None, *, asked_for: bool) -> Iterator[Check]:
    label, weights, folder = f"{source.spec.name} {source.spec.version}", source.weights, source.folder
    owner = f"{source.spec.name}=={source.spec.version}"

    def concerns(ref: FileRef, source: HubSource | None, folder: Path) -> bool:
        return asked_for or source is None or (folder / ref.path).is_file() or cached(ref, source) is not None

    there = [ref for ref in weights.files if concerns(ref, weights.hub, folder)]
    for ref in there:
        yield _run(label, "files", ref.path, partial(locate, ref, folder, weights.hub, owner))
    if weights.parts:
        if len(there) == len(weights.files):
            yield _run(label, "files", f"{weights.learnt.path} and its parts", partial(check_composition, source))
        return
    for part in source.parts:
        name = part.weights.backbone
        yield _run(label, "files", f"{name}/backbone.toml", partial(_check_backbone, part, distribution))
        with suppress(SpecError):  # the line above reports it
            backbone = part.backbone()
            for ref in backbone.files:
                if concerns(ref, backbone.hub, part.backbone_folder):
                    action = partial(locate, ref, part.backbone_folder, backbone.hub, owner)
                    yield _run(label, "files", f"{name}/{ref.path}", action)


def _run(label: str, kind: str, what: str, action: Callable[[], object]) -> Check:
    try:
        action()
    except Exception as error:  # damaged files break in ways of their own, and the next one must be checked
        return Check(label, kind, what, error)
    return Check(label, kind, what, None)


def _pages(each: Filter, distribution: str) -> list[Path]:
    """Return the files that a distribution recorded and no spec has a digest of.

    Of the library, those in the filter's folder; of a filter's own wheel, all.
    """
    folder, entries = each.folder.resolve(), each.spec.checkpoints
    known = {folder / ref.path for entry in entries.values() for ref in entry.files} | {folder / "prompt.md"}
    shared = {part.backbone_folder.resolve() for name in entries for part in each.source.of(name).parts}
    mine = (path for path in recorded(distribution) if distribution != LIBRARY or path.is_relative_to(folder))
    return sorted(path for path in mine if path not in known and path.parent not in shared)


def _check_backbone(part: Part, distribution: str | None) -> None:
    for owner in {LIBRARY, distribution} - {None}:
        check_recorded(part.backbone_folder / "backbone.toml", str(owner))
    found, wanted = part.backbone().digest, part.weights.backbone_sha256
    if found != wanted:
        raise ChecksumError(f"it names weights {found[:12]}..., the filter was trained on {wanted[:12]}...")


def _check_prompt(each: Filter) -> None:
    path: Path = each.folder / "prompt.md"
    found = sha256_of(path)
    if found != each.spec.prompt_sha256:
        raise ChecksumError(f"it has SHA-256 {found[:12]}..., the spec says {each.spec.prompt_sha256[:12]}...")


def _check_golden(each: Filter) -> None:
    from distilled_filters.golden import TOLERANCE, check_golden

    deviations = check_golden(each)
    if deviations:
        shown = "; ".join(
            f"{found.article} {found.field} is {found.found}, recorded {found.expected}"
            for found in deviations[:_DEVIATIONS_SHOWN]
        )
        raise DistilledFiltersError(f"{len(deviations)} values off by more than {TOLERANCE}: {shown}")
