"""One versioned filter: from an article to a `Score`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import distilled_filters
from distilled_filters import checkpoints, decision
from distilled_filters.article import Article, record_id
from distilled_filters.calibration import Calibration, Percentiles, read_calibration, read_percentiles
from distilled_filters.errors import IncompatibleEngineError, RecordError, SpecError, UnknownFilterError
from distilled_filters.hub import Progress
from distilled_filters.parallel import in_thread, ordered_map
from distilled_filters.preprocess import Preprocessor
from distilled_filters.result import Provenance, Score, Status, TokenUse
from distilled_filters.scorers.head import ZeroInflatedHead
from distilled_filters.scorers.lexical import Bag, bag_of
from distilled_filters.scorers.onnx import Backbone, open_backbone
from distilled_filters.spec import Checkpoint, FileRef, FilterSpec, HubSource, read_backbone_spec, read_filter_spec
from distilled_filters.threads import thread_count

__all__ = ["SCREEN", "STUDENT", "Filter", "score_together"]

# What decided a score: the first look alone, or the encoder too.
SCREEN, STUDENT = "screen", "student"


@dataclass(frozen=True)
class _Student:
    """What a filter opens on first use."""

    backbone: Backbone
    preprocessor: Preprocessor
    head: ZeroInflatedHead
    calibration: Calibration
    percentiles: Percentiles


class Filter:
    """A filter folder behind one `score(article)`.

    Cheap to make and to pickle: the spec is read and checked at once, weights on first
    use. Threads may share one; processes may receive it by pickle, spawn or fork.

    Args:
        folder: A filter version's folder with its `filter.toml`.
        checkpoint: The name of a checkpoint in the spec; None for its default.
        threads: Articles scored at once by `score_batch` and `score_iter`; None for
            `DISTILLED_FILTERS_THREADS`, else the processors this process may use.
        requirement: What `load` finds this filter by, where it is an installed one;
            a pickle then carries that instead of the folder.

    Raises:
        SpecError: when `filter.toml` breaks a rule.
        IncompatibleEngineError: when the filter was made for other library versions.
        UnknownFilterError: when the spec has no such checkpoint.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        checkpoint: str | None = None,
        threads: int | None = None,
        requirement: str | None = None,
    ) -> None:
        """Read and check the spec."""
        self.folder = Path(folder).absolute()
        self.spec: FilterSpec = read_filter_spec(self.folder / "filter.toml")
        problem = self.spec.engine_problem()
        if problem:
            raise IncompatibleEngineError(problem)
        self.checkpoint = checkpoint or self.spec.default_checkpoint
        if self.checkpoint not in self.spec.checkpoints:
            raise UnknownFilterError(
                f"{self.name} {self.version} has no checkpoint {self.checkpoint!r}, but {list(self.spec.checkpoints)}"
            )
        self.threads = thread_count(threads)
        self._arguments: dict[str, Any] = {"checkpoint": checkpoint, "threads": threads}
        self._requirement = requirement
        self._student: _Student | None = None
        weights = self.weights
        self.provenance = Provenance(
            filter=self.name,
            version=self.version,
            checkpoint=self.checkpoint,
            backbone=weights.backbone,
            backbone_sha256=weights.backbone_sha256,
            head_sha256=weights.head.sha256,
            engine=distilled_filters.__version__,
        )

    @property
    def name(self) -> str:
        """The filter's name."""
        return self.spec.name

    @property
    def version(self) -> str:
        """MAJOR.MINOR.PATCH of the filter."""
        return self.spec.version

    @property
    def weights(self) -> Checkpoint:
        """The spec's entry for the checkpoint in use."""
        return self.spec.checkpoints[self.checkpoint]

    @property
    def backbone_folder(self) -> Path:
        """Where the checkpoint's backbone lies: in `backbones/` beside the filters, else in the library's."""
        from distilled_filters.registry import embedded_folder

        beside = self.folder.parent.parent / "backbones" / self.weights.backbone
        return beside if beside.is_dir() else embedded_folder() / "backbones" / self.weights.backbone

    @property
    def head(self) -> ZeroInflatedHead:
        """The checkpoint's head, opened."""
        return self._open().head

    @property
    def calibration(self) -> Calibration:
        """The checkpoint's calibration tables, opened."""
        return self._open().calibration

    def first_look(self, bag: Bag) -> float | None:
        """Return how much an article's words speak for its scope; None where they end the matter."""
        look, below = self.head.first_look(bag), self.weights.screen_below
        return None if below is not None and look < below else look

    def load(self) -> Filter:
        """Open the weights now instead of on first use; return the filter itself.

        Raises:
            CheckpointError: when a file is missing, damaged, or made for other weights.
            SpecError: when the window is longer than the backbone reads.
        """
        self._open()
        return self

    def remote_files(self) -> list[tuple[FileRef, HubSource]]:
        """Return the files that lie on the Hub alone, and where; none if the filter is embedded."""
        backbone = read_backbone_spec(self.backbone_folder / "backbone.toml")
        return [
            (ref, part.hub)
            for part, folder in ((self.weights, self.folder), (backbone, self.backbone_folder))
            if part.hub is not None
            for ref in part.files
            if not (folder / ref.path).is_file()
        ]

    def prefetch(self, *, local_files_only: bool = False, progress: Progress | None = None) -> list[Path]:
        """Download what a later load needs, with digests checked; return the paths brought (none if embedded).

        Args:
            local_files_only: Download nothing: raise where a file is missing.
            progress: Called with the number of bytes that came, or lay in the cache.

        Raises:
            CheckpointError: when the Hub cannot be reached or sends other bytes than the spec names.
        """
        return [
            checkpoints.fetch(ref, source, self._owner, local_files_only=local_files_only, progress=progress)
            for ref, source in self.remote_files()
        ]

    def score(self, article: object, *, strict: bool = False) -> Score:
        """Score one article: a mapping with `title` and `content`, a str, or an `Article`.

        Raises:
            RecordError: with `strict`, where the article cannot be scored; otherwise the
                `Score` says so in its `status`.
            CheckpointError: when the weights do not open.
        """
        return score_together((self,), article, strict=strict)[0]

    async def ascore(self, article: object, *, strict: bool = False) -> Score:
        """Score one article on one of `threads` worker threads, while the event loop goes on.

        Cancelling is safe: an article whose turn has not come is dropped.

        Raises:
            RecordError, CheckpointError: as `score` does.
        """
        return await in_thread(partial(self.score, strict=strict), article, threads=self.threads)

    def score_batch(self, articles: Iterable[object], *, strict: bool = False) -> list[Score]:
        """Score articles in parallel; results keep their order."""
        return list(self.score_iter(articles, strict=strict))

    def score_iter(self, articles: Iterable[object], *, strict: bool = False) -> Iterator[Score]:
        """Score a stream lazily, in order, holding two articles a thread."""
        self._open()
        return ordered_map(lambda article: self.score(article, strict=strict), articles, self.threads)

    def __getattr__(self, attribute: str) -> Filter:
        """`uplifting.v1` is the newest installed version with that major number."""
        if attribute[:1] == "v" and attribute[1:].isdigit():
            from distilled_filters.registry import load

            try:
                pinned = load(f"{self.name}=={attribute[1:]}.*", **self._arguments)
            except UnknownFilterError as error:
                raise AttributeError(str(error)) from error
            self.__dict__[attribute] = pinned
            return pinned
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {attribute!r}")

    def __reduce__(self) -> tuple[Callable[..., Filter], tuple[Any, ...]]:
        """Pickle how to find the filter, never its weights (AC11)."""
        return _restore, (self._requirement, str(self.folder), self._arguments)

    def __repr__(self) -> str:
        return f"<Filter {self.name} {self.version}, checkpoint {self.checkpoint}>"

    @property
    def _owner(self) -> str:
        return f"{self.name}=={self.version}"

    def _open(self) -> _Student:
        if self._student is None:
            weights = self.weights
            head, calibration, percentiles = (
                checkpoints.locate(ref, self.folder, weights.hub, self._owner) for ref in weights.files
            )
            backbone = open_backbone(self.backbone_folder, weights.backbone_sha256, self._owner)
            preprocessor = Preprocessor(self.spec.preprocessing, backbone.tokenizer)
            if preprocessor.window_tokens > backbone.spec.max_tokens:
                raise SpecError(
                    f"{self.folder}/filter.toml: preprocessing makes windows of {preprocessor.window_tokens} tokens; "
                    f"{weights.backbone} reads at most {backbone.spec.max_tokens}"
                )
            # Two threads may come here at once; both build the same, and either may stay.
            self._student = _Student(
                backbone=backbone,
                preprocessor=preprocessor,
                head=ZeroInflatedHead.read(
                    head,
                    dimensions=len(self.spec.dimensions),
                    dims=backbone.spec.dims,
                    vocabulary=backbone.tokenizer.get_vocab_size(),
                ),
                calibration=read_calibration(calibration, weights.head.sha256),
                percentiles=read_percentiles(percentiles, weights.head.sha256),
            )
        return self._student

    def _judge(self, raw: Sequence[float], stage: str, tokens: TokenUse, identifier: str | None) -> Score:
        student, names = self._open(), self.spec.dimension_names
        decision.check_finite(raw, names)
        dimensions = student.calibration.apply(names, raw)
        ungated = decision.weighted_average(dimensions, self.spec)
        average, gated = decision.apply_gate(ungated, dimensions, self.spec)
        return Score(
            status=Status.OK,
            provenance=self.provenance,
            id=identifier,
            tier=decision.tier_of(average, self.spec.tiers),
            weighted_average=average,
            raw_weighted_average=decision.weighted_average(raw, self.spec),
            dimensions=dict(zip(names, dimensions, strict=True)),
            gate_applied=gated,
            percentile=decision.percentile_of(average, student.percentiles.averages),
            interval=student.calibration.interval(average),
            stage=stage,
            tokens=tokens,
        )

    def refuse(self, error: RecordError, article: object) -> Score:
        """Return the score of an article that has none: its typed status and the reason."""
        return Score(status=error.status, provenance=self.provenance, id=record_id(article), detail=str(error))


