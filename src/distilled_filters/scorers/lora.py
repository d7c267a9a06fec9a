"""The LoRA expert: a language model under a filter's adapter, and a regression head at its last token."""

from __future__ import annotations

from distilled_filters.errors import DistilledFiltersError
from distilled_filters.preprocess import Preprocessor, SpecialTokens
from distilled_filters.scorers.base import EXPERT, Answer, Reading, Source, Tables
from distilled_filters.scorers.head import ZeroInflatedHead, read_plain_head
from distilled_filters.spec import LoraCheckpoint

try:
    from distilled_filters.scorers.decoder import Decoder, open_adapter, release_adapter
    from distilled_filters.scorers.placement import place
except ModuleNotFoundError as missing:
    raise DistilledFiltersError(
        f"LoRA checkpoints need {missing.name}; install it with: pip install 'distilled-filters[lora]'"
    ) from missing

__all__ = ["ADAPTER_KEY", "LoraScorer", "open_checkpoint"]

# The metadata entry by which a head names the adapter it was trained with.
ADAPTER_KEY = "adapter_sha256"


class LoraScorer:
    """An opened expert; those on one language model share its weights."""

    def __init__(
        self, decoder: Decoder, adapter: str, preprocessor: Preprocessor, head: ZeroInflatedHead, tables: Tables
    ) -> None:
        """Keep the parts; `adapter` is the name under which the decoder knows the adapter."""
        self.decoder = decoder
        self.adapter = adapter
        self.preprocessor = preprocessor
        self.head = head
        self.tables = tables
        self._read_by = (preprocessor.settings, preprocessor.special, decoder.spec.digest, "window")

    def __call__(self, reading: Reading) -> Answer:
        """Answer one article.

        Raises:
            RecordError: when it cannot be read, or the runtime fails on it.
        """
        window = reading.once(self._read_by, lambda: self.preprocessor(reading.article))
        # Filters that learnt one adapter together share its answer.
        ran = (self.decoder, self.adapter, self._read_by)
        (embedding,) = reading.once(ran, lambda: self.decoder.answers(self.adapter, [window.ids]))
        return Answer(self.head(embedding, 0.0), EXPERT, window.tokens, self.tables)

    def close(self) -> None:
        """Take the adapter off the language model, which leaves memory with its last one."""
        release_adapter(self.decoder, self.adapter)


def open_checkpoint(source: Source, weights: LoraCheckpoint) -> LoraScorer:
    """Open head, tables, adapter and, once a process, the language model.

    Raises:
        HeadNotFoundError: when the head is missing, untrained, or made for another adapter.
        CheckpointError: when another file is missing, damaged, or made for other weights.
        SpecError: when the window is longer than the model reads.
        SettingError: when device or precision cannot be had.
    """
    files = source.files()
    placement = place(source.device, source.precision)
    decoder = open_adapter(
        source.backbone_folder(weights),
        weights.backbone_sha256,
        source.owner,
        placement,
        weights.adapter.sha256,
        files[weights.adapter_config],
        files[weights.adapter],
    )
    try:
        special = SpecialTokens(decoder.spec.start, decoder.spec.end if weights.window.end else None, None)
        preprocessor = Preprocessor(weights.reads(source.spec.preprocessing), decoder.tokenizer, special)
        source.check_window(preprocessor, decoder.spec)
        dimensions = len(source.spec.dimensions)
        head = read_plain_head(files[weights.head], dimensions, decoder.dims, ADAPTER_KEY, weights.adapter.sha256)
        return LoraScorer(decoder, weights.adapter.sha256, preprocessor, head, source.tables(weights, files))
    except BaseException:
        release_adapter(decoder, weights.adapter.sha256)
        raise
