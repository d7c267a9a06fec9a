"""A new filter on an adapter made elsewhere: the same answers, proved beside PEFT's own, in this library's files."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoModelForSequenceClassification

from distilled_filters.errors import RecordError, SettingError
from distilled_filters.files import write_json
from distilled_filters.filter import Filter
from distilled_filters.registry import embedded_folder, newest_folders
from distilled_filters.scorers.decoder import quietly
from distilled_filters.scorers.head import ALWAYS_IN_SCOPE
from distilled_filters.scorers.lora import LoraScorer
from distilled_filters.training.calibrate import write_identity
from distilled_filters.training.export import ExportRefusedError, check_name, move
from distilled_filters.training.lora.base import LanguageModel
from distilled_filters.training.lora.export import BOUND, write_adapter, write_entry, write_language_model
from distilled_filters.training.lora.foreign import WRAPPED, ForeignAdapter
from distilled_filters.training.references import golden_articles
from distilled_filters.training.scaffold import Draft, write_filter

__all__ = ["CHECKPOINT", "Adopted", "ModelReading", "adopt", "backbone_name"]

CHECKPOINT = "lora"
"""What the checkpoint of an imported adapter is called."""

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ModelReading:
    """How articles are shown to the model: as they were when it was trained, as near as can be.

    `scale` is what outputs are multiplied by to stand on 0-10.
    """

    head_tokens: int = 380
    tail_tokens: int = 120
    scale: float = 1.0


@dataclass(frozen=True)
class Adopted:
    """What was written, and how far answers were from PEFT's own on how many articles.

    `outside` is the share of outputs under 0 or above 10, which scores cut off.
    """

    folder: Path
    source: str
    backbone: str
    articles: int
    moved: float
    outside: float


def backbone_name(base: str) -> str:
    """Return what a backbone is called by default, such as `gemma_3_270m/v1` of `google/gemma-3-270m`."""
    plain = re.sub(r"[^a-z0-9]+", "_", Path(base).name.lower()).strip("_")
    return f"{plain if plain[:1].isalpha() else f'lm_{plain}'}/v1"


def adopt(
    foreign: ForeignAdapter,
    base: LanguageModel,
    draft: Draft,
    filters: Path,
    backbone: str,
    *,
    licence: str,
    reading: ModelReading,
) -> Adopted:
    """Write a new filter's folder with the adapter as its checkpoint.

    The head becomes one without a scope of its own: P(in scope) is 1, and scores are the outputs,
    cut to 0-10. Windows end with the model's end token only where its own tokenizer puts one, and
    where it is not taken for padding: so the last token is the one that transformers reads.

    Args:
        foreign: The adapter.
        base: The language model it was trained on.
        draft: The filter to be; its dimensions are the outputs, in order, or by the labels' names.
        filters: The `filters/` folder.
        backbone: Name and version of the language model, such as `gemma_3_270m/v1`.
        licence: The language model's licence.
        reading: How articles are shown to it.

    Raises:
        SettingError: when outputs and dimensions do not go together, or the filter exists.
        CheckpointError: when the adapter does not fit the model, naming the tensors.
        ExportRefusedError: when the answers are not those of PEFT. Nothing is left of the filter then.
    """
    check_name(backbone)
    rows = _rows_of(foreign, [each.name for each in draft.dimensions])
    home = write_filter(replace(draft, checkpoint=CHECKPOINT), filters)
    try:
        with tempfile.TemporaryDirectory(prefix=".import.", dir=filters.resolve()) as temporary:
            stage = Path(temporary)
            target = stage / home.relative_to(filters)
            folder = target / CHECKPOINT
            folder.mkdir(parents=True)
            shutil.copyfile(home / "filter.toml", target / "filter.toml")
            shared = stage / "backbones" / backbone
            digest = write_language_model(base, filters / "backbones" / backbone, shared, backbone, licence)
            config = replace(foreign.config, base_model_name_or_path=base.name if base.revision else base.folder.name)
            config.revision = base.revision
            weight = torch.cat([torch.zeros_like(foreign.weight[:1]), foreign.weight[rows] * reading.scale])
            bias = torch.cat([torch.tensor([ALWAYS_IN_SCOPE]), foreign.bias[rows] * reading.scale])
            origin = {"imported_from": foreign.source, "imported_sha256": foreign.sha256}
            write_adapter(folder, foreign.layers, config, (weight, bias), origin)
            write_identity(folder)
            window = {
                "prefix": "", "head_tokens": reading.head_tokens, "tail_tokens": reading.tail_tokens,
                "end": _ends(base),
            }  # fmt: skip
            write_entry(target, CHECKPOINT, backbone, digest, window)
            windows, found = _ours(Filter(target, device="cpu", precision="fp32"))
            exact = _by_peft(foreign, base, windows)[:, rows] * reading.scale
            moved = round(float(np.abs(found - exact).max()), 6)
            if not moved <= BOUND:
                raise ExportRefusedError(
                    f"{foreign.source}: answers are {moved:.4f} off those that PEFT gives, {BOUND:g} is allowed; "
                    "nothing was written"
                )
            move(stage, filters)
    except BaseException:
        shutil.rmtree(home.parent)
        raise
    outside = float(((exact < 0) | (exact > 10)).mean())
    return Adopted(home, foreign.source, backbone, len(windows), moved, round(outside, 3))


def _rows_of(foreign: ForeignAdapter, dimensions: Sequence[str]) -> list[int]:
    """Return which output is which dimension: by name where the adapter's config names them, else in order."""
    outputs = len(foreign.weight)
    if outputs != len(dimensions):
        raise SettingError(
            f"{foreign.source} has {outputs} outputs, the filter {len(dimensions)} dimensions; name one a output"
        )
    if not foreign.labels:
        return list(range(outputs))
    if sorted(foreign.labels) != sorted(dimensions):
        raise SettingError(
            f"{foreign.source} calls its outputs {', '.join(foreign.labels)}; the dimensions are "
            f"{', '.join(dimensions)}"
        )
    return [foreign.labels.index(name) for name in dimensions]


