"""From an expert's run to a checkpoint of each of its filters: adapter, head, and a spec that names them."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import tomlkit
import torch
from peft import LoraConfig
from safetensors.torch import save
from torch import Tensor

from distilled_filters.checkpoints import sha256_of
from distilled_filters.errors import RecordError, SettingError
from distilled_filters.files import write_bytes, write_json, write_text
from distilled_filters.filter import Filter
from distilled_filters.registry import newest_folders
from distilled_filters.scorers.base import Reading
from distilled_filters.scorers.decoder import adapter_tensors
from distilled_filters.scorers.lora import ADAPTER_KEY
from distilled_filters.scorers.placement import place
from distilled_filters.spec import DecoderSpec, LensSpec, read_backbone_spec, read_lens_spec
from distilled_filters.training.calibrate import write_identity
from distilled_filters.training.export import ExportRefusedError, check_name, move
from distilled_filters.training.folder import file_ref, write_checkpoint
from distilled_filters.training.lora.base import LanguageModel, find_language_model
from distilled_filters.training.lora.recipe import ExpertRecipe
from distilled_filters.training.lora.student import ADAPTER, Expert, make_expert, training_placement
from distilled_filters.training.lora.train import reader_of
from distilled_filters.training.record import read_run
from distilled_filters.training.references import golden_articles
from distilled_filters.training.student import SCALE
from distilled_filters.training.weights import learnt

__all__ = [
    "BOUND",
    "ExportedExpert",
    "export_expert",
    "finished_expert",
    "homes_of",
    "window_fields",
    "write_adapter",
    "write_entry",
    "write_language_model",
]

BOUND = 0.001
"""The largest change of a raw score, 0-10, between the trained expert in fp32 and its files."""


@dataclass(frozen=True)
class ExportedExpert:
    """What an export wrote: a folder for each filter, their size in bytes, and how far scores moved at most."""

    folders: tuple[Path, ...]
    checkpoint: str
    size: int
    articles: int
    moved: float


def finished_expert(
    run: Path, lenses: Sequence[LensSpec], *, as_trained: bool = False
) -> tuple[Expert, ExpertRecipe, LanguageModel]:
    """Return a finished run's expert with the heads of some lenses, ready to answer, its recipe and language model.

    It answers in fp32, or in the precision it was trained in.

    Raises:
        SettingError: when the run has no such heads, other dimensions, or its language model has changed.
    """
    found = read_run(run)
    weights = learnt(found, lenses)
    recipe = ExpertRecipe.model_validate(found.recipe, strict=False)
    base = find_language_model(recipe.base, recipe.revision)
    recorded = json.loads((run / "recipe.json").read_text(encoding="utf-8"))["data"]["sha256"]
    for path in (base.config, base.tokenizer, *base.weights):
        if recorded.get(f"base/{path.name}") != sha256_of(path):
            raise SettingError(f"{path} is not the file that {run} was trained on")
    expert = make_expert(recipe, base, lenses, training_placement(recipe) if as_trained else place(None, "fp32"))
    try:
        expert.load_state_dict(weights)
    except RuntimeError as error:
        raise SettingError(f"the weights in {run} are not those of its recipe: {error}") from error
    return expert.eval(), recipe, base


def export_expert(run: Path, filters: Path, backbone: str, checkpoint: str, *, licence: str) -> ExportedExpert:
    """Write an expert as a checkpoint of each filter it was trained for, beside those they have.

    The adapter is a plain PEFT adapter on the model's body, the head a file that names it by
    digest. Filters that learnt one adapter together get a copy each; a panel of them runs the model
    once an article. A language model from the Hub is named by commit and digests; one from a folder
    is put into `backbones/<backbone>`. Calibration starts as the identity.

    Args:
        run: A folder that `train_expert` has finished.
        filters: The `filters/` folder.
        backbone: Name and version of the language model, such as `gemma3_270m/v1`.
        checkpoint: What the specs call the checkpoint, such as `gemma3_270m_lora`.
        licence: The language model's licence.

    Raises:
        SettingError: when an argument cannot be used.
        ExportRefusedError: when the files do not score as the trained expert; nothing is written then.
    """
    check_name(backbone)
    checkpoint = checkpoint.replace("-", "_")
    homes = homes_of(run, filters)
    expert, recipe, base = finished_expert(run, [lens for _, lens in homes])
    if recipe.method == "full":
        raise SettingError(f"{run} trained every weight; there is no adapter to export. Add --merge")
    with tempfile.TemporaryDirectory(prefix=".export.", dir=filters.resolve().parent) as temporary:
        stage = Path(temporary)
        shared = stage / "backbones" / backbone
        digest = write_language_model(base, filters / "backbones" / backbone, shared, backbone, licence)
        written = [
            _write_for(expert, recipe, home, lens, stage / home.relative_to(filters) / checkpoint, backbone, digest)
            for home, lens in homes
        ]
        checked = [
            _moved(expert, recipe, base, Filter(folder.parent, checkpoint=checkpoint, precision="fp32"))
            for folder in written
        ]
        moved = max(each for _, each in checked)
        if not moved <= BOUND:
            raise ExportRefusedError(
                f"the files answer {moved:.4f} off the trained expert, {BOUND:g} is allowed; nothing was written"
            )
        size = sum(path.stat().st_size for folder in written for path in folder.iterdir())
        for folder in written:
            (folder.parent / "golden.jsonl").unlink(missing_ok=True)
        move(stage, filters)
    folders = tuple(home / checkpoint for home, _ in homes)
    return ExportedExpert(folders, checkpoint, size, sum(articles for articles, _ in checked), moved)


def _write_for(
    expert: Expert, recipe: ExpertRecipe, home: Path, lens: LensSpec, folder: Path, backbone: str, digest: str
) -> Path:
    """Write one filter's adapter, head and tables into `folder`, and its spec beside it; return the folder."""
    folder.mkdir(parents=True)
    for file in ("filter.toml", "golden.jsonl"):
        if (home / file).is_file():
            shutil.copyfile(home / file, folder.parent / file)
    write_adapter(
        folder,
        adapter_tensors(expert.encoder, ADAPTER),
        expert.encoder.peft_config[ADAPTER],
        expert.plain_head(lens.name),
    )
    write_identity(folder)
    write_entry(folder.parent, folder.name, backbone, digest, window_fields(recipe))
    return folder


