"""Encoders that do not ship, behind the interface of those that do."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from transformers import BertModel

from distilled_filters.scorers.onnx import Backbone
from distilled_filters.spec import BackboneSpec
from distilled_filters.training.base import tokenizer_file
from distilled_filters.training.data import read_lenses
from distilled_filters.training.graph import export_fp32
from distilled_filters.training.weights import mean_student

__all__ = ["exact_student", "open_encoder"]


def open_encoder(
    encoder: BertModel, tokenizer: Path, spec: BackboneSpec, export: Callable[[BertModel, Path], None]
) -> Backbone:
    """Return an encoder as `export` writes it; `spec` is that of the backbone it is held against."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        export(encoder, model)
        return Backbone(spec, model, tokenizer)


def exact_student(runs: Sequence[Path], filters: Path, spec: BackboneSpec) -> Backbone:
    """Return the encoder of a finished training run, or of the mean of several, in fp32.

    Raises:
        SettingError: when a folder holds no finished run.
    """
    student, base = mean_student(runs, read_lenses(filters))
    return open_encoder(student.encoder, tokenizer_file(base), spec, export_fp32)
