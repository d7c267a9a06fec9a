"""`distillery publish`: a filter to the Hugging Face Hub, proved before its spec names the commit."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from distilled_filters.cli.options import JsonFlag
from distilled_filters.cli.publishing import FilterFolder, FiltersHome, find_folder
from distilled_filters.cli.training_options import training_extra
from distilled_filters.errors import SettingError

if TYPE_CHECKING:
    from distilled_filters.training.publish.upload import Outcome, Plan

__all__ = ["command"]


def command(
    name: FilterFolder,
    repo: Annotated[str, typer.Option("--repo", metavar="ORG/NAME", help="The model repository; made where missing.")],
    private: Annotated[bool, typer.Option("--private", help="Make the repository private.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and list what would be sent; no network.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    filters: FiltersHome = Path("filters"),
    as_json: JsonFlag = False,
) -> None:
    """Upload a filter to the Hugging Face Hub in one commit, and pin that commit in its filter.toml.

    The complete set is sent: weights, spec, prompt, calibration, percentiles,
    golden articles, metrics, card, and the backbone where the Hub has none yet.
    A fresh process then fetches the new commit into an empty cache and scores
    the golden articles; only if they come out is filter.toml changed. The same
    bytes again make no new commit. Log in with `hf auth login` or HF_TOKEN.

    [bold]Examples[/bold]

      distillery publish uplifting --repo my-org/uplifting --dry-run
      distillery publish filters/uplifting/v1 --repo my-org/uplifting --private
    """
    from distilled_filters.cli.terminal import screen, write_json

    with training_extra("publish"):
        from distilled_filters.training.publish.upload import plan, publish

    wanted = plan(find_folder(name, filters), repo)
    if not as_json:
        _show_plan(wanted, private)
    if not (dry_run or yes):
        if not sys.stdin.isatty():
            raise SettingError("nobody is there to confirm; pass --yes to upload, or --dry-run to look")
        typer.confirm("Upload?", abort=True, err=True)
    outcome = None if dry_run else publish(wanted, private=private)
    if as_json:
        write_json(_document(wanted, outcome))
    elif outcome is None:
        screen().print("dry run: nothing was sent", style="dim")
    else:
        _show_outcome(wanted, outcome)


def _document(wanted: Plan, outcome: Outcome | None) -> dict[str, object]:
    return {
        "filter": f"{wanted.bundle.filter.name} {wanted.bundle.filter.version}",
        "repo": wanted.repo,
        "files": wanted.sizes(),
        "revision": outcome and outcome.revision,
        "new_commit": bool(outcome and outcome.new),
        "pinned": [str(path) for path in outcome.pinned] if outcome else [],
    }


def _show_plan(wanted: Plan, private: bool) -> None:
    from distilled_filters.cli.terminal import grid, plain, screen

    each = wanted.bundle.filter
    kind = "private repository" if private else "repository"
    screen().print(plain(f"{each.name} {each.version} to the {kind} {wanted.repo}", "bold"))
    table = grid("file", "bytes")
    for name, size in sorted(wanted.sizes().items()):
        table.add_row(plain(name), f"{size:,}")
    screen().print(table)


def _show_outcome(wanted: Plan, outcome: Outcome) -> None:
    from distilled_filters.cli.terminal import plain, screen

    state = "new commit" if outcome.new else "unchanged, no new commit:"
    screen().print(plain(f"{state} {outcome.revision} of {wanted.repo}"), soft_wrap=True)
    if outcome.pinned:
        screen().print("read back into an empty cache; the golden scores come out", style="green")
    for path in outcome.pinned:
        screen().print(plain(f"pinned in {path}"), soft_wrap=True)
