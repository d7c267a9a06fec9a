"""The encoder student: a shared encoder's embedding, a filter's linear head, and a first look that may end early."""

from __future__ import annotations

from distilled_filters.preprocess import Preprocessor, Window
from distilled_filters.result import TokenUse
from distilled_filters.scorers.base import SCREEN, STUDENT, Answer, Reading, Source, Tables
from distilled_filters.scorers.head import ZeroInflatedHead
from distilled_filters.scorers.lexical import Bag, bag_of
from distilled_filters.scorers.onnx import Backbone, open_backbone
from distilled_filters.spec import LinearCheckpoint

__all__ = ["LinearScorer", "open_checkpoint"]


class LinearScorer:
    """An opened student. Those that read alike share one window and one pass of the encoder."""

    def __init__(
        self,
        backbone: Backbone,
        preprocessor: Preprocessor,
        head: ZeroInflatedHead,
        tables: Tables,
        screen_below: float | None,
    ) -> None:
        """Keep the parts."""
        self.backbone = backbone
        self.preprocessor = preprocessor
        self.head = head
        self.tables = tables
        self._screen_below = screen_below
        self._nothing = [0.0] * head.dimensions
        self._read_by = (preprocessor.settings, backbone.spec.digest)

    def first_look(self, bag: Bag) -> float | None:
        """Return how much an article's words speak for its scope; None where they end the matter."""
        look, below = self.head.first_look(bag), self._screen_below
        return None if below is not None and look < below else look

    def __call__(self, reading: Reading) -> Answer:
        """Answer one article; whether it ends early never depends on who asks along (AC6).

        Raises:
            RecordError: when it cannot be read, or the runtime fails on it.
        """
        window, bag = reading.once((self._read_by, "window"), lambda: self._read(reading))
        look = self.first_look(bag)
        if look is None:
            whole = TokenUse(total=window.tokens.total, read=window.tokens.total, truncated=False)
            return Answer(self._nothing, SCREEN, whole, self.tables)
        embedding = reading.once((self._read_by, "embedding"), lambda: self.backbone.embed(window.ids))
        return Answer(self.head(embedding, look), STUDENT, window.tokens, self.tables)

    def close(self) -> None:
        """The encoder stays open: it is small, and other filters share it."""

    def _read(self, reading: Reading) -> tuple[Window, Bag]:
        window = self.preprocessor(reading.article)
        return window, bag_of(window.text)


def open_checkpoint(source: Source, weights: LinearCheckpoint) -> LinearScorer:
    """Open head, tables and, once a process, the encoder.

    Raises:
        CheckpointError: when a file is missing, damaged, or made for other weights.
        SpecError: when the window is longer than the encoder reads.
    """
    files = source.files()
    backbone = open_backbone(source.backbone_folder(weights), weights.backbone_sha256, source.owner)
    preprocessor = Preprocessor(weights.reads(source.spec.preprocessing), backbone.tokenizer)
    source.check_window(preprocessor, backbone.spec)
    return LinearScorer(
        backbone,
        preprocessor,
        ZeroInflatedHead.read(
            files[weights.head],
            dimensions=len(source.spec.dimensions),
            dims=backbone.spec.dims,
            vocabulary=backbone.tokenizer.get_vocab_size(),
        ),
        source.tables(weights, files),
        weights.screen_below,
    )
