"""From an expert's run to a model of its own in ONNX: scored without torch, checked against the run in fp32."""

from __future__ import annotations

import shutil
import tempfile
import time
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save
from tqdm import tqdm

from distilled_filters.article import Article
from distilled_filters.errors import RecordError, SettingError
from distilled_filters.files import write_bytes, write_json
from distilled_filters.filter import Filter
from distilled_filters.parallel import ordered_map
from distilled_filters.preprocess import Preprocessor, Window
from distilled_filters.registry import newest_folders
from distilled_filters.scorers.base import Reading
from distilled_filters.scorers.merged import MODEL_KEY
from distilled_filters.spec import LensSpec, MergedSpec, read_backbone_spec
from distilled_filters.threads import thread_count
from distilled_filters.training.calibrate import write_identity
from distilled_filters.training.data import read_examples, select, true_dimensions
from distilled_filters.training.evaluate.baselines import as_article
from distilled_filters.training.export import ExportRefusedError, check_name, move
from distilled_filters.training.folder import write_backbone_spec, write_checkpoint
from distilled_filters.training.lora.base import LanguageModel
from distilled_filters.training.lora.export import finished_expert, homes_of, window_fields
from distilled_filters.training.lora.graph import MergedPrecision, check_size, write_decoder
from distilled_filters.training.lora.student import Expert
from distilled_filters.training.lora.train import reader_of
from distilled_filters.training.machine import machine
from distilled_filters.training.parity import Change, change_of, expected_scores, tiers_changed
from distilled_filters.training.predict import averages
from distilled_filters.training.references import golden_articles

__all__ = ["LARGEST_LOSS", "LARGEST_MOVE", "MergedExport", "export_merged"]

LARGEST_LOSS = 0.1
"""By how much, 0-10, the mean absolute error of weighted averages may grow; without labels, how far they may move."""
LARGEST_MOVE = 0.3
"""How far weighted averages may move in the mean where the error against labels tells that nothing is lost."""

FloatArray = npt.NDArray[np.float64]

# Enough to tell a tenth of a point; the run's own model reads about an article a second on a processor.
_MOST = 200


@dataclass(frozen=True)
class MergedExport:
    """What an export wrote and measured.

    `averages` is how far weighted averages moved from the run's own model in fp32 by torch, over
    `articles` of `checked_on`; `errors` are mean absolute errors against the labels, where there are
    any, and `articles_per_second` speeds: of `torch` and of the file (`onnx`), each with all
    `threads` of `machine`, as busy as it then was.
    """

    folder: Path
    checkpoint: str
    precision: MergedPrecision
    size: int
    checked_on: str
    articles: int
    averages: Change
    errors: dict[str, float]
    articles_per_second: dict[str, float]
    threads: int
    machine: str


@dataclass(frozen=True)
class _Checks:
    """Articles to compare answers on, and their labels (n, d), where there are any."""

    name: str
    articles: Sequence[Article]
    windows: Sequence[Window]
    labels: FloatArray | None


def export_merged(
    run: Path,
    filters: Path,
    backbone: str,
    checkpoint: str,
    *,
    licence: str,
    precision: MergedPrecision = "int8",
    data: Path | None = None,
) -> MergedExport:
    """Write what an expert learnt, adapter or all weights, as a model of its own and a checkpoint of its filter.

    Everything is made and checked in a folder of its own and moved when it has passed.
    Calibration starts as the identity.

    Args:
        run: A folder that `train_expert` has finished, by any method.
        filters: The `filters/` folder.
        backbone: Name and version of the model to write, such as `gemma3_270m_uplifting/v1`.
        checkpoint: What the spec calls the checkpoint.
        licence: The language model's licence.
        precision: Of the weights.
        data: A data folder on whose validation split (200 articles at most) the answers are
            compared; the filter's golden articles by default.

    Raises:
        SettingError: when an argument cannot be used.
        ExportRefusedError: when more than `LARGEST_LOSS` or `LARGEST_MOVE` is lost; nothing is written then.
    """
    check_name(backbone)
    checkpoint = checkpoint.replace("-", "_")
    homes = homes_of(run, filters)
    if len(homes) > 1:
        raise SettingError(
            f"{run} was trained for {len(homes)} filters; only an expert of one is merged. Train it for one, or export "
            "the adapter, without --merge"
        )
    ((home, lens),) = homes
    _refuse_taken(filters, backbone, home, checkpoint)
    expert, recipe, base = finished_expert(run, [lens])
    check_size(expert.encoder, precision)
    checks = _checks(home, lens, reader_of(recipe, lens.preprocessing, base), data)
    exact, by_torch = _by_torch(expert, checks.windows)
    with tempfile.TemporaryDirectory(prefix=".export.", dir=filters.resolve().parent) as temporary:
        stage = Path(temporary)
        shared, target = stage / "backbones" / backbone, stage / home.relative_to(filters)
        folder = target / checkpoint
        for each in (shared, folder):
            each.mkdir(parents=True)
        weight, bias = expert.cpu().plain_head(lens.name)
        body = expert.encoder if recipe.method == "full" else expert.encoder.merge_and_unload()
        write_decoder(body, shared / "model.onnx", precision)
        shutil.copyfile(base.tokenizer, shared / "tokenizer.json")
        _write_spec(shared, backbone, body, base, precision, licence)
        digest = read_backbone_spec(shared / "backbone.toml", MergedSpec).digest
        del expert, body
        head = {"weight": weight.contiguous(), "bias": bias.contiguous()}
        write_bytes(folder / "head.safetensors", save(head, metadata={MODEL_KEY: digest}))
        write_identity(folder)
        shutil.copyfile(home / "filter.toml", target / "filter.toml")
        write_checkpoint(
            target,
            checkpoint,
            {"kind": "merged", "backbone": backbone, "backbone_sha256": digest, "window": window_fields(recipe)},
            **{name: folder / f"{name}.json" for name in ("calibration", "percentiles")},
            head=folder / "head.safetensors",
        )
        shipped, by_onnx = _by_onnx(Filter(target, checkpoint=checkpoint), checks.articles)
        before, after = averages(exact, lens), averages(shipped, lens)
        moved = change_of(np.abs(after - before), tiers_changed(exact, shipped, lens))
        truth = None if checks.labels is None else averages(checks.labels, lens)
        exported = MergedExport(
            folder=home / checkpoint,
            checkpoint=checkpoint,
            precision=precision,
            size=(shared / "model.onnx").stat().st_size,
            checked_on=checks.name,
            articles=len(checks.articles),
            averages=moved,
            errors={} if truth is None else {"torch": _error(before, truth), "onnx": _error(after, truth)},
            articles_per_second={"torch": by_torch, "onnx": by_onnx},
            threads=thread_count(),
            machine=machine(),
        )
        _refuse_loss(exported)
        write_json(shared / "metrics.json", {key: each for key, each in asdict(exported).items() if key != "folder"})
        move(stage, filters)
    return exported


