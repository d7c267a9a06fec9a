"""`distillery export`: from a training run to filter folders that score as the student does."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from distilled_filters.cli.options import JsonFlag
from distilled_filters.cli.training_options import FiltersFolder, training_extra
from distilled_filters.errors import SettingError

if TYPE_CHECKING:
    from distilled_filters.training.export import Exported

__all__ = ["command"]


class Precision(StrEnum):
    """Of the backbone's weights."""

    INT8 = "int8"
    FP16 = "fp16"
    FP32 = "fp32"


class WeightRange(StrEnum):
    """Of int8 weights."""

    PAIRS = "pairs"
    FULL = "full"
    REDUCED = "reduced"


def command(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", exists=True, file_okay=False, help="What `train` has finished; of several, the mean."
        ),
    ],
    backbone: Annotated[str, typer.Option(help="Name and version of the backbone to write, such as me5_small/v1.")],
    licence: Annotated[str, typer.Option(help="Licence of the base encoder's weights, such as MIT.")],
    filters: FiltersFolder = Path("filters"),
    checkpoint: Annotated[
        str | None,
        typer.Option(help="What the filter calls an expert's checkpoint; by default its backbone's name and _lora."),
    ] = None,
    base_name: Annotated[str | None, typer.Option(help="What specs and cards call the base encoder.")] = None,
    precision: Annotated[Precision, typer.Option(help="Of the weights; fp16 and fp32 compute in fp32.")] = (
        Precision.INT8
    ),
    weight_range: Annotated[
        WeightRange,
        typer.Option(help="Of int8 weights; `full` gives other scores on x86-64 processors without VNNI."),
    ] = WeightRange.PAIRS,
    check: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Data folder with the validation articles to check parity on; "
            "the filters' golden articles by default.",
        ),
    ] = None,
    prune_vocabulary: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Corpus of articles; pieces it does not hold are left out."),
    ] = None,
    least_count: Annotated[int, typer.Option(min=1, help="How often a piece must stand in the corpus to be kept.")] = 1,
    as_json: JsonFlag = False,
) -> None:
    """Write backbone, heads and specs, and check them against torch.

    Refused, with nothing written, when raw scores move by more than 0.05 (int8), 0.005 (fp16)
    or 0.001 (fp32) in the mean, or when pruning makes a language's articles longer by
    more than 2%. An expert's run becomes a further checkpoint of its filter.

    What was measured goes into the backbone's metrics.json. Calibration
    starts as the identity; `calibrate` comes next.

    [bold]Examples[/bold]

      distillery export runs/first --backbone me5_small/v1 --licence MIT --check labelled/
      distillery export runs/first --backbone me5_small/v1 --licence MIT --precision fp32
      distillery export runs/first runs/second --backbone me5_small/v1 --licence MIT
      distillery export runs/expert --backbone gemma3_270m/v1 --licence gemma
      distillery export runs/first --backbone me5_small/v1 --licence MIT --prune-vocabulary news.jsonl
    """
    with training_extra():
        from distilled_filters.training.export import Pruning, export
        from distilled_filters.training.record import read_run

        expert = read_run(runs[0]).is_expert
    if expert:
        _export_expert(runs, filters, backbone, checkpoint, licence, as_json)
        return
    exported = export(
        runs,
        filters,
        backbone,
        licence=licence,
        base=base_name,
        precision=precision.value,
        weight_range=weight_range.value,
        data=check,
        pruning=Pruning(prune_vocabulary, least_count) if prune_vocabulary else None,
    )
    if as_json:
        from dataclasses import asdict

        from distilled_filters.cli.terminal import write_json

        write_json(asdict(exported) | {"folder": str(exported.folder)})
    else:
        _show(exported)


def _export_expert(
    runs: list[Path], filters: Path, backbone: str, checkpoint: str | None, licence: str, as_json: bool
) -> None:
    with training_extra():
        from distilled_filters.training.lora.export import export_expert
    if len(runs) > 1:
        raise SettingError("experts have no mean; export one run")
    written = export_expert(runs[0], filters, backbone, checkpoint or f"{backbone.split('/')[0]}_lora", licence=licence)
    if as_json:
        from dataclasses import asdict

        from distilled_filters.cli.terminal import write_json

        write_json(asdict(written) | {"folder": str(written.folder)})
        return
    typer.echo(
        f"exported: {written.folder}, {written.size / 1e6:.1f} MB; raw scores moved by {written.moved:.5f} at most on "
        f"{written.articles} golden articles. Next: distillery calibrate --data DATA --checkpoint {written.checkpoint}"
    )


def _show(exported: Exported) -> None:
    from distilled_filters.cli.terminal import grid, plain, screen

    console, parity = screen(), exported.parity
    if exported.languages:
        table = grid("language", "articles", "tokenise as before", "more tokens")
        for name, change in exported.languages.items():
            cells = (name, str(change.articles), f"{change.identical:.1%}", f"{change.growth:+.2%}")
            table.add_row(*map(plain, cells))
        console.print(table)
        console.print()
    table = grid("filter", "mean change", "largest", "tiers changed")
    for name, moved in [*parity.filters.items(), ("all", parity.scores)]:
        cells = (name, f"{moved.mean:.4f}", f"{moved.largest:.3f}", str(moved.tiers))
        table.add_row(*(plain(cell, "bold" if name == "all" else "") for cell in cells))
    console.print(table)
    console.print(
        f"raw scores, 0-10, against torch on {parity.articles} articles ({exported.articles}); embeddings' cosine "
        f"{parity.mean_cosine:.4f}, at least {parity.least_cosine:.4f}",
        style="dim",
        soft_wrap=True,
    )
    console.print(
        f"{exported.precision}, {exported.size / 1e6:.1f} MB, {exported.pieces:,} pieces; "
        f"{parity.articles_per_second:.1f} articles a second, {parity.threads} at once, on {parity.machine}",
        soft_wrap=True,
    )
    console.print(f"exported: {exported.folder}. Next: distillery calibrate --data DATA", soft_wrap=True)
