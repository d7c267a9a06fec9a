"""Who takes part in the race: each fits its heads once, then scores articles by all lenses."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypedDict

import numpy as np
import numpy.typing as npt

__all__ = ["CONTESTANTS", "Contestant", "Racer", "Settings", "Text"]

FloatArray = npt.NDArray[np.float64]


class Text(TypedDict):
    """An article as the data has it."""

    title: str
    content: str


class Settings(TypedDict):
    """What every contestant is told."""

    threads: int
    encoder: str
    data: str
    articles: int | None
    training: int
    cache: str
    window: int
    lenses: list[str]


class Racer(Protocol):
    """Scores articles (n) by all lenses: (n, lenses), larger for more of it; None where it has no labels to go by."""

    def __call__(self, texts: Sequence[Text]) -> FloatArray | None:
        """Score."""


@dataclass(frozen=True)
class Contestant:
    """Who takes part.

    `needs` are the distributions without which it is left out; `whole` reads whole articles, where
    the others read as many tokens as the filters; `articles` is how many it is given a round, all
    by default; `each_lens` needs a model a lens, of which one is run and multiplied.
    """

    key: str
    label: str
    make: Callable[[Settings, Path], Racer]
    needs: tuple[str, ...] = ()
    whole: bool = False
    articles: int | None = None
    each_lens: bool = False


class _Library:
    """All filters, or one, over the threads of this process."""

    def __init__(self, settings: Settings, folder: Path, names: Sequence[str] = (), screens: bool = True) -> None:
        from distilled_filters.filter import Filter
        from distilled_filters.panel import Panel
        from distilled_filters.registry import newest_folders

        copies = newest_folders(folder / "filters" / ("shipped" if screens else "screenless"))
        filters = [Filter(each, threads=settings["threads"]) for each in copies]
        self._lenses = settings["lenses"]
        self._panel = Panel([each for each in filters if not names or each.name in names]).load()

    def __call__(self, texts: Sequence[Text]) -> FloatArray:
        rows = self._panel.score_batch(texts)
        averages = [[_average(row.get(name)) for name in self._lenses] for row in rows]
        return np.array(averages).reshape(len(texts), len(self._lenses))


def _average(score: Any) -> float:
    """Return a score's weighted average; an article that cannot be scored is worth nothing."""
    return (score and score.weighted_average) or 0.0


class _Processes:
    """All filters in one process a core, each with one thread."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._count, self._lenses = settings["threads"], len(settings["lenses"])
        alone = Settings({**settings, "threads": 1})
        self._pool = ProcessPoolExecutor(self._count, initializer=_start, initargs=(alone, folder))
        list(self._pool.map(_share, [[Text(title="", content="warm up")]] * self._count))

    def __call__(self, texts: Sequence[Text]) -> FloatArray:
        shares = [texts[start :: self._count] for start in range(self._count)]
        scores = np.zeros((len(texts), self._lenses))
        for start, part in enumerate(self._pool.map(_share, shares)):
            scores[start :: self._count] = part
        return scores


_in_process: dict[str, _Library] = {}


def _start(settings: Settings, folder: Path) -> None:
    _in_process["panel"] = _Library(settings, folder)


def _share(texts: Sequence[Text]) -> FloatArray:
    return _in_process["panel"](texts)


class _Heads:
    """Ridge regression of every lens's weighted average on embeddings, fitted on the training articles once.

    Contestants that run one encoder share its heads: they differ in how they compute, not in what.
    """

    def __init__(
        self, embed: Callable[[Sequence[str]], FloatArray], settings: Settings, folder: Path, name: str
    ) -> None:
        from sklearn.linear_model import RidgeCV

        self._embed = embed
        cache = Path(settings["cache"]) / f"{name}-{settings['training']}.npz"
        if not cache.is_file():
            texts, targets = _training(folder)
            fitted = RidgeCV(alphas=np.logspace(-3, 3, 13)).fit(self._embed(texts), targets)
            _save(cache, weight=fitted.coef_.T, bias=fitted.intercept_)
        with np.load(cache) as kept:
            self._weight, self._bias = kept["weight"], kept["bias"]

    def __call__(self, texts: Sequence[Text]) -> FloatArray:
        scores: FloatArray = self._embed(_joined(texts)) @ self._weight + self._bias
        return scores


def _sentence_transformers(settings: Settings, folder: Path) -> Racer:
    import torch

    torch.set_num_threads(settings["threads"])
    model = _encoder(settings)
    return _Heads(
        lambda texts: np.asarray(model.encode(texts, batch_size=16), np.float64), settings, folder, "st_torch"
    )


def _encoder(settings: Settings) -> Any:
    from sentence_transformers import SentenceTransformer, models

    encoder = models.Transformer(settings["encoder"], max_seq_length=settings["window"])
    pooling = models.Pooling(encoder.get_word_embedding_dimension(), "mean")
    return SentenceTransformer(modules=[encoder, pooling, models.Normalize()], device="cpu")


def _sentence_transformers_int8(settings: Settings, folder: Path) -> Racer:
    from sentence_transformers import SentenceTransformer

    exported = _onnx_folder(settings)
    runtime = {"provider": "CPUExecutionProvider", "file_name": _QUANTISED, "session_options": _options(settings)}
    model = SentenceTransformer(str(exported), device="cpu", backend="onnx", model_kwargs=runtime)
    model.max_seq_length = settings["window"]

    def embed(texts: Sequence[str]) -> FloatArray:
        return np.asarray(model.encode(texts, batch_size=1), np.float64)

    return _Heads(embed, settings, folder, "encoder")


_QUANTISED = "onnx/model_qint8_avx512_vnni.onnx"


def _onnx_folder(settings: Settings) -> Path:
    """Return sentence-transformers' own int8 export of the encoder."""

    def export(target: Path) -> None:
        from sentence_transformers import SentenceTransformer, export_dynamic_quantized_onnx_model

        _encoder(settings).save(str(target))
        model = SentenceTransformer(str(target), device="cpu", backend="onnx", model_kwargs={"export": True})
        model.save_pretrained(str(target))
        export_dynamic_quantized_onnx_model(model, "avx512_vnni", str(target))

    return _once(Path(settings["cache"]) / "encoder_onnx", export)


