"""`distillery verify`: are the files those the specs name, and do reference scores come out?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

import typer

from distilled_filters.cli.errors import FINDINGS
from distilled_filters.cli.options import FilterNames, JsonFlag, find_filters
from distilled_filters.errors import ChecksumError, DistilledFiltersError, SpecError

if TYPE_CHECKING:
    from rich.text import Text

    from distilled_filters.filter import Filter

__all__ = ["command"]

# One changed head moves every score of every article; the first few tell enough.
_DEVIATIONS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class _Check:
    """One thing looked at; `problem` is None where it is as it should be."""

    filter: str
    kind: str
    what: str
    problem: str | None


def command(filters: FilterNames = None, as_json: JsonFlag = False) -> None:
    """Check that files are whole and that reference scores come out.

    Every file of a filter and of its backbone is compared with the digest in
    the spec, so is the prompt, and the golden articles are scored. Exits with
    1 when anything differs.

    [bold]Examples[/bold]

      distillery verify
      distillery verify uplifting "belonging==1.*"
    """
    from distilled_filters.cli.terminal import grid, plain, screen, write_json

    checks = [check for label, found in find_filters(filters) for check in _checks(label, found)]
    failed = [check for check in checks if check.problem is not None]
    if as_json:
        write_json([asdict(check) for check in checks])
    else:
        kinds = ("spec", "files", "prompt", "golden")
        table = grid("filter", *kinds)
        for name in dict.fromkeys(check.filter for check in checks):
            own = [check for check in checks if check.filter == name]
            table.add_row(plain(name), *(_cell([check for check in own if check.kind == kind]) for kind in kinds))
        console = screen()
        console.print(table)
        for check in failed:
            console.print(plain(f"{check.filter}: {check.what}: {check.problem}", "red"), soft_wrap=True)
        console.print(f"{len(checks)} checks, {len(failed) or 'none'} failed", style="dim")
    if failed:
        raise typer.Exit(FINDINGS)


def _cell(checks: Sequence[_Check]) -> Text:
    from distilled_filters.cli.terminal import plain

    whole = sum(check.problem is None for check in checks)
    if not checks:
        return plain("-", "dim")
    if whole == len(checks):
        return plain("ok", "green")
    return plain("failed" if len(checks) == 1 else f"{len(checks) - whole} of {len(checks)} failed", "red")


def _checks(label: str, found: Filter | DistilledFiltersError) -> Iterator[_Check]:
    """Check one filter; whatever is wrong with it stays its own problem."""
    if isinstance(found, DistilledFiltersError):
        yield _Check(label, "spec", "filter.toml", str(found))
        return
    name = f"{found.name} {found.version}"
    yield _Check(name, "spec", "filter.toml", None)
    for kind, what, action in _actions(found):
        try:
            action()
        except DistilledFiltersError as error:
            yield _Check(name, kind, what, str(error))
        except Exception as error:  # damaged files break in ways of their own, and the next filter must be checked
            yield _Check(name, kind, what, f"{type(error).__name__}: {error}")
        else:
            yield _Check(name, kind, what, None)


def _actions(each: Filter) -> Iterator[tuple[str, str, Callable[[], object]]]:
    """Yield kind, what is checked, and an action that raises where it is not as it should be."""
    from distilled_filters.checkpoints import locate
    from distilled_filters.spec import read_backbone_spec

    owner, weights = f"{each.name}=={each.version}", each.weights
    for ref in weights.files:
        yield "files", ref.path, partial(locate, ref, each.folder, weights.hub, owner)
    yield "files", f"{weights.backbone}/backbone.toml", partial(_check_backbone, each)
    with suppress(SpecError):  # the line above reports it
        backbone = read_backbone_spec(each.backbone_folder / "backbone.toml", weights.on)
        for ref in backbone.files:
            action = partial(locate, ref, each.backbone_folder, backbone.hub, owner)
            yield "files", f"{weights.backbone}/{ref.path}", action
    yield "prompt", "prompt.md", partial(_check_prompt, each)
    yield "golden", "golden.jsonl", partial(_check_golden, each)


def _check_backbone(each: Filter) -> None:
    from distilled_filters.spec import read_backbone_spec

    found = read_backbone_spec(each.backbone_folder / "backbone.toml", each.weights.on).digest
    if found != each.weights.backbone_sha256:
        raise ChecksumError(
            f"it names weights {found[:12]}..., the filter was trained on {each.weights.backbone_sha256[:12]}..."
        )


def _check_prompt(each: Filter) -> None:
    from distilled_filters.checkpoints import sha256_of

    found = sha256_of(each.folder / "prompt.md")
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
