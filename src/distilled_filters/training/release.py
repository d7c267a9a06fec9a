"""From a training run to filter folders that score: backbone, heads, and their specs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from safetensors.numpy import save_file
from safetensors.torch import load_model

from distilled_filters.registry import newest_folders
from distilled_filters.spec import read_backbone_spec
from distilled_filters.training.calibrate import write_identity
from distilled_filters.training.data import read_lenses
from distilled_filters.training.export import export_fp32, export_int8
from distilled_filters.training.folder import write_backbone_spec, write_checkpoint
from distilled_filters.training.student import Student
from distilled_filters.training.train import tokenizer_file

__all__ = ["release"]


def release(
    run: Path, filters: Path, backbone: str, *, licence: str, base: str | None = None, fp32: bool = False
) -> Path:
    """Write `backbones/<backbone>` and every filter's head from a training run.

    Calibration starts as the identity; `distillery calibrate` comes next.

    Args:
        run: A folder that `train` has finished.
        filters: The `filters/` folder.
        backbone: Its name and version, such as `me5_small/v1`.
        licence: The licence of the base encoder's weights.
        base: What the base encoder is called in specs and cards; by default as in the recipe.
        fp32: Keep fp32 weights.

    Returns:
        The backbone's folder.
    """
    recipe = json.loads((run / "recipe.json").read_text(encoding="utf-8"))["recipe"]
    lenses = read_lenses(filters)
    student = Student(recipe["base"], lenses, recipe["layers"])
    load_model(student, str(run / "student.safetensors"))
    student.eval()
    folder = filters / "backbones" / backbone
    folder.mkdir(parents=True, exist_ok=True)
    (export_fp32 if fp32 else export_int8)(student.encoder, folder / "model.onnx")
    shutil.copyfile(tokenizer_file(recipe["base"]), folder / "tokenizer.json")
    config = student.encoder.config
    name, version = backbone.split("/v")
    write_backbone_spec(
        folder,
        {
            "name": name,
            "version": int(version),
            "base": base or recipe["base"],
            "licence": licence,
            "layers": config.num_hidden_layers,
            "dims": config.hidden_size,
            "max_tokens": config.max_position_embeddings,
            "pooling": "mean",
            "quantisation": "fp32" if fp32 else "int8",
        },
    )
    for lens, home in zip(lenses, newest_folders(filters), strict=True):
        _write_head(student, lens.name, home)
        write_identity(home)
        write_checkpoint(
            home, lens.default_checkpoint, {"kind": "zero_inflated_linear", "backbone": backbone, **_digest(folder)}
        )
    return folder


def _write_head(student: Student, lens: str, home: Path) -> None:
    weight, bias = student.plain_head(lens)
    path = home / "head.safetensors"
    save_file({"weight": weight.contiguous().numpy(), "bias": bias.numpy()}, path)
    path.chmod(0o644)  # safetensors makes files that only their owner can read


def _digest(folder: Path) -> dict[str, str]:
    return {"backbone_sha256": read_backbone_spec(folder / "backbone.toml").model.sha256}
