"""From a training run to filter folders that score: backbone, heads, their specs, and proof of parity."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from distilled_filters.errors import DistilledFiltersError, SettingError
from distilled_filters.files import write_json
from distilled_filters.preprocess import Preprocessor
from distilled_filters.registry import newest_folders
from distilled_filters.spec import NAME_PATTERN, Preprocessing, read_backbone_spec, read_lens_spec
from distilled_filters.training.base import tokenizer_file
from distilled_filters.training.calibrate import write_identity
from distilled_filters.training.data import shared_preprocessing
from distilled_filters.training.folder import write_backbone_spec, write_checkpoint, write_head
from distilled_filters.training.graph import Precision, WeightRange, write_graph
from distilled_filters.training.int8 import write_int8
from distilled_filters.training.parity import Parity, check_parity
from distilled_filters.training.references import golden_articles, validation_articles, window_of
from distilled_filters.training.student import Student
from distilled_filters.training.vocabulary import TokenChange, compare_tokenizers, count_pieces, prune_tokenizer
from distilled_filters.training.weights import heads_of, mean_student

__all__ = ["BOUNDS", "MOST_GROWTH", "ExportRefusedError", "Exported", "Pruning", "check_name", "export", "move"]

BOUNDS: Mapping[Precision, float] = {"int8": 0.05, "fp16": 0.005, "fp32": 0.001}
"""The largest mean absolute change of raw scores, 0-10, with which filters are written."""
MOST_GROWTH = 0.02
"""By how much pruning may multiply the tokens of a language's articles: 0.02 is two percent."""


class ExportRefusedError(DistilledFiltersError):
    """What was exported is too far from the student; nothing was written."""


@dataclass(frozen=True)
class Pruning:
    """How to prune the vocabulary: keep the pieces that stand `least_count` times in a corpus of articles."""

    corpus: Path
    least_count: int = 1


@dataclass(frozen=True)
class Exported:
    """What an export wrote and measured.

    `pieces` is the size of the vocabulary; `languages` says what pruning did to it, by
    language, and is empty without pruning. `articles` names what parity was checked on.
    """

    folder: Path
    precision: Precision
    weight_range: WeightRange | None
    size: int
    pieces: int
    articles: str
    parity: Parity
    languages: dict[str, TokenChange]


def export(
    runs: Sequence[Path],
    filters: Path,
    backbone: str,
    *,
    licence: str,
    base: str | None = None,
    precision: Precision = "int8",
    weight_range: WeightRange = "pairs",
    data: Path | None = None,
    pruning: Pruning | None = None,
) -> Exported:
    """Write `backbones/<backbone>` and every filter's head from a training run, or from the mean of several.

    Runs that go on from one another lie in one valley of the loss, and the mean of their
    weights often generalises better than either (model soups: Wortsman et al., 2022).

    Everything is made and checked in a folder of its own and moved when it has passed.
    Calibration starts as the identity; `distillery calibrate` comes next.

    Args:
        runs: Folders that `train` has finished; filters that the first has no head for are left alone.
        filters: The `filters/` folder.
        backbone: Its name and version, such as `me5_small/v1`.
        licence: The licence of the base encoder's weights.
        base: What the base encoder is called in specs and cards; by default as in the recipe.
        precision: Of the backbone's weights, see `write_graph`.
        weight_range: Of int8 weights, see `write_graph`.
        data: A data folder whose validation split parity is checked on; the filters'
            golden articles by default.
        pruning: How to prune the vocabulary; None keeps it whole.

    Raises:
        SettingError: when an argument cannot be used.
        ExportRefusedError: when scores or tokens change by more than `BOUNDS` or
            `MOST_GROWTH` allow; nothing is written then.
    """
    check_name(backbone)
    heads = heads_of(runs[0])
    homes = [home for home in newest_folders(filters) if heads is None or home.parent.name in heads]
    lenses = [read_lens_spec(home / "filter.toml") for home in homes]
    student, base_name = mean_student(runs, lenses)
    tokenizer_path = tokenizer_file(base_name)
    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    settings = shared_preprocessing(lenses)
    whole = Preprocessor(settings, tokenizer)
    golden = golden_articles(homes)
    references = golden if data is None else validation_articles(data)
    languages: dict[str, TokenChange] = {}
    pruned = kept = None
    if pruning is not None:
        seen = _seen(tokenizer, pruning, settings)
        pruned, kept = prune_tokenizer(tokenizer_path, seen)
        languages = compare_tokenizers(tokenizer, pruned, kept, golden + (references if data else []))
        _refuse_growth(languages)
    with tempfile.TemporaryDirectory(prefix=".export.", dir=filters.resolve().parent) as name:
        stage = Path(name)
        folder = stage / "backbones" / backbone
        folder.mkdir(parents=True)
        if precision == "int8":
            windows = [window for each in golden if (window := window_of(each, whole)) is not None]
            write_int8(student.encoder, folder / "model.onnx", windows, weight_range=weight_range, pieces=kept)
        else:
            write_graph(student.encoder, folder / "model.onnx", precision, pieces=kept)
        if pruned is None:
            shutil.copyfile(tokenizer_path, folder / "tokenizer.json")
        else:
            pruned.save(str(folder / "tokenizer.json"), pretty=False)
        _write_backbone_spec(folder, backbone, student, precision, base or base_name, licence)
        digest = read_backbone_spec(folder / "backbone.toml").model.sha256
        pieces = (pruned or tokenizer).get_vocab_size()
        for lens, home in zip(lenses, homes, strict=True):
            target = stage / home.relative_to(filters)
            target.mkdir(parents=True)
            shutil.copyfile(home / "filter.toml", target / "filter.toml")
            _write_head(student, lens.name, target, pieces)
            write_identity(target)
            fields = {"kind": "zero_inflated_linear", "backbone": backbone, "backbone_sha256": digest}
            write_checkpoint(target, lens.default_checkpoint, fields)
        parity = check_parity(student, whole, stage, references)
        _refuse_change(parity, precision)
        exported = Exported(
            folder=filters / "backbones" / backbone,
            precision=precision,
            weight_range=weight_range if precision == "int8" else None,
            size=(folder / "model.onnx").stat().st_size,
            pieces=pieces,
            articles="golden articles" if data is None else "validation split",
            parity=parity,
            languages=languages,
        )
        measured = {key: value for key, value in asdict(exported).items() if key != "folder"}
        write_json(folder / "metrics.json", measured)
        move(stage, filters)
    return exported


