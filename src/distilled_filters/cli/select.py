"""`distillery select`: the articles of a pool that are worth a label."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distilled_filters.cli.errors import FINDINGS, fail
from distilled_filters.cli.options import JsonFlag, find_filter
from distilled_filters.cli.training_options import training_extra
from distilled_filters.errors import SettingError

if TYPE_CHECKING:
    from distilled_filters.filter import Filter

__all__ = ["Strategy", "command"]

# Titles that the terminal shows of the rows chosen.
_SHOWN = 8


class Strategy(StrEnum):
    """The values of `--strategy`: the keys of `training.active.strategies.STRATEGIES`, and their mix."""

    MIXED = "mixed"
    UNCERTAINTY = "uncertainty"
    DISAGREEMENT = "disagreement"
    DIVERSITY = "diversity"
    NEAR_BOUNDARY = "near-boundary"
    PREDICTED_HIGH = "predicted-high"
    SEEDS = "seeds"
    RANDOM = "random"


def command(
    pool: Annotated[
        list[str], typer.Argument(help="Files of unlabelled articles, as for `score`; every row needs an id.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The rows chosen, as JSON lines.")],
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            "-f",
            metavar="FILTER",
            help="A filter to choose for, a name or a folder; repeated, they take turns.",
        ),
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many articles to choose.")] = 200,
    strategy: Annotated[
        Strategy | None,
        typer.Option(help="What makes an article worth a label.", show_default="mixed; seeds where --seeds is given"),
    ] = None,
    seeds: Annotated[
        Path | None, typer.Option(exists=True, help="A few known positives: the pool is ordered by nearness to them.")
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(help="For disagreement: another filter of the same lens, a name or a folder; may be repeated."),
    ] = None,
    labelled: Annotated[
        list[Path] | None,
        typer.Option("--labelled", "-l", exists=True, help="What is labelled: JSON lines with ids, or a data folder."),
    ] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Look at so many rows of the pool only, drawn at random.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of draws and clusters.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace --output.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Choose the articles that teach a filter most, to have them labelled.

    Strategies: [bold]predicted-high[/bold] takes the best scores,
    [bold]near-boundary[/bold] those next to the medium tier,
    [bold]uncertainty[/bold] those whose scope the student cannot tell,
    [bold]disagreement[/bold] those on which the first look, or the filters of
    --against, say otherwise, [bold]diversity[/bold] one of each cluster,
    [bold]seeds[/bold] the nearest to known positives, [bold]random[/bold] any.
    [bold]mixed[/bold] takes from several of them.

    Rows travel whole and gain selected_by, selection_score and selected_for.
    They are marked as the stratum "selected", since a student chose them:
    hold them out of evaluation with `prepare --train-only selected`.
    Labelled articles and near copies are passed over.

    Exits with 0 when rows were chosen, with 1 when all candidates are near
    copies, and with 2 when there are none, or for wrong usage.

    [bold]Examples[/bold]

      distillery select news.jsonl -f uplifting -n 200 --labelled DATA -o picked.jsonl
      distillery select news.jsonl -f uplifting -f belonging --strategy predicted-high -o picked.jsonl
      distillery select news.jsonl --seeds seeds.jsonl -n 100 -o picked.jsonl
      distillery select big.parquet -f uplifting --sample 20000 -o picked.jsonl
    """
    chosen = _strategy(strategy, filters, seeds, against)
    _check_output(output, pool, force)
    with training_extra():
        from distilled_filters.training.active.choose import STRATUM, choose
        from distilled_filters.training.active.pool import Labelled, candidates_of, read_labelled, read_pool, read_seeds
        from distilled_filters.training.active.strategies import ranking
        from distilled_filters.training.predict import embed, open_shared
    from distilled_filters.cli.terminal import write_json
    from distilled_filters.files import write_json_lines

    lenses = [find_filter(name) for name in filters or ()]
    committee = [find_filter(name) for name in against or ()]
    backbone, preprocessor = open_shared(lenses or [_any_filter()])
    done = read_labelled(labelled) if labelled else Labelled(frozenset(), ())
    found = read_pool(pool, preprocessor, done.ids, sample, seed)
    positives = read_seeds(seeds, preprocessor, backbone) if seeds else None
    embeddings = embed(backbone, found.windows, "pool")
    asked: list[Filter | None] = [*lenses] or [None]
    orders = {
        each.name if each else None: ranking(
            candidates_of(each, found, embeddings, positives, committee), chosen.value, count, seed
        )
        for each in asked
    }
    choice = choose(orders, found, done, count, stratum=None if chosen is Strategy.RANDOM else STRATUM)
    if choice.rows:
        write_json_lines(output, choice.rows)
    report = {
        "output": str(output) if choice.rows else None,
        "strategy": chosen.value,
        "seed": seed,
        "candidates": len(found.rows),
        "left_out": dict(found.left_out),
        "near_copies": choice.copies,
        "chosen": len(choice.rows),
        **{f"by_{key}": _counts(choice.rows, field) for key, field in _GROUPS.items()},
    }
    if as_json:
        write_json(report)
    elif choice.rows:
        _show(report, choice.rows)
    if not choice.rows:
        fail(
            f"nothing left to select: all {len(found.rows):,} candidates are near copies of what is labelled; "
            f"{output} was not written",
            label="",
            code=FINDINGS,
        )