def _once(target: Path, make: Callable[[Path], None]) -> Path:
    """Return a folder that is made the first time, and stands there whole or not at all."""
    if not target.is_dir():
        part = target.with_name(target.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        make(part)
        part.rename(target)
    return target


def _options(settings: Settings) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings["threads"]
    return options


def _fastembed(settings: Settings, folder: Path) -> Racer:
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    exported = _onnx_folder(settings)
    TextEmbedding.add_custom_model(
        model="race-encoder", pooling=PoolingType.MEAN, normalization=True, sources=ModelSource(hf="local/encoder"),
        dim=384, model_file=_QUANTISED,
    )  # fmt: skip
    config = exported / "tokenizer_config.json"
    kept = json.loads(config.read_text("utf-8"))
    # fastembed reads the longest input from here.
    kept |= {"model_max_length": settings["window"], "max_length": settings["window"]}
    config.write_text(json.dumps(kept), "utf-8")
    model = TextEmbedding("race-encoder", specific_model_path=str(exported), threads=settings["threads"])
    return _Heads(
        lambda texts: np.array(list(model.embed(texts, batch_size=1)), np.float64), settings, folder, "encoder"
    )


def _setfit(settings: Settings, folder: Path) -> Racer:
    """A short contrastive fine-tuning on few articles, then a logistic head a lens, as SetFit means it."""
    import torch
    from sentence_transformers import SentenceTransformer
    from setfit import SetFitModel

    torch.set_num_threads(settings["threads"])
    trained = _once(
        Path(settings["cache"]) / f"setfit-{settings['training']}",
        lambda target: _train_setfit(settings, folder, target),
    )
    with np.load(trained / "shots.npz") as shots:
        head = _one_vs_rest().fit(shots["embeddings"], shots["labels"])
    model = SetFitModel(model_body=SentenceTransformer(str(trained / "body"), device="cpu"), model_head=head)

    def score(texts: Sequence[Text]) -> FloatArray:
        return np.asarray(model.predict_proba(_joined(texts), batch_size=16, as_numpy=True))

    return score


# A time box: some minutes on two cores. More of each would rank better.
_SHOTS, _STEPS, _PAIRS, _TOKENS = 24, 40, 8, 128


def _train_setfit(settings: Settings, folder: Path, target: Path) -> None:
    """Fine-tune, and keep the body and what the head is fitted on: SetFit's own file of the head is a pickle."""
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    texts, averages = _training(folder)
    medium = json.loads((folder / "medium.json").read_text("utf-8"))
    labels = (averages >= np.array(medium)).astype(int)
    draw = np.random.default_rng(0)
    rows = sorted(
        {
            int(row)
            for column in labels.T
            for side in (np.flatnonzero(column), np.flatnonzero(labels.sum(axis=1) == 0))
            for row in draw.choice(side, min(_SHOTS, len(side)), replace=False)
        }
    )
    shots = [texts[row] for row in rows]
    model = SetFitModel(model_body=_encoder(settings), model_head=_one_vs_rest(), multi_target_strategy="one-vs-rest")
    model.model_body.max_seq_length = _TOKENS
    arguments = TrainingArguments(
        output_dir=str(folder / "setfit_run"), batch_size=_PAIRS, max_steps=_STEPS, save_strategy="no", report_to="none"
    )
    data = Dataset.from_dict({"text": shots, "label": labels[rows].tolist()})
    Trainer(model=model, args=arguments, train_dataset=data).train()
    model.model_body.max_seq_length = settings["window"]
    model.model_body.save(str(target / "body"))
    _save(target / "shots.npz", embeddings=model.model_body.encode(shots, batch_size=16), labels=labels[rows])


def _one_vs_rest() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    return OneVsRestClassifier(LogisticRegression(max_iter=1000))


def _model2vec(settings: Settings, folder: Path) -> Racer:
    from model2vec import StaticModel

    def distilled(target: Path) -> None:
        from model2vec.distill import distill

        distill(settings["encoder"], pca_dims=256).save_pretrained(target)

    model = StaticModel.from_pretrained(_once(Path(settings["cache"]) / "static", distilled))
    return _Heads(
        lambda texts: model.encode(list(texts), max_length=None).astype(np.float64), settings, folder, "model2vec"
    )


def _tfidf(settings: Settings, folder: Path) -> Racer:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline

    texts, targets = _training(folder)
    features = TfidfVectorizer(sublinear_tf=True, min_df=2, max_features=50_000, strip_accents="unicode")
    model = make_pipeline(features, Ridge(alpha=1.0, solver="sparse_cg")).fit(texts, targets)
    return lambda articles: np.asarray(model.predict(_joined(articles)))


def _decoder(settings: Settings, folder: Path) -> Racer:
    import torch
    from decoder_peer import config
    from transformers import Gemma3TextForSequenceClassification

    torch.set_num_threads(settings["threads"])
    model = Gemma3TextForSequenceClassification(config()).eval()

    def score(texts: Sequence[Text]) -> None:
        for _ in texts:
            ids = torch.randint(3, 1000, (1, settings["window"]))
            with torch.inference_mode():
                model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.tolist()

    return score


def _joined(texts: Sequence[Text]) -> list[str]:
    return [f"query: {text['title']}\n{text['content']}" for text in texts]


def _training(folder: Path) -> tuple[list[str], FloatArray]:
    texts = json.loads((folder / "training.json").read_text("utf-8"))
    return _joined(texts), np.load(folder / "training.npy")


def _save(path: Path, **arrays: FloatArray) -> None:
    part = path.with_suffix(".part.npz")
    np.savez(part, **arrays)  # type: ignore[arg-type]
    os.replace(part, path)


_ST = ("torch", "sentence-transformers")
CONTESTANTS = (
    Contestant("ours_all", "all {lenses} filters", _Library),
    Contestant("ours_one", "one filter", lambda settings, folder: _Library(settings, folder, settings["lenses"][:1])),
    Contestant(
        "ours_screenless", "all {lenses}, without screens",
        lambda settings, folder: _Library(settings, folder, screens=False),
    ),
    Contestant("ours_processes", "all {lenses}, a process a core", _Processes),
    Contestant("st_onnx", "sentence-transformers, ONNX int8", _sentence_transformers_int8, (*_ST, "optimum-onnx")),
    Contestant("st_torch", "sentence-transformers, fp32", _sentence_transformers, _ST),
    Contestant("fastembed", "fastembed, ONNX int8", _fastembed, (*_ST, "optimum-onnx", "fastembed")),
    Contestant("setfit", "SetFit", _setfit, (*_ST, "setfit", "datasets")),
    Contestant("model2vec", "model2vec, static", _model2vec, ("torch", "transformers", "model2vec"), whole=True),
    Contestant("tfidf", "TF-IDF ridge", _tfidf, ("scikit-learn",), whole=True),
    Contestant(
        "decoder", "{lenses} decoders of 1B", _decoder, ("torch", "transformers"), articles=1, each_lens=True
    ),
)  # fmt: skip
