"""The expert as a student: a decoder under an adapter, read at the last token."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from peft import LoraConfig, prepare_model_for_kbit_training
from torch import Tensor
from transformers import AutoModel

from distilled_filters.errors import SettingError
from distilled_filters.scorers.decoder import last_token, load_model, with_adapter
from distilled_filters.scorers.placement import Placement, place
from distilled_filters.spec import LensSpec
from distilled_filters.training.lora.base import LanguageModel
from distilled_filters.training.lora.recipe import ExpertRecipe
from distilled_filters.training.student import HeadedStudent

__all__ = ["ADAPTER", "Expert", "make_expert", "training_placement"]

ADAPTER = "default"


class Expert(HeadedStudent):
    """A decoder whose frozen weights are no part of its state: what is saved is what was learnt."""

    def embed(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the states of the last tokens, (batch, dims), in fp32; padding stands after them and is not seen."""
        hidden: Tensor = self.encoder(input_ids=input_ids, use_cache=False).last_hidden_state
        return last_token(hidden, attention_mask.sum(dim=1)).float()

    def state_dict(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Return what is trained, and how the head's input is standardised."""
        whole: dict[str, Any] = super().state_dict(*arguments, **options)
        return {name: tensor for name, tensor in whole.items() if name in self._learnt()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Take up what `state_dict` returned: all of it, and nothing else.

        Raises:
            RuntimeError: naming tensors that are missing or extra.
        """
        missing, extra = self._learnt() - state.keys(), state.keys() - self._learnt()
        if missing or extra:
            raise RuntimeError(f"missing {sorted(missing)[:3]}, extra {sorted(extra)[:3]}")
        result = super().load_state_dict(state, strict=False, assign=assign)
        result.missing_keys.clear()
        return result

    def _learnt(self) -> set[str]:
        return {name for name, each in self.named_parameters() if each.requires_grad} | {"center", "spread"}


def make_expert(
    recipe: ExpertRecipe, base: LanguageModel, lenses: Sequence[LensSpec], placement: Placement | None = None
) -> Expert:
    """Load a language model, with a fresh adapter and a head for every lens on it.

    `placement` is by default where and how the recipe trains: then through Unsloth, where there is one and a GPU.

    Raises:
        SettingError: when the recipe needs a GPU, or the model has no such layers.
        CheckpointError: when the model's files cannot be used.
    """
    if placement is None:
        placement = training_placement(recipe)
        if _has_unsloth(recipe, placement):
            return Expert(_by_unsloth(recipe, base, placement), lenses, recipe.regression, recipe.ranking)
    torch.manual_seed(recipe.seed)
    model: Any = load_model(base.config, base.weights, placement, base.name)
    if recipe.method == "full":
        model.get_input_embeddings().requires_grad_(False)
    else:
        if placement.precision == "4bit":
            model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
        try:
            model = with_adapter(model, _adapter_config(recipe, base), ADAPTER)
        except ValueError as error:
            raise SettingError(f"{base.name} has no layers {', '.join(recipe.targets)}: {error}") from error
    if recipe.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return Expert(model, lenses, recipe.regression, recipe.ranking)


def _has_unsloth(recipe: ExpertRecipe, placement: Placement) -> bool:
    """Tell whether Unsloth's kernels are to be had: for adapters, on an NVIDIA GPU, where it is installed."""
    on_gpu = recipe.method != "full" and placement.device.type == "cuda"
    return on_gpu and importlib.util.find_spec("unsloth") is not None


def _by_unsloth(recipe: ExpertRecipe, base: LanguageModel, placement: Placement) -> Any:
    """Load a language model's body with a fresh PEFT adapter through Unsloth: the same tensors, by faster kernels.

    Written against its documentation (https://docs.unsloth.ai); an export checks the result as any other.
    """
    unsloth = importlib.import_module("unsloth")
    tokens = recipe.head_tokens + recipe.tail_tokens + 64  # and what stands around them
    model, _ = unsloth.FastModel.from_pretrained(
        str(base.folder), auto_model=AutoModel, max_seq_length=min(tokens, base.max_tokens), dtype=placement.dtype,
        load_in_4bit=placement.precision == "4bit", trust_remote_code=False,
    )  # fmt: skip
    return unsloth.FastModel.get_peft_model(
        model, r=recipe.rank, lora_alpha=recipe.alpha, lora_dropout=recipe.dropout, bias="none",
        target_modules=list(recipe.targets), task_type="FEATURE_EXTRACTION", random_state=recipe.seed,
        use_gradient_checkpointing="unsloth" if recipe.gradient_checkpointing else False,
    )  # fmt: skip


def _adapter_config(recipe: ExpertRecipe, base: LanguageModel) -> LoraConfig:
    return LoraConfig(
        base_model_name_or_path=base.name if base.revision else base.folder.name,
        revision=base.revision,
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=list(recipe.targets),
    )


def training_placement(recipe: ExpertRecipe) -> Placement:
    """Frozen weights may be in bf16; weights that are trained stay in fp32 and are computed on in bf16."""
    if recipe.method == "qlora":
        return place(precision="4bit")
    return place(precision="bf16" if recipe.bf16 and recipe.method == "lora" else "fp32")
