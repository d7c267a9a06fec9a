"""`distillery prepare`: labelled articles to a data folder with splits and a card."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distilled_filters.cli.errors import FINDINGS
from distilled_filters.cli.options import JsonFlag
from distilled_filters.cli.training_options import FiltersFolder, training_extra

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["command"]


class NearDuplicates(StrEnum):
    """What happens to near copies."""

    GROUP = "group"
    DROP = "drop"


def command(
    articles: Annotated[list[Path], typer.Argument(help="JSON lines: id, title, content, and what is known of them.")],
    labels: Annotated[list[Path], typer.Option("--labels", "-l", help="JSON lines of labels; may be repeated.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The data folder to write.")],
    replace: Annotated[
        list[Path] | None,
        typer.Option(help="Labels that take the place of all others of their articles, lens by lens; may be repeated."),
    ] = None,
    drop: Annotated[
        list[Path] | None, typer.Option(help="JSON lines with the ids of articles to leave out; may be repeated.")
    ] = None,
    filters: FiltersFolder = Path("filters"),
    lens: Annotated[
        str | None, typer.Option("--filter", "-f", help="The filter of label rows that do not name theirs.")
    ] = None,
    held_out: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Share of all for validation and test, half each.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(help="Seed of the splits.")] = 20,
    keep_splits: Annotated[
        bool,
        typer.Option("--keep-splits", help="Leave rows in the `split` they name; rows without one are trained on."),
    ] = False,
    train_only: Annotated[
        list[str] | None,
        typer.Option(help="A stratum that is never held out, such as one a student chose; may be repeated."),
    ] = None,
    near_duplicates: Annotated[
        NearDuplicates, typer.Option(help="Keep near copies together in one split, or keep the first one only.")
    ] = NearDuplicates.GROUP,
    threshold: Annotated[
        float, typer.Option(min=0.1, max=1.0, help="Shared part of the texts from which two are near copies.")
    ] = 0.6,
    mix: Annotated[
        str | None,
        typer.Option(metavar="REAL/SYNTHETIC", help="Most synthetic articles beside real ones in training: 70/30."),
    ] = None,
    drop_real: Annotated[
        bool, typer.Option("--drop-real", help="With --mix: leave real articles out where synthetic ones are too few.")
    ] = False,
    base: Annotated[
        str | None, typer.Option(help="Encoder whose tokenizer counts: a Hub id or a folder. By default the filters'.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 when a row was rejected.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Check labelled articles, find copies, make splits; write a data folder.

    Articles without a label go to unlabelled.jsonl; a row that cannot be used
    goes to rejected.jsonl with its line and the reason.

    Exits with 0 when the folder is written, with 1 when it is written, a row
    was rejected and --strict is given, and with 2 when nothing is written:
    wrong usage, no good label, or, with --keep-splits, copies of one article
    in two splits.

    [bold]Examples[/bold]

      distillery prepare articles.jsonl --labels labels.jsonl -o labelled/
      distillery prepare a.jsonl pool.jsonl -l labels.jsonl -o labelled/ --seed 3
      distillery prepare a.jsonl -l old.jsonl -l new.jsonl -o all/ --keep-splits
      distillery prepare a.jsonl -l l.jsonl --replace judged/replace.jsonl --drop judged/drop.jsonl -o better/
      distillery prepare real.jsonl written.jsonl -l labels.jsonl -o mixed/ --mix 70/30
    """
    with training_extra():
        from distilled_filters.training.prepare import Settings, prepare
        from distilled_filters.training.prepare.mix import parse_mix
    from distilled_filters.cli.terminal import screen, write_json

    if drop_real and not mix:
        raise typer.BadParameter("it goes with --mix", param_hint="--drop-real")
    settings = Settings(
        held_out=held_out, seed=seed, threshold=threshold, drop_near=near_duplicates is NearDuplicates.DROP,
        keep_splits=keep_splits, train_only=tuple(train_only or ()), lens=lens, base=base,
        replace=tuple(replace or ()), drop=tuple(drop or ()),
        mix=parse_mix(mix, drop_real=drop_real) if mix else None,
    )  # fmt: skip
    options = [
        *(part for path in labels for part in ("--labels", str(path))),
        *(part for path in replace or () for part in ("--replace", str(path))),
        *(part for path in drop or () for part in ("--drop", str(path))),
        "--output", "DATA", "--filters", str(filters), *(("--filter", lens) if lens else ()),
        "--held-out", str(held_out), "--seed", str(seed), *(("--keep-splits",) if keep_splits else ()),
        *(part for stratum in train_only or () for part in ("--train-only", stratum)),
        "--near-duplicates", near_duplicates.value, "--threshold", str(threshold),
        *(("--mix", mix) if mix else ()), *(("--drop-real",) if drop_real else ()),
        *(("--base", base) if base else ()),
    ]  # fmt: skip
    line = shlex.join(["distillery", "prepare", *map(str, articles), *options])
    card = prepare(articles, labels, output, filters, settings, line)
    if as_json:
        write_json(card)
    else:
        _show(card, output, screen())
    if strict and card["rejected"]:
        raise typer.Exit(FINDINGS)


def _show(card: dict[str, Any], output: Path, console: Console) -> None:
    from distilled_filters.cli.terminal import grid, plain

    splits = card["splits"]
    table = grid("split", "articles", "synthetic", "languages")
    for name, part in [*splits.items(), ("unlabelled", card["unlabelled"])]:
        languages = ", ".join(f"{language} {count:,}" for language, count in part["languages"].items())
        table.add_row(plain(name, "bold"), f"{part['articles']:,}", f"{part['synthetic']:,}", plain(languages))
    console.print(table)
    console.print()
    levels = list(dict.fromkeys(level for lens in card["lenses"].values() for level in lens["splits"]["train"]))
    table = grid(
        "train / validation / test",
        *("in scope" if level == "in_scope" else f"{level}+" for level in levels),
        "oracle's own MAE",
    )
    for name, lens in card["lenses"].items():
        counts = (" / ".join(str(lens["splits"][split].get(level, "-")) for split in splits) for level in levels)
        own = lens["self_agreement"]
        table.add_row(plain(name, "bold"), *counts, f"{own['average_mae']:.3f}" if own else "-")
    console.print(table)
    console.print()
    found = card["duplicates"]
    exact, near = (sum(map(len, found[key].values())) for key in ("exact", "dropped_near"))
    console.print(
        f"{exact:,} exact copies merged, {len(found['near_pairs']):,} pairs of near copies, "
        f"{near:,} near copies dropped, {found['clusters_of_several']:,} clusters of several",
        soft_wrap=True,
    )
    if mix := card["mix"]:
        console.print(
            f"mix {mix['asked']}: {mix['real']:,} real and {mix['synthetic']:,} synthetic in training, "
            f"{mix['left_out']:,} left out",
            soft_wrap=True,
        )
    for text in card["warnings"]:
        console.print(plain(f"warning: {text}", "yellow"), soft_wrap=True)
    for reason, count in card["rejected"].items():
        console.print(plain(f"rejected {reason}: {count:,}", "red"), soft_wrap=True)
    console.print(f"wrote {output}; read {output / 'DATA.md'}", style="dim", soft_wrap=True)