_GROUPS = {"strategy": "selected_by", "filter": "selected_for", "language": "language"}


def _strategy(
    asked: Strategy | None, filters: Sequence[str] | None, seeds: Path | None, against: Sequence[str] | None
) -> Strategy:
    """Return the strategy meant; refuse options that contradict each other."""
    chosen = asked or (Strategy.SEEDS if seeds else Strategy.MIXED)
    if seeds and chosen is not Strategy.SEEDS:
        raise typer.BadParameter(f"--strategy {chosen.value} does not use it", param_hint="--seeds")
    if chosen is Strategy.SEEDS and not seeds:
        raise typer.BadParameter("it needs --seeds, a file of known positives", param_hint="--strategy seeds")
    if against and (chosen is not Strategy.DISAGREEMENT or len(filters or ()) != 1):
        raise typer.BadParameter("it goes with --strategy disagreement and one --filter", param_hint="--against")
    if not filters and chosen not in (Strategy.SEEDS, Strategy.DIVERSITY, Strategy.RANDOM):
        raise typer.BadParameter(
            f"{chosen.value} asks a filter: name one, or give --seeds, or take diversity", param_hint="--filter"
        )
    return chosen


def _check_output(output: Path, pool: Sequence[str], force: bool) -> None:
    if not output.parent.is_dir():
        raise SettingError(f"there is no folder {output.parent} to write {output.name} to")
    if output.exists() and any(Path(name).exists() and output.samefile(name) for name in pool):
        raise SettingError(f"{output} is the pool itself; name another --output")
    if output.exists() and not force:
        raise SettingError(f"{output} exists, and may be with the oracle already; name another, or replace it: --force")


def _any_filter() -> Filter:
    """Return an installed filter, whose encoder makes the embeddings where no lens is asked."""
    from distilled_filters.registry import filter_names

    return find_filter(next(iter(filter_names())))


def _counts(rows: Sequence[dict[str, Any]], field: str) -> dict[str, int]:
    from collections import Counter

    return dict(Counter(str(row[field]) for row in rows if row.get(field)).most_common())


def _show(report: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
    from distilled_filters.cli.terminal import grid, plain, screen, shortened
    from distilled_filters.corpus.rows import record_title

    console = screen()
    table = grid("chosen by", "for", "score", "title")
    for row in rows[:_SHOWN]:
        title = shortened(record_title(row) or "", 60)
        cells = (row["selected_by"], row.get("selected_for", "-"), f"{row['selection_score']:.3f}", title)
        table.add_row(*map(plain, cells))
    console.print(table)
    if len(rows) > _SHOWN:
        console.print(f"and {len(rows) - _SHOWN:,} more", style="dim")
    console.print()
    for key in _GROUPS:
        if counts := report[f"by_{key}"]:
            console.print(plain(f"{key}: " + ", ".join(f"{name} {count:,}" for name, count in counts.items())))
    left = [*report["left_out"].items(), *([("near copies", report["near_copies"])] if report["near_copies"] else [])]
    if left:
        console.print(plain("passed over: " + ", ".join(f"{name} {count:,}" for name, count in left), "dim"))
    console.print(
        f"chose {report['chosen']:,} of {report['candidates']:,} candidates; wrote {report['output']}", soft_wrap=True
    )
