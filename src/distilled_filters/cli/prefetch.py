"""`distillery prefetch`: the one command that downloads, so that scoring never does (AC3)."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from distilled_filters.cli.errors import FINDINGS
from distilled_filters.cli.options import FilterNames, JsonFlag, find_filters
from distilled_filters.errors import DistilledFiltersError, UnknownFilterError

if TYPE_CHECKING:
    from distilled_filters.filter import Filter

__all__ = ["command"]


def command(
    filters: FilterNames = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="What this checkpoint of the filters needs, in place of the default one.")
    ] = None,
    local_files_only: Annotated[
        bool, typer.Option("--local-files-only", help="Download nothing; only say whether everything is there.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Download what filters need, so that they score offline.

    Filters that come with their files need nothing. Every file comes at the
    commit in the spec, and is checked against the digest there. Log in with
    `hf auth login` or set HF_TOKEN for private and gated repositories;
    HF_ENDPOINT, HF_HUB_CACHE and HTTPS_PROXY are heeded. Exits with 1 when a
    filter is not whole afterwards.

    [bold]Examples[/bold]

      distillery prefetch
      distillery prefetch "uplifting==1.*"
      distillery prefetch uplifting --checkpoint gemma3_270m_lora
      distillery prefetch --local-files-only
    """
    from distilled_filters.cli.terminal import plain, screen, write_json

    outcomes: list[dict[str, object]] = []
    console = screen()
    for label, found in _on(checkpoint, find_filters(filters), named=bool(filters)):
        outcome: dict[str, object] = {"filter": label, "files": [], "problem": None}
        outcomes.append(outcome)
        try:
            if isinstance(found, DistilledFiltersError):
                raise found
            outcome["filter"] = label = f"{found.name} {found.version}"
            paths = _fetch(found, local_files_only, shown=not (as_json or local_files_only))
        except DistilledFiltersError as error:
            outcome["problem"] = str(error)
            line = plain(f"{label}: {error}", "red")
        else:
            outcome["files"] = [str(path) for path in paths]
            size = sum(path.stat().st_size for path in paths)
            brought = f"{len(paths)} files in the cache, {size / 1e6:.1f} MB" if paths else "comes with its files"
            line = plain(f"{label}: {brought}")
        if not as_json:
            console.print(line, soft_wrap=True)
    nothing = not any(outcome["files"] or outcome["problem"] for outcome in outcomes)
    if as_json:
        write_json(outcomes)
    elif nothing:
        console.print("nothing to fetch", style="dim")
    if any(outcome["problem"] for outcome in outcomes):
        raise typer.Exit(FINDINGS)


def _on(
    checkpoint: str | None, found: Iterable[tuple[str, Filter | DistilledFiltersError]], *, named: bool
) -> Iterator[tuple[str, Filter | DistilledFiltersError]]:
    """Put filters on a checkpoint, where one is asked for; of all filters, those are meant that have it."""
    none = True
    for label, each in found:
        if checkpoint is None or isinstance(each, DistilledFiltersError):
            yield label, each
        elif named or checkpoint.replace("-", "_") in each.spec.checkpoints:
            none = False
            yield label, each.with_checkpoint(checkpoint)
    if checkpoint is not None and none:
        raise UnknownFilterError(f"no installed filter has a checkpoint {checkpoint!r}; see `distillery info FILTER`")


def _fetch(each: Filter, local_files_only: bool, *, shown: bool) -> list[Path]:
    """Bring a filter's files, with a bar on stderr where that is a terminal."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from distilled_filters.cli.terminal import notes

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=notes(),
        transient=True,
        disable=not (shown and sys.stderr.isatty()),
    )
    with bar:
        task = bar.add_task(f"{each.name} {each.version}", total=sum(ref.size for ref, _ in each.remote_files()))
        return each.prefetch(local_files_only=local_files_only, progress=lambda came: bar.advance(task, came))
