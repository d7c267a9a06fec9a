"""A model in ONNX Runtime on a CPU: token ids in, one embedding out; most often the encoder that filters share.

A session has one thread and reads one article a call. So nobody pays for padding, no
article influences its neighbours (int8 activations are scaled per call, AC6), scores do
not depend on the number of threads, and a forked child can go on with its parent's
session. Parallelism is across articles.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import MutableMapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

# From 1.29 on the runtime reports sessions to its maker unless it is told not to before
# it is loaded; this library makes no network call that nobody asked for (AC1).
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime
from tokenizers import Tokenizer

from distilled_filters import checkpoints
from distilled_filters.errors import CheckpointError, RecordError
from distilled_filters.preprocess import open_tokenizer
from distilled_filters.scorers.forks import fork_gate
from distilled_filters.spec import BackboneSpec, read_backbone_spec
from distilled_filters.status import Status

__all__ = ["Backbone", "open_backbone"]

# Encoders stay: they are small, and the next filter wants them. A model of one filter goes with it.
_open: dict[str, Backbone] = {}
_own: weakref.WeakValueDictionary[str, Backbone] = weakref.WeakValueDictionary()


class Backbone:
    """An open model with its tokenizer; share it through `open_backbone`."""

    def __init__(self, spec: BackboneSpec, model: Path, tokenizer: Path) -> None:
        """Open checked files.

        Raises:
            CheckpointError: when a runtime cannot read its file.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # One memory plan a length would grow with every new length (AC13).
        options.enable_mem_pattern = False
        # The file is computed as it was written: what a later release of the runtime would
        # fuse can neither move scores nor slow them down.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        try:
            self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
            reads_last = spec.pooling == "last_token"
            self.tokenizer = open_tokenizer(tokenizer) if reads_last else Tokenizer.from_file(str(tokenizer))
        except Exception as error:  # both runtimes raise bare exception types of their own
            raise CheckpointError(f"backbone {spec.name}/v{spec.version} does not open: {error}") from error
        self.spec = spec

    def embed(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return the embedding (dims,) of one window of token ids (n,).

        Raises:
            RecordError: with `Status.ERROR` when the runtime fails, as when memory is short.
        """
        try:
            with fork_gate:
                embedding: npt.NDArray[np.float32] = self._session.run(None, {"input_ids": ids[np.newaxis]})[0][0]
        except Exception as error:
            raise RecordError(Status.ERROR, f"the backbone failed on {len(ids)} tokens: {error}") from error
        return embedding


def open_backbone(folder: Path, model_sha256: str, owner: str, kind: type[BackboneSpec] = BackboneSpec) -> Backbone:
    """Return the process's one open backbone with this digest (AC14), checking its files first.

    Args:
        folder: Where its `backbone.toml` lies.
        model_sha256: The weights that the filter was trained on.
        owner: The filter that asks, for messages.
        kind: What its spec must be.

    Raises:
        CheckpointError: when the folder holds other weights than the filter was trained on,
            or its files are missing, damaged or unreadable.
    """
    with fork_gate.opening:
        known: MutableMapping[str, Backbone] = _open if kind is BackboneSpec else _own
        found = known.get(model_sha256)
        if found is None:
            spec = read_backbone_spec(folder / "backbone.toml", kind)
            name = f"backbone {spec.name}/v{spec.version}"
            if spec.model.sha256 != model_sha256:
                raise CheckpointError(
                    f"{name} in {folder} has weights {spec.model.sha256[:12]}..., the filter was trained on "
                    f"{model_sha256[:12]}...; install the filter and its backbone from one release"
                )
            model, tokenizer = (checkpoints.locate(ref, folder, spec.hub, owner) for ref in spec.files)
            found = known[model_sha256] = Backbone(spec, model, tokenizer)
        return found
