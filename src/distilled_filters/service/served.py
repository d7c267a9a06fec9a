"""The filters of a service: each opened on its own, so that one that is broken stops no other."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from distilled_filters.article import record_id
from distilled_filters.errors import SettingError, UnknownFilterError
from distilled_filters.filter import Filter, load
from distilled_filters.panel import Panel
from distilled_filters.registry import did_you_mean, filter_names
from distilled_filters.service.schema import FilterRow, ScoreRow
from distilled_filters.status import Status
from distilled_filters.threads import thread_count

__all__ = ["Served"]

_log = logging.getLogger(__name__)


class Served:
    """Opens filters, and scores one article by any choice of them.

    Args:
        requirements: Filters by name or requirement; None for all installed ones.
        threads: Articles scored at once, as for `Filter`.

    Raises:
        UnknownFilterError: for a requirement that nothing installed satisfies.
        SettingError: for one filter named twice.
        DistilledFiltersError: when no filter opens at all.
    """

    def __init__(self, requirements: Sequence[str] | None = None, *, threads: int | None = None) -> None:
        """Open every filter's weights; what fails is kept in `problems`."""
        self.threads = thread_count(threads)
        self.filters: dict[str, Filter] = {}
        """The filters that can score, by name."""
        self.problems: dict[str, str] = {}
        """Why the others cannot, by name."""
        failure: Exception | None = None
        for requirement in requirements or filter_names():
            try:
                name = Requirement(requirement).name
            except InvalidRequirement:
                name = requirement  # `load` says what is wrong with it
            if name in self.names:
                raise SettingError(f"{name} is named twice; a service has one version of each filter")
            try:
                self.filters[name] = load(requirement, threads=self.threads).load()
            except UnknownFilterError:
                raise
            except Exception as error:  # whatever one filter does must not keep the others from being served
                failure = failure or error
                self.problems[name] = f"{type(error).__name__}: {error}"
        if not self.filters:
            raise failure or SettingError("no filter is installed, so there is nothing to serve")
        self._panel = functools.lru_cache(maxsize=64)(self._make_panel)

    @property
    def names(self) -> list[str]:
        """All names a request may use, sorted: those of broken filters, too."""
        return sorted([*self.filters, *self.problems])

    @functools.cached_property
    def calibrated(self) -> frozenset[str]:
        """The filters whose scores go through isotonic tables."""
        return frozenset(name for name, each in self.filters.items() if each.calibration.dimensions)

    def choose(self, names: Sequence[str] | None) -> tuple[str, ...]:
        """Return the filters that a request means, each once, in its order.

        Raises:
            UnknownFilterError: naming the nearest names and those that are served.
        """
        chosen = tuple(dict.fromkeys(self.names if names is None else names))
        for name in chosen:
            if name not in self.filters and name not in self.problems:
                raise UnknownFilterError(
                    f"no filter named {name[:80]!r} is served{did_you_mean(name, self.names)} "
                    f"Served: {', '.join(self.names)}"
                )
        return chosen

    def score(self, article: object, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return for each of the names a score as plain JSON types, or a row that says why there is none.

        Never raises: what is wrong with an article or a filter is in its row's `status` and `detail`.
        """
        rows: dict[str, dict[str, Any]] = {}
        healthy = tuple(name for name in names if name in self.filters)
        identifier = None
        try:
            identifier = record_id(article)
            if healthy:
                rows = {name: score.to_dict() for name, score in self._panel(healthy).score(article).items()}
        except Exception as error:
            # A record that cannot be scored does not raise; what does is a mistake of ours, and costs this article.
            _log.exception("an article could not be scored")
            rows = {name: self._failed(name, identifier, f"{type(error).__name__}: {error}") for name in healthy}
        return {name: rows.get(name) or self._failed(name, identifier, self.problems[name]) for name in names}

    def rows(self) -> list[FilterRow]:
        """Describe every filter."""
        return [self._describe(name) for name in self.names]

    def _make_panel(self, names: tuple[str, ...]) -> Panel:
        return Panel([self.filters[name] for name in names], threads=self.threads)

    def _failed(self, name: str, identifier: str | None, detail: str) -> dict[str, Any]:
        each = self.filters.get(name)
        return ScoreRow(
            id=identifier,
            filter=name,
            version=each.version if each else None,
            status=Status.ERROR,
            detail=detail,
            provenance=each.provenance if each else None,
        ).model_dump(mode="json")

    def _describe(self, name: str) -> FilterRow:
        each, problem = self.filters.get(name), self.problems.get(name)
        return FilterRow(
            name=name,
            version=each.version if each else None,
            lens=each.spec.lens if each else None,
            languages=each.spec.languages if each else (),
            dimensions=each.spec.dimensions if each else (),
            tiers=each.spec.tiers if each else (),
            provenance=each.provenance if each else None,
            problem=problem,
        )