def homes_of(run: Path, filters: Path) -> list[tuple[Path, LensSpec]]:
    """Return the folders of the filters that an expert was trained for, and their lenses.

    Raises:
        SettingError: when one of them is no filter there.
    """
    homes = {home.parent.name: home for home in newest_folders(filters)}
    names = read_run(run).lenses or ()
    for name in names:
        if name not in homes:
            raise SettingError(f"{run} was trained for {name}, which is no filter under {filters}")
    return [(homes[name], read_lens_spec(homes[name] / "filter.toml")) for name in names]


def window_fields(recipe: ExpertRecipe) -> dict[str, str | int]:
    """Return what a spec says of an expert's window."""
    return {"prefix": recipe.prefix, "head_tokens": recipe.head_tokens, "tail_tokens": recipe.tail_tokens}


def write_entry(home: Path, checkpoint: str, backbone: str, digest: str, window: Mapping[str, Any]) -> None:
    """Put a LoRA checkpoint, whose files lie in the folder of its name, into a filter's spec."""
    folder = home / checkpoint
    write_checkpoint(
        home,
        checkpoint,
        {"kind": "lora", "backbone": backbone, "backbone_sha256": digest, "window": window},
        adapter=folder / "adapter_model.safetensors",
        adapter_config=folder / "adapter_config.json",
        head=folder / "head.safetensors",
        calibration=folder / "calibration.json",
        percentiles=folder / "percentiles.json",
    )


def write_language_model(base: LanguageModel, there: Path, stage: Path, backbone: str, licence: str) -> str:
    """Write a model's spec into `stage`, and its files where they are on no Hub; return its digest.

    Raises:
        SettingError: when another model lies where it is to go, `there`.
    """
    name, version = backbone.split("/v")
    refs = {path: file_ref(path) for path in (base.config, base.tokenizer, *base.weights)}
    document = {
        "kind": "decoder", "name": name, "version": int(version), "base": base.name if base.revision else name,
        "licence": licence, "max_tokens": base.max_tokens, "start": base.start, "end": base.end, "pad": base.pad,
        "config": refs[base.config].model_dump(), "tokenizer": refs[base.tokenizer].model_dump(),
        "weights": [refs[path].model_dump() for path in base.weights],
        "hub": base.revision and {"repo": base.name, "revision": base.revision},
    }  # fmt: skip
    stage.mkdir(parents=True)
    text = tomlkit.dumps({key: value for key, value in document.items() if value is not None})
    write_text(stage / "backbone.toml", text)
    spec = read_backbone_spec(stage / "backbone.toml", DecoderSpec)
    if (there / "backbone.toml").is_file():
        earlier = read_backbone_spec(there / "backbone.toml", DecoderSpec)
        if earlier.files != spec.files:
            raise SettingError(f"{there} is another language model; give this one another --backbone")
    if base.revision is None:
        for path in refs:
            _link(path, stage / path.name)
    return spec.digest


def _link(source: Path, target: Path) -> None:
    """Give a large file a second name, or copy it where the file system has no such thing."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def write_adapter(
    folder: Path,
    tensors: Mapping[str, Tensor],
    config: LoraConfig,
    head: tuple[Tensor, Tensor],
    metadata: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write an adapter, its config, and the head (weight and bias) that names it by digest, with more metadata."""
    adapter = folder / "adapter_model.safetensors"
    write_bytes(adapter, save({name: tensor.float().cpu().contiguous() for name, tensor in tensors.items()}))
    fields = {key: sorted(value) if isinstance(value, set) else value for key, value in config.to_dict().items()}
    write_json(folder / "adapter_config.json", {**fields, "inference_mode": True})
    rows = {name: tensor.cpu().contiguous() for name, tensor in zip(("weight", "bias"), head, strict=True)}
    write_bytes(folder / "head.safetensors", save(rows, metadata={**metadata, ADAPTER_KEY: sha256_of(adapter)}))


@torch.no_grad()
def _moved(expert: Expert, recipe: ExpertRecipe, base: LanguageModel, written: Filter) -> tuple[int, float]:
    """Return on how many golden articles the files were held against the expert, and their largest distance."""
    read, scorer = reader_of(recipe, written.spec.preprocessing, base), written.scorer
    device, distances = next(expert.parameters()).device, []
    for reference in golden_articles([written.folder]):
        try:
            window = read(reference.article)
        except RecordError:
            continue
        ids = torch.from_numpy(window.ids)[None].to(device)
        logits = expert(ids, torch.ones_like(ids))["logits"][0, expert.rows[written.name]].double().cpu().numpy()
        exact = np.clip(logits[1:], 0, 1) * SCALE / (1 + np.exp(-logits[0]))
        answer = scorer(Reading(reference.article))
        distances.append(float(np.abs(exact - np.array(answer.raw)).max()))
    written.unload()
    if not distances:
        raise SettingError(f"{written.folder} has no golden articles that an export could be checked on")
    return len(distances), round(max(distances), 6)