def _refuse_taken(filters: Path, backbone: str, home: Path, checkpoint: str) -> None:
    """Refuse to write over a model that another checkpoint is built on."""
    for folder in newest_folders(filters):
        document = tomllib.loads((folder / "filter.toml").read_text(encoding="utf-8"))
        for name, entry in document.get("checkpoints", {}).items():
            if entry.get("backbone") == backbone and (folder, name) != (home, checkpoint):
                raise SettingError(
                    f"{folder.parent.name}'s checkpoint {name} is built on {backbone}; a merged model serves one "
                    f"checkpoint alone, so give it a --backbone of its own, such as {home.parent.name}_{checkpoint}/v1"
                )


def _checks(home: Path, lens: LensSpec, reader: Preprocessor, data: Path | None) -> _Checks:
    if data is not None:
        examples = select(read_examples(data, [lens], reader), "validation")
        examples = examples[:: -(-len(examples) // _MOST) or 1]
        found = _Checks(
            "validation split",
            [as_article(each) for each in examples],
            [each.window for each in examples],
            true_dimensions(examples, lens),
        )
    else:
        read = []
        for reference in golden_articles([home]):
            try:
                read.append((reference.article, reader(reference.article)))
            except RecordError:
                continue
        found = _Checks("golden articles", [article for article, _ in read], [window for _, window in read], None)
    if not found.articles:
        raise SettingError(f"no article of the {found.name} can be read; name a data folder with --check")
    return found


@torch.no_grad()
def _by_torch(expert: Expert, windows: Sequence[Window]) -> tuple[FloatArray, float]:
    """Return the run's own answers (n, d), 0-10, and how many it gave a second."""
    device, logits, started = next(expert.parameters()).device, [], time.perf_counter()
    for window in tqdm(windows, desc="torch", unit="article", disable=None):
        ids = torch.from_numpy(window.ids)[None].to(device)
        logits.append(expert(ids, torch.ones_like(ids))["logits"][0].double().cpu().numpy())
    return expected_scores(np.stack(logits)), _speed(len(windows), started)


def _by_onnx(each: Filter, articles: Sequence[Article]) -> tuple[FloatArray, float]:
    """Return the written checkpoint's answers (n, d), 0-10, and how many it gave a second."""
    scorer, started = each.scorer, time.perf_counter()
    answers = ordered_map(lambda article: scorer(Reading(article)).raw, articles, thread_count())
    rows = list(tqdm(answers, desc="onnx", total=len(articles), unit="article", disable=None))
    return np.array(rows), _speed(len(articles), started)


def _speed(articles: int, started: float) -> float:
    return round(articles / (time.perf_counter() - started), 2)


def _error(found: FloatArray, truth: FloatArray) -> float:
    return round(float(np.abs(found - truth).mean()), 4)


def _refuse_loss(exported: MergedExport) -> None:
    moved, errors = exported.averages, exported.errors
    said = (
        f"{exported.precision} moves weighted averages by {moved.mean:.3f} in the mean and {moved.largest:.2f} at most "
        f"over {exported.articles} articles"
    )
    if errors:
        said += (
            f", and their error against the labels from {errors['torch']:.3f} to {errors['onnx']:.3f}; "
            f"{LARGEST_MOVE:g} and {LARGEST_LOSS:g} more are allowed"
        )
        kept = errors["onnx"] - errors["torch"] <= LARGEST_LOSS and moved.mean <= LARGEST_MOVE
    else:
        said += f"; {LARGEST_LOSS:g} in the mean is allowed, or more where --check has labels that show no loss"
        kept = moved.mean <= LARGEST_LOSS
    if not kept:
        mend = "with --precision fp32" if exported.precision == "int8" else "without --merge"
        raise ExportRefusedError(f"{said}. Export {mend}; nothing was written")


def _write_spec(
    folder: Path, backbone: str, model: torch.nn.Module, base: LanguageModel, precision: str, licence: str
) -> None:
    config = model.config
    name, version = backbone.split("/v")
    fields = {
        "name": name, "version": int(version), "licence": licence,
        "base": base.name if base.revision else base.folder.name, "layers": config.num_hidden_layers,
        "dims": config.hidden_size, "max_tokens": base.max_tokens,
        "pooling": "last_token", "quantisation": precision, "start": base.start, "end": base.end,
    }  # fmt: skip
    write_backbone_spec(folder, {key: each for key, each in fields.items() if each is not None}, MergedSpec)