def _ends(base: LanguageModel) -> bool:
    tokenizer = Tokenizer.from_file(str(base.tokenizer))
    return base.pad != base.end and tokenizer.encode("a").ids[-1] == tokenizer.token_to_id(base.end)


def _ours(written: Filter) -> tuple[list[npt.NDArray[np.int64]], FloatArray]:
    """Return windows of example articles, and the written head's outputs (n, d) before they are cut to 0-10."""
    scorer = written.scorer
    assert isinstance(scorer, LoraScorer)
    try:
        windows = []
        for reference in golden_articles(newest_folders(embedded_folder())[:1]):
            try:
                windows.append(scorer.preprocessor(reference.article).ids)
            except RecordError:
                continue
        if not windows:
            raise SettingError("none of the library's example articles can be read by this model's tokenizer")
        states = torch.from_numpy(scorer.decoder.answers(scorer.adapter, windows))
    finally:
        written.unload()
    head = load_file(written.folder / CHECKPOINT / "head.safetensors")
    outputs: FloatArray = (states @ head["weight"][1:].T + head["bias"][1:]).numpy()
    return windows, outputs


@torch.no_grad()
@quietly()
def _by_peft(foreign: ForeignAdapter, base: LanguageModel, windows: Sequence[npt.NDArray[np.int64]]) -> FloatArray:
    """Return what transformers and PEFT answer, (n, outputs), with the adapter in the layout they read today."""
    outputs, dims = foreign.weight.shape
    model = AutoModelForSequenceClassification.from_pretrained(
        base.folder, num_labels=outputs, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
    )
    model.score = nn.Linear(dims, outputs)
    # One window at a time has no padding; an end token that is also the pad token would be taken for it.
    model.config.pad_token_id = None
    with tempfile.TemporaryDirectory() as folder:
        tensors = {key.replace(WRAPPED, f"{WRAPPED}{foreign.body}.", 1): each for key, each in foreign.layers.items()}
        tensors |= {f"{WRAPPED}score.weight": foreign.weight, f"{WRAPPED}score.bias": foreign.bias}
        save_file(
            {key: each.float().contiguous() for key, each in tensors.items()}, Path(folder, "adapter_model.safetensors")
        )
        config = {**foreign.config.to_dict(), "task_type": "SEQ_CLS", "modules_to_save": ["score"]}
        write_json(Path(folder, "adapter_config.json"), {
            key: sorted(each) if isinstance(each, set) else each for key, each in config.items()
        })  # fmt: skip
        whole = PeftModel.from_pretrained(model, folder).eval()
    rows = [whole(input_ids=torch.from_numpy(ids)[None]).logits[0] for ids in windows]
    answers: FloatArray = torch.stack(rows).numpy()
    return answers
