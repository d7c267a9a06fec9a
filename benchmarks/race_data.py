"""What the race is run on: articles of the test split, the training articles for heads, and the truth."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from distilled_filters.filter import Filter
from distilled_filters.registry import embedded_folder, newest_folders
from distilled_filters.spec import BackboneSpec
from distilled_filters.training.data import Example, read_examples, select, true_dimensions
from distilled_filters.training.predict import averages, open_filters

if TYPE_CHECKING:
    from race_contestants import Settings

__all__ = ["prepare"]


def prepare(folder: Path, settings: Settings) -> dict[str, Any]:
    """Write filters, articles, targets and truth into `folder`; return what was found out about them."""
    source = embedded_folder()
    for name in ("shipped", "screenless"):
        copy = folder / "filters" / name
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns("backbones"))
        (copy / "backbones").symlink_to(source / "backbones", target_is_directory=True)
    for each in newest_folders(folder / "filters" / "screenless"):
        spec = each / "filter.toml"
        spec.write_text(re.sub(r"(?m)^screen_below = .*\n", "", spec.read_text("utf-8")), "utf-8")
    filters, backbone, preprocessor = open_filters(folder / "filters" / "shipped")
    examples = read_examples(Path(settings["data"]), [each.spec for each in filters], preprocessor)
    training, judged = select(examples, "train"), select(examples, "test")[: settings["articles"]]
    # Peers' heads are fitted on a draw that is the same for all: embedding articles is what fitting takes.
    drawn = np.random.default_rng(0).permutation(len(training))[: settings["training"]]
    training = [training[row] for row in drawn]
    _write(folder / "training.json", training)
    _write(folder / "articles.json", judged)
    np.save(folder / "training.npy", _averages(training, filters))
    np.save(folder / "truth.npy", _averages(judged, filters))
    (folder / "medium.json").write_text(json.dumps([each.spec.medium for each in filters]), "utf-8")
    reads = [len(example.window.ids) for example in judged]
    return {
        "lenses": [each.name for each in filters],
        "window": preprocessor.window_tokens,
        "n": len(judged),
        "training": len(training),
        "tokens": float(np.mean([example.window.tokens.total for example in judged])),
        "tokens_read": float(np.mean(reads)),
        "multiply_adds": float(np.mean([_multiply_adds(backbone.spec, tokens) for tokens in reads])),
    }


def _write(path: Path, examples: list[Example]) -> None:
    parts = [example.text.partition("\n") for example in examples]
    path.write_text(json.dumps([{"title": title, "content": body} for title, _, body in parts]), "utf-8")


def _averages(examples: list[Example], filters: list[Filter]) -> npt.NDArray[np.float64]:
    return np.stack([averages(true_dimensions(examples, each.spec), each.spec) for each in filters], axis=1)


def _multiply_adds(spec: BackboneSpec, tokens: int) -> float:
    """Return the encoder's multiply-adds for a window: its linear layers, and attention over all pairs of tokens."""
    return spec.layers * (12 * spec.dims**2 * tokens + 2 * spec.dims * tokens**2)