def check_name(backbone: str) -> None:
    """Refuse what cannot name a backbone's folder.

    Raises:
        SettingError: with an example.
    """
    if not re.fullmatch(rf"{NAME_PATTERN}/v[1-9][0-9]*", backbone):
        raise SettingError(f"--backbone takes a name and a version such as me5_small/v1, not {backbone!r}")


def _seen(tokenizer: Tokenizer, pruning: Pruning, settings: Preprocessing) -> set[int]:
    """Return the pieces of a corpus, and those that every window holds."""
    counts = count_pieces(tokenizer, pruning.corpus)
    if not counts:
        raise SettingError(f"{pruning.corpus}: no article in it has text; pruning needs a corpus like what is scored")
    always = (tokenizer.encode(text, add_special_tokens=False).ids for text in (settings.prefix, settings.separator))
    return {piece for piece, count in counts.items() if count >= pruning.least_count}.union(*always)


def _write_backbone_spec(
    folder: Path, backbone: str, student: Student, precision: Precision, base: str, licence: str
) -> None:
    config: Any = student.encoder.config
    name, version = backbone.split("/v")
    write_backbone_spec(
        folder,
        {
            "name": name,
            "version": int(version),
            "base": base,
            "licence": licence,
            "layers": config.num_hidden_layers,
            "dims": config.hidden_size,
            "max_tokens": config.max_position_embeddings,
            "pooling": "mean",
            "quantisation": precision,
        },
    )


def _write_head(student: Student, lens: str, home: Path, pieces: int) -> None:
    """Write a head whose first look says nothing yet; `calibrate` fits it."""
    weight, bias = student.plain_head(lens)
    tensors = {
        "weight": weight.contiguous().numpy(),
        "bias": bias.numpy(),
        "lexical": np.zeros(pieces, dtype=np.float16),
        "blend": np.array([0.0, 1.0, 0.0], dtype=np.float32),
    }
    write_head(home, tensors)


def _refuse_growth(languages: Mapping[str, TokenChange]) -> None:
    grown = [f"{name} {change.growth:.1%}" for name, change in languages.items() if change.growth > MOST_GROWTH]
    if grown:
        raise ExportRefusedError(
            f"pruning makes articles longer by more than {MOST_GROWTH:.0%} of their tokens: {', '.join(grown)}. Give a "
            "larger corpus with these languages, or a lower --least-count; nothing was written"
        )


def _refuse_change(parity: Parity, precision: Precision) -> None:
    if not parity.scores.mean <= BOUNDS[precision]:
        raise ExportRefusedError(
            f"{precision} moves raw scores by {parity.scores.mean:.4f} in the mean and {parity.scores.largest:.2f} at "
            f"most over {parity.articles} articles; {BOUNDS[precision]:g} in the mean is allowed. Export with a higher "
            "--precision; nothing was written"
        )


def move(stage: Path, filters: Path) -> None:
    """Put the staged files in place, specs last: until they name the new digests, the old files are asked for."""
    files = sorted((path for path in stage.rglob("*") if path.is_file()), key=lambda path: path.suffix == ".toml")
    for path in files:
        target = filters / path.relative_to(stage)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)
