"""The merged expert: a language model that learnt for one filter, in ONNX, and a regression head at its last token."""

from __future__ import annotations

from distilled_filters.preprocess import Preprocessor, SpecialTokens
from distilled_filters.scorers.base import EXPERT, Answer, Reading, Source, Tables
from distilled_filters.scorers.head import ZeroInflatedHead, read_plain_head
from distilled_filters.scorers.onnx import Backbone, open_backbone
from distilled_filters.spec import MergedCheckpoint, MergedSpec, read_backbone_spec

__all__ = ["MODEL_KEY", "MergedScorer", "open_checkpoint"]

# The metadata entry by which a head names the model it was trained with.
MODEL_KEY = "model_sha256"


class MergedScorer:
    """An opened merged expert; it needs neither torch nor peft."""

    def __init__(self, backbone: Backbone, preprocessor: Preprocessor, head: ZeroInflatedHead, tables: Tables) -> None:
        """Keep the parts."""
        self.backbone = backbone
        self.preprocessor = preprocessor
        self.head = head
        self.tables = tables

    def __call__(self, reading: Reading) -> Answer:
        """Answer one article.

        Raises:
            RecordError: when it cannot be read, or the runtime fails on it.
        """
        window = self.preprocessor(reading.article)
        return Answer(self.head(self.backbone.embed(window.ids), 0.0), EXPERT, window.tokens, self.tables)

    def close(self) -> None:
        """The model leaves memory with its last scorer."""


def open_checkpoint(source: Source, weights: MergedCheckpoint) -> MergedScorer:
    """Open head, tables and, once a process, the model.

    Raises:
        HeadNotFoundError: when the head is missing, untrained, or made for another model.
        CheckpointError: when another file is missing, damaged, or made for other weights.
        SpecError: when the window is longer than the model reads.
    """
    files = source.files()
    spec = read_backbone_spec(source.backbone_folder(weights) / "backbone.toml", MergedSpec)
    backbone = open_backbone(source.backbone_folder(weights), weights.backbone_sha256, source.owner, MergedSpec)
    special = SpecialTokens(spec.start, spec.end if weights.window.end else None, None)
    preprocessor = Preprocessor(weights.reads(source.spec.preprocessing), backbone.tokenizer, special)
    source.check_window(preprocessor, spec)
    dimensions = len(source.spec.dimensions)
    head = read_plain_head(files[weights.head], dimensions, spec.dims, MODEL_KEY, spec.digest)
    return MergedScorer(backbone, preprocessor, head, source.tables(weights, files))
