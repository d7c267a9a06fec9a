"""Many filters over one article: read once, tokenised once, one backbone pass (AC24)."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from functools import partial

from distilled_filters.errors import DistilledFiltersError, RecordError, SettingError
from distilled_filters.filter import Filter, load, score_together
from distilled_filters.parallel import in_thread, ordered_map
from distilled_filters.registry import filter_names
from distilled_filters.result import Score
from distilled_filters.status import Status
from distilled_filters.threads import thread_count

__all__ = ["BrokenFilterWarning", "Panel"]


class BrokenFilterWarning(UserWarning):
    """An installed filter could not be opened and was left out of a panel."""


class Panel:
    """Filters that score together, each article once.

    Args:
        filters: Filters, or requirements such as `"uplifting==1.*"`; no name twice.
        threads: Articles scored at once by `score_batch` and `score_iter`, as for `Filter`.

    Raises:
        SettingError: for no filter, or one name twice.
    """

    def __init__(self, filters: Iterable[Filter | str], *, threads: int | None = None) -> None:
        """Resolve the filters; weights are opened on first use."""
        if isinstance(filters, str) or not isinstance(filters, Iterable):
            raise SettingError(f"a panel takes a list of filters, such as Panel(['uplifting']), not {filters!r}")
        self.filters = tuple(each if isinstance(each, Filter) else load(each) for each in filters)
        names = [each.name for each in self.filters]
        if not names or len(set(names)) != len(names):
            raise SettingError(f"a panel needs at least one filter, and none twice; it was given {names}")
        self.threads = thread_count(threads)
        self.broken: dict[str, DistilledFiltersError] = {}
        self._whole: list[Filter] = []

    @classmethod
    def all(cls, *, threads: int | None = None) -> Panel:
        """Every installed filter in its newest version; one with a broken spec is left out with a warning."""
        filters = []
        for name in filter_names():
            try:
                filters.append(load(name))
            except DistilledFiltersError as error:
                warnings.warn(f"left out {name}: {error}", BrokenFilterWarning, stacklevel=2)
        return cls(filters, threads=threads)

    def load(self) -> Panel:
        """Open all weights now instead of on first use; return the panel itself.

        A filter whose weights do not open is named in `broken` and in a warning; its
        scores then have the status `error`, and the others go on.

        Raises:
            CheckpointError: when no filter opens.
        """
        whole: list[Filter] = []
        broken: dict[str, DistilledFiltersError] = {}
        for each in self.filters:
            try:
                each.load()
            except DistilledFiltersError as error:
                broken[each.name] = error
                warnings.warn(f"{each.name} cannot score: {error}", BrokenFilterWarning, stacklevel=2)
            else:
                whole.append(each)
        if not whole:
            raise next(iter(broken.values()))
        self.broken, self._whole = broken, whole
        return self

    def score(self, article: object, *, strict: bool = False) -> dict[str, Score]:
        """Return `{filter name: Score}` in the order of the panel's filters.

        Raises:
            RecordError: with `strict`, where the article cannot be scored.
            CheckpointError: when no filter opens; with `strict`, when any does not.
        """
        whole = self._whole or self.load()._whole
        if strict and self.broken:
            raise next(iter(self.broken.values()))
        scores = {score.provenance.filter: score for score in score_together(whole, article, strict=strict)}
        for each in self.filters:
            if each.name in self.broken:
                scores[each.name] = each.refuse(RecordError(Status.ERROR, str(self.broken[each.name])), article)
        return {each.name: scores[each.name] for each in self.filters}

    async def ascore(self, article: object, *, strict: bool = False) -> dict[str, Score]:
        """Score one article on one of `threads` worker threads, while the event loop goes on.

        Cancelling is safe: an article whose turn has not come is dropped.

        Raises:
            RecordError, CheckpointError: as `score` does.
        """
        return await in_thread(partial(self.score, strict=strict), article, threads=self.threads)

    def score_batch(self, articles: Iterable[object], *, strict: bool = False) -> list[dict[str, Score]]:
        """Score articles in parallel; results keep their order."""
        return list(self.score_iter(articles, strict=strict))

    def score_iter(self, articles: Iterable[object], *, strict: bool = False) -> Iterator[dict[str, Score]]:
        """Score a stream lazily, in order, holding two articles a thread."""
        if not self._whole:
            self.load()
        return ordered_map(lambda article: self.score(article, strict=strict), articles, self.threads)

    def __repr__(self) -> str:
        return f"<Panel of {', '.join(each.name for each in self.filters)}>"
