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
    from distilled_filters.training.lora.graph import MergedPrecision

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
        typer.Option(
            help="What the filter calls an expert's checkpoint; by default its backbone's name (_lora for an adapter)."
        ),
    ] = None,
    merge: Annotated[
        bool,
        typer.Option(
            "--merge",
            help="Of an expert: a model of its own in ONNX, scored without torch; always so after --method full.",
        ),
    ] = False,
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
            help="Data folder with the validation articles to check answers on; "
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
    more than 2%. An expert's run becomes a further checkpoint of each of its filters; with --merge, for
    one filter, it is refused when the error of weighted averages grows by more than 0.1 (without labels:
    when they move so far).

    What was measured goes into the backbone's metrics.json. Calibration
    starts as the identity; `calibrate` comes next.

    [bold]Examples[/bold]

      distillery export runs/first --backbone me5_small/v1 --licence MIT --check labelled/
      distillery export runs/first --backbone me5_small/v1 --licence MIT --precision fp32
      distillery export runs/first runs/second --backbone me5_small/v1 --licence MIT
      distillery export runs/expert --backbone gemma3_270m/v1 --licence gemma
      distillery export runs/expert --merge --backbone gemma3_270m_uplifting/v1 --licence gemma --check labelled/
      distillery export runs/first --backbone me5_small/v1 --licence MIT --prune-vocabulary news.jsonl
    """
    with training_extra():
        from distilled_filters.training.export import Pruning, export
        from distilled_filters.training.record import read_run

        run = read_run(runs[0])
    if run.is_expert and len(runs) > 1:
        raise SettingError("experts have no mean; export one run")
    if merge and not run.is_expert:
        raise SettingError("--merge is for experts; an encoder has no adapter")
    if run.is_expert and (merge or run.recipe["method"] == "full"):
        _export_merged(runs[0], filters, backbone, checkpoint, licence, precision, check, as_json)
        return
    if run.is_expert:
        _export_expert(runs[0], filters, backbone, checkpoint, licence, as_json)
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
    run: Path, filters: Path, backbone: str, checkpoint: str | None, licence: str, as_json: bool
) -> None:
    with training_extra():
        from distilled_filters.training.lora.export import export_expert
    written = export_expert(run, filters, backbone, checkpoint or f"{backbone.split('/')[0]}_lora", licence=licence)
    if as_json:
        from dataclasses import asdict

        from distilled_filters.cli.terminal import write_json

        write_json(asdict(written) | {"folders": list(map(str, written.folders))})
        return
    folders = ", ".join(map(str, written.folders))
    typer.echo(
        f"exported: {folders}, {written.size / 1e6:.1f} MB; raw scores moved by {written.moved:.5f} at most on "
        f"{written.articles} golden articles. Next: distillery calibrate --data DATA --checkpoint {written.checkpoint}"
    )


def _export_merged(
    run: Path,
    filters: Path,
    backbone: str,
    checkpoint: str | None,
    licence: str,
    precision: Precision,
    check: Path | None,
    as_json: bool,
) -> None:
    with training_extra():
        from distilled_filters.training.lora.merge import export_merged
    if precision is Precision.FP16:
        raise SettingError("a merged expert is written in int8 or fp32, not fp16")
    written: MergedPrecision = "int8" if precision is Precision.INT8 else "fp32"
    name = checkpoint or backbone.split("/")[0]
    done = export_merged(run, filters, backbone, name, licence=licence, precision=written, data=check)
    if as_json:
        from dataclasses import asdict

        from distilled_filters.cli.terminal import write_json

        write_json(asdict(done) | {"folder": str(done.folder)})
        return
    speed, moved = done.articles_per_second, done.averages
    errors = f"; error against labels {done.errors['torch']:.3f}, now {done.errors['onnx']:.3f}" if done.errors else ""
    typer.echo(
        f"{done.precision}, {done.size / 1e6:.1f} MB; {speed['onnx']:.2f} articles a second, torch in fp32 "
        f"{speed['torch']:.2f}, {done.threads} threads each, on {done.machine}\n"
        f"weighted averages, 0-10, moved by {moved.mean:.4f} in the mean and {moved.largest:.3f} at most, "
        f"{moved.tiers} to another tier, on {done.articles} articles ({done.checked_on}){errors}\n"
        f"exported: {done.folder}. Next: distillery calibrate --data DATA --checkpoint {done.checkpoint}"
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
