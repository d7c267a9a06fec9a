"""Encoders that do not ship, behind the interface of those that do."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_model
from transformers import BertModel

from distilled_filters.errors import SettingError
from distilled_filters.scorers.onnx import Backbone
from distilled_filters.spec import BackboneSpec
from distilled_filters.training.data import read_lenses
from distilled_filters.training.graph import export_fp32
from distilled_filters.training.student import Student
from distilled_filters.training.train import tokenizer_file

__all__ = ["exact_student", "open_encoder"]


def open_encoder(
    encoder: BertModel, tokenizer: Path, spec: BackboneSpec, export: Callable[[BertModel, Path], None]
) -> Backbone:
    """Return an encoder as `export` writes it; `spec` is that of the backbone it is held against."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        export(encoder, model)
        return Backbone(spec, model, tokenizer)


def exact_student(run: Path, filters: Path, spec: BackboneSpec) -> Backbone:
    """Return the encoder of a finished training run in fp32.

    Raises:
        SettingError: when the folder holds no finished run.
    """
    if not (run / "recipe.json").is_file():
        raise SettingError(f"{run} holds no recipe.json; --run takes a folder that `distillery train` has finished")
    recipe = json.loads((run / "recipe.json").read_text(encoding="utf-8"))["recipe"]
    student = Student(recipe["base"], read_lenses(filters), recipe["layers"])
    load_model(student, str(run / "student.safetensors"))
    return open_encoder(student.eval().encoder, tokenizer_file(recipe["base"]), spec, export_fp32)
