"""The frozen-encoder head: what the base encoder knows of the lenses before it is fine-tuned."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tokenizers import Tokenizer
from transformers import AutoModel

from distilled_filters.preprocess import Preprocessor
from distilled_filters.spec import BackboneSpec, LensSpec
from distilled_filters.training.base import tokenizer_file
from distilled_filters.training.data import Example, true_dimensions
from distilled_filters.training.evaluate.baselines import as_article
from distilled_filters.training.evaluate.encoders import open_encoder
from distilled_filters.training.evaluate.figures import Judged, judge
from distilled_filters.training.graph import export_fp32
from distilled_filters.training.predict import embed

__all__ = ["FrozenEncoder", "frozen_head"]

FloatArray = npt.NDArray[np.float64]
Embeddings = npt.NDArray[np.float32]

# Articles a cached file: what is lost when a long run is stopped.
_CHUNK = 512


class FrozenEncoder:
    """A base encoder, exported like the shipped student, whose embeddings are kept between runs.

    Args:
        base: A Hub id or a folder.
        lens: Any of the lenses; they share their preprocessing.
        shipped: The spec of the filters' backbone.
        cache: Where the embeddings are kept.
    """

    def __init__(self, base: str, lens: LensSpec, shipped: BackboneSpec, cache: Path) -> None:
        """Load the weights."""
        self._encoder = AutoModel.from_pretrained(base, add_pooling_layer=False)
        self._tokenizer = tokenizer_file(base)
        self._lens, self._shipped, self._cache = lens, shipped, cache
        self._digest = hashlib.sha256(self._tokenizer.read_bytes() + repr(lens.preprocessing).encode())
        for parameter in self._encoder.state_dict().values():
            self._digest.update(parameter.numpy().tobytes())

    def embed(self, examples: Sequence[Example]) -> Embeddings:
        """Return the embeddings (n, dims) of articles; only what the cache lacks is worked out."""
        chunks = [examples[start : start + _CHUNK] for start in range(0, len(examples), _CHUNK)]
        files = [self._cache / f"{self._key(chunk)}.safetensors" for chunk in chunks]
        missing = [(chunk, file) for chunk, file in zip(chunks, files, strict=True) if not file.is_file()]
        if missing:
            self._cache.mkdir(parents=True, exist_ok=True)
            backbone = open_encoder(self._encoder, self._tokenizer, self._shipped, export_fp32)
            preprocessor = Preprocessor(self._lens.preprocessing, Tokenizer.from_file(str(self._tokenizer)))
            for number, (chunk, file) in enumerate(missing, start=1):
                windows = [preprocessor(as_article(example)) for example in chunk]
                part = file.with_suffix(".part")
                save_file({"embeddings": embed(backbone, windows, f"frozen encoder {number}/{len(missing)}")}, part)
                part.replace(file)
        return np.concatenate([load_file(file)["embeddings"] for file in files])

    def _key(self, examples: Sequence[Example]) -> str:
        key = self._digest.copy()
        for example in examples:
            key.update(hashlib.sha256(example.text.encode()).digest())
        return key.hexdigest()


def frozen_head(
    encoder: FrozenEncoder, training: Sequence[Example], judged: Sequence[Example], specs: Sequence[LensSpec]
) -> dict[str, Judged]:
    """Fit the student's kind of head on frozen embeddings: P(in scope) times the dimensions of articles in scope."""
    fitted, asked = encoder.embed(training), encoder.embed(judged)
    return {spec.name: judge(_zero_inflated(fitted, true_dimensions(training, spec), asked), spec) for spec in specs}


def _zero_inflated(fitted: Embeddings, labels: FloatArray, asked: Embeddings) -> FloatArray:
    scope = labels.any(axis=1)
    if scope.all() or not scope.any():
        return np.tile(labels.mean(axis=0), (len(asked), 1))
    logistic = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000)).fit(fitted, scope)
    ridge = make_pipeline(StandardScaler(), Ridge(alpha=100.0)).fit(fitted[scope], labels[scope])
    inside: FloatArray = np.clip(ridge.predict(asked), 0.0, 10.0)
    expected: FloatArray = logistic.predict_proba(asked)[:, 1:] * inside
    return expected
