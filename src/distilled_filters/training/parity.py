"""Does the exported file score as the trained student does? Both read real articles, side by side."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from distilled_filters.decision import tier_of
from distilled_filters.errors import SettingError
from distilled_filters.preprocess import Preprocessor, Window
from distilled_filters.scorers.lexical import bag_of
from distilled_filters.spec import LensSpec
from distilled_filters.threads import thread_count
from distilled_filters.training.machine import machine
from distilled_filters.training.predict import averages, embed, open_filters, raw_scores
from distilled_filters.training.references import Reference, window_of
from distilled_filters.training.student import SCALE, Student

__all__ = ["Change", "Parity", "change_of", "check_parity", "expected_scores", "tiers_changed"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Change:
    """How far raw scores move on the 0-10 scale, over all dimensions, and in how many verdicts the tier."""

    mean: float
    largest: float
    tiers: int


@dataclass(frozen=True)
class Parity:
    """What a comparison of exported filters with the torch student found.

    `scores` is over all filters, `filters` by name. Cosines are between embeddings.
    `articles_per_second` is the backbone's speed with `threads` articles at once on
    `machine`, as busy as it then was.
    """

    articles: int
    scores: Change
    filters: dict[str, Change]
    least_cosine: float
    mean_cosine: float
    articles_per_second: float
    threads: int
    machine: str


def check_parity(student: Student, whole: Preprocessor, filters: Path, references: Sequence[Reference]) -> Parity:
    """Score articles by torch and by exported filters, and compare.

    Args:
        student: In evaluation mode.
        whole: Reads articles as the student was trained: with the unpruned vocabulary.
        filters: A `filters/` folder with nothing but the exported backbone and heads.
        references: What to read; articles that either vocabulary cannot read are left out.

    Raises:
        SettingError: when no article can be read.
    """
    found, backbone, exported = open_filters(filters)
    windows = [
        (before, after)
        for before, after in ([window_of(reference, each) for each in (whole, exported)] for reference in references)
        if before is not None and after is not None
    ]
    if not windows:
        raise SettingError("none of the articles to check parity on can be read; name a data folder with --check")
    exact_embeddings, logits = _by_torch(student, [before for before, _ in windows])
    started = time.perf_counter()
    embeddings = embed(backbone, [after for _, after in windows], "onnx")
    seconds = time.perf_counter() - started
    bags = [bag_of(after.text) for _, after in windows]
    moves, changes = [], {}
    for each in found:
        exact, shipped = expected_scores(logits[:, student.rows[each.name]]), raw_scores(each, embeddings, bags)
        moves.append(np.abs(shipped - exact))
        changes[each.name] = change_of(moves[-1], tiers_changed(exact, shipped, each.spec))
    norms = np.linalg.norm(exact_embeddings, axis=1) * np.linalg.norm(embeddings, axis=1)
    cosines = (exact_embeddings * embeddings).sum(axis=1) / norms
    return Parity(
        articles=len(windows),
        scores=change_of(np.concatenate(moves, axis=1), sum(change.tiers for change in changes.values())),
        filters=changes,
        least_cosine=round(float(cosines.min()), 5),
        mean_cosine=round(float(cosines.mean()), 5),
        articles_per_second=round(len(windows) / seconds, 1),
        threads=thread_count(),
        machine=machine(),
    )


@torch.no_grad()
def _by_torch(student: Student, windows: Sequence[Window]) -> tuple[FloatArray, FloatArray]:
    """Return the student's embeddings (n, dims) and logits (n, rows)."""
    embeddings: list[FloatArray] = []
    hook = student.encoder.register_forward_hook(
        lambda _, __, output: embeddings.append(output.last_hidden_state[0].mean(dim=0).double().numpy())
    )
    logits = []
    try:
        for window in tqdm(windows, desc="torch", unit="article", disable=None):
            ids = torch.from_numpy(window.ids)[None]
            logits.append(student(ids, torch.ones_like(ids))["logits"][0].double().numpy())
    finally:
        hook.remove()
    return np.stack(embeddings), np.stack(logits)


def expected_scores(logits: FloatArray) -> FloatArray:
    """Return the expected dimensions (n, d), 0-10, of one lens's logits (n, 1 + d)."""
    scope = 1 / (1 + np.exp(-logits[:, :1]))
    dimensions: FloatArray = scope * np.clip(logits[:, 1:], 0, 1) * SCALE
    return dimensions


def tiers_changed(exact: FloatArray, shipped: FloatArray, lens: LensSpec) -> int:
    """Count the articles whose raw dimensions, (n, d) each, come to another tier."""
    before, after = ([tier_of(each, lens.tiers) for each in averages(scores, lens)] for scores in (exact, shipped))
    return sum(old != new for old, new in zip(before, after, strict=True))


def change_of(moves: FloatArray, tiers: int) -> Change:
    """Sum up how far scores moved, of any shape."""
    return Change(mean=round(float(moves.mean()), 5), largest=round(float(moves.max()), 4), tiers=tiers)
