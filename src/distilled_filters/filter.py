"""One versioned filter: from an article to a `Score`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import distilled_filters
from distilled_filters import checkpoints, decision, registry
from distilled_filters.article import Article, record_id
from distilled_filters.calibration import Calibration
from distilled_filters.errors import IncompatibleEngineError, RecordError, UnknownFilterError
from distilled_filters.hub import Progress
from distilled_filters.installed import check_recorded
from distilled_filters.parallel import in_thread, ordered_map
from distilled_filters.result import Provenance, Score, Status
from distilled_filters.scorers.base import Answer, Part, Reading, Scorer, Source
from distilled_filters.scorers.kinds import open_scorer
from distilled_filters.spec import FileRef, FilterSpec, HubSource, joined_digest, read_filter_spec
from distilled_filters.threads import thread_count

if TYPE_CHECKING:
    from distilled_filters.spec import Checkpoint

__all__ = ["Filter", "load", "score_together"]


class Filter:
    """A filter folder behind one `score(article)`.

    Cheap to make and to pickle: the spec is read and checked at once, weights on first
    use. Threads may share one; processes may receive it by pickle, spawn or fork.

    Args:
        folder: A filter version's folder with its `filter.toml`.
        checkpoint: The name of a checkpoint in the spec, `-` and `_` alike; None for its default.
        threads: Articles scored at once by `score_batch` and `score_iter`; None for
            `DISTILLED_FILTERS_THREADS`, else the processors this process may use.
        requirement: What `load` finds this filter by, where it is an installed one;
            a pickle then carries that instead of the folder.
        device: Where a language model runs, such as `cuda` or `cpu`; None for
            `DISTILLED_FILTERS_DEVICE`, else the GPU where there is one. Encoders run on the processor.
        precision: Of a language model's weights: `fp32`, `bf16`, `fp16` or `4bit`; None for
            `DISTILLED_FILTERS_PRECISION`, else what suits the device.

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
        device: str | None = None,
        precision: str | None = None,
    ) -> None:
        """Read and check the spec."""
        self.folder = Path(folder).absolute()
        self.spec: FilterSpec = read_filter_spec(self.folder / "filter.toml")
        problem = self.spec.engine_problem()
        if problem:
            raise IncompatibleEngineError(problem)
        self.checkpoint = (checkpoint or self.spec.default_checkpoint).replace("-", "_")
        if self.checkpoint not in self.spec.checkpoints:
            raise UnknownFilterError(
                f"{self.name} {self.version} has no checkpoint {checkpoint!r}, but {list(self.spec.checkpoints)}"
            )
        self.threads = thread_count(threads)
        self.device, self.precision = device, precision
        self._arguments: dict[str, Any] = {
            "checkpoint": checkpoint, "threads": threads, "device": device, "precision": precision
        }  # fmt: skip
        self._requirement = requirement
        backbones = (self.folder.parent.parent / "backbones", registry.embedded_folder() / "backbones")
        self.source = Source(self.folder, self.spec, self.checkpoint, backbones, device, precision)
        self._opened: dict[str, Scorer] = {}
        parts = [part.weights for part in self.parts]
        self.provenance = Provenance(
            filter=self.name,
            version=self.version,
            checkpoint=self.checkpoint,
            backbone=" + ".join(dict.fromkeys(part.backbone for part in parts)),
            backbone_sha256=joined_digest(dict.fromkeys(part.backbone_sha256 for part in parts)),
            head_sha256=self.weights.digest,
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
        return self.source.weights

    @property
    def parts(self) -> tuple[Part, ...]:
        """The checkpoints with weights that the one in use rests on: itself, or those it is made of."""
        return self.source.parts

    @property
    def backbone_folder(self) -> Path:
        """Where the (first) backbone lies: in `backbones/` beside the filters, else in the library's."""
        return self.parts[0].backbone_folder

    @property
    def scorer(self) -> Scorer:
        """The checkpoint in use, opened."""
        found = self._opened.get(self.checkpoint)
        if found is None:
            # Two threads may come here at once; both open the same, and the first one's stays.
            opened = open_scorer(self.source)
            found = self._opened.setdefault(self.checkpoint, opened)
            if found is not opened:
                opened.close()
        return found

    @property
    def calibration(self) -> Calibration:
        """The checkpoint's calibration tables, opened."""
        return self.scorer.tables.calibration

    def with_checkpoint(self, name: str, *, device: str | None = None, precision: str | None = None) -> Filter:
        """Return this filter on another of its checkpoints, as `uplifting.with_checkpoint("gemma3-270m-lora")`.

        Raises:
            UnknownFilterError: when the spec has no such checkpoint.
        """
        given = {key: value for key, value in (("device", device), ("precision", precision)) if value is not None}
        return _restore(self._requirement, str(self.folder), {**self._arguments, "checkpoint": name, **given})

    def load(self) -> Self:
        """Open the weights now instead of on first use; return the filter itself.

        Raises:
            CheckpointError: when a file is missing, damaged, or made for other weights.
            SpecError: when the window is longer than the backbone reads.
        """
        _ = self.scorer
        return self

    def unload(self) -> None:
        """Give the weights back; the next score opens them again.

        A language model leaves memory with the last filter that uses it.
        """
        scorer = self._opened.pop(self.checkpoint, None)
        if scorer is not None:
            scorer.close()

    def remote_files(self) -> list[tuple[FileRef, HubSource]]:
        """Return the files that lie on the Hub alone, and where; none if the filter is embedded."""
        places: list[tuple[Any, Path]] = [(self.weights, self.folder)]
        for part in self.parts:
            places += [(part.weights, self.folder), (part.backbone(), part.backbone_folder)]
        found = (
            (ref, each.hub)
            for each, folder in places
            if each.hub is not None
            for ref in each.files
            if not (folder / ref.path).is_file()
        )
        return list(dict.fromkeys(found))

    def prefetch(self, *, local_files_only: bool = False, progress: Progress | None = None) -> list[Path]:
        """Download what a later load needs, with digests checked; return the paths brought (none if embedded).

        Args:
            local_files_only: Download nothing: raise where a file is missing.
            progress: Called with the number of bytes that came, or lay in the cache.

        Raises:
            CheckpointError: when the Hub cannot be reached or sends other bytes than the spec names.
        """
        return [
            checkpoints.fetch(ref, source, self.source.owner, local_files_only=local_files_only, progress=progress)
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
        self.load()
        return ordered_map(lambda article: self.score(article, strict=strict), articles, self.threads)

    def __getattr__(self, attribute: str) -> Filter:
        """`uplifting.v1` is the newest installed version with that major number."""
        if attribute[:1] == "v" and attribute[1:].isdigit():
            try:
                pinned = load(f"{self.name}=={attribute[1:]}.*", **self._arguments)
            except UnknownFilterError as error:
                raise AttributeError(str(error)) from error
            self.__dict__[attribute] = pinned
            return pinned
        # Raises what a property raised, if it is one that brought Python here.
        return object.__getattribute__(self, attribute)  # type: ignore[no-any-return]

    def __reduce__(self) -> tuple[Callable[..., Filter], tuple[Any, ...]]:
        """Pickle how to find the filter, never its weights (AC11)."""
        return _restore, (self._requirement, str(self.folder), self._arguments)

    def __repr__(self) -> str:
        return f"<Filter {self.name} {self.version}, checkpoint {self.checkpoint}>"

    def judge(self, answer: Answer, identifier: str | None) -> Score:
        """Return the score that a checkpoint's answer comes to: calibration, gate, tier, percentile.

        Raises:
            NonFiniteScoreError: when the answer holds NaN or infinity.
        """
        spec, names, calibration = self.spec, self.spec.dimension_names, answer.tables.calibration
        decision.check_finite(answer.raw, names)
        dimensions = answer.calibrated(names)
        ungated = decision.weighted_average(dimensions, spec)
        average, gated = decision.apply_gate(ungated, dimensions, spec)
        return Score(
            status=Status.OK,
            provenance=self.provenance,
            id=identifier,
            tier=decision.tier_of(average, spec.tiers),
            weighted_average=average,
            raw_weighted_average=decision.weighted_average(answer.raw, spec),
            dimensions=dict(zip(names, dimensions, strict=True)),
            gate_applied=gated,
            percentile=decision.percentile_of(average, answer.tables.percentiles.averages),
            interval=calibration.interval(average),
            disagreement=answer.disagreement,
            stage=answer.stage,
            tokens=answer.tokens,
        )

    def refuse(self, error: RecordError, article: object) -> Score:
        """Return the score of an article that has none: its typed status and the reason."""
        return Score(status=error.status, provenance=self.provenance, id=record_id(article), detail=str(error))


def score_together(filters: Sequence[Filter], article: object, *, strict: bool = False) -> list[Score]:
    """Score one article by many filters; what they read alike is read once, by one backbone pass (AC24).

    Raises:
        RecordError: with `strict`, where the article cannot be scored.
    """
    scorers = [each.scorer for each in filters]
    try:
        reading = Reading(Article.parse(article))
    except RecordError as error:
        if strict:
            raise
        return [each.refuse(error, article) for each in filters]
    scores = []
    for each, scorer in zip(filters, scorers, strict=True):
        try:
            scores.append(each.judge(scorer(reading), record_id(article)))
        except RecordError as error:
            if strict:
                raise
            scores.append(each.refuse(error, article))
    return scores


def load(
    requirement: str,
    *,
    checkpoint: str | None = None,
    threads: int | None = None,
    device: str | None = None,
    precision: str | None = None,
) -> Filter:
    """Return an installed filter by name, or by name and version range such as `"uplifting==1.*"`.

    The newest installed version that satisfies the range is taken (PEP 440). Weights are
    opened on first use. The other arguments are `Filter`'s.

    Raises:
        UnknownFilterError: naming what is installed and the nearest names.
        SpecError: when the filter's spec breaks a rule or asks for another engine.
        ChecksumError: when a spec is not the one its distribution was built with.
        DuplicateFilterError: when two distributions claim the name.
    """
    found = registry.find(requirement)
    each = Filter(
        found.folder,
        checkpoint=checkpoint,
        threads=threads,
        requirement=found.requirement,
        device=device,
        precision=precision,
    )
    for backbone in {part.backbone_folder for part in each.parts}:
        for owner in {found.distribution, registry.LIBRARY}:
            check_recorded(backbone / "backbone.toml", owner)
    return each


def _restore(requirement: str | None, folder: str, arguments: dict[str, Any]) -> Filter:
    return Filter(folder, **arguments) if requirement is None else load(requirement, **arguments)