def score_together(filters: Sequence[Filter], article: object, *, strict: bool = False) -> list[Score]:
    """Score one article by filters that read it alike: one window, one backbone pass (AC24).

    The filters must share backbone and preprocessing; `Panel` groups them so.

    Raises:
        RecordError: with `strict`, where the article cannot be scored.
    """
    student = filters[0]._open()
    try:
        window = student.preprocessor(Article.parse(article))
        bag = bag_of(window.text)
        looks = [each.first_look(bag) for each in filters]
        # Whether a filter ends early is its own affair: its scores must not depend on who asks along.
        embedding = None if looks == [None] * len(looks) else student.backbone.embed(window.ids)
    except RecordError as error:
        if strict:
            raise
        return [each.refuse(error, article) for each in filters]
    whole = TokenUse(total=window.tokens.total, read=window.tokens.total, truncated=False)
    scores = []
    for each, look in zip(filters, looks, strict=True):
        try:
            if look is None or embedding is None:
                raw, stage, tokens = [0.0] * len(each.spec.dimensions), SCREEN, whole
            else:
                raw, stage, tokens = each.head(embedding, look), STUDENT, window.tokens
            scores.append(each._judge(raw, stage, tokens, record_id(article)))
        except RecordError as error:
            if strict:
                raise
            scores.append(each.refuse(error, article))
    return scores


def _restore(requirement: str | None, folder: str, arguments: dict[str, Any]) -> Filter:
    if requirement is None:
        return Filter(folder, **arguments)
    from distilled_filters.registry import load

    return load(requirement, **arguments)
