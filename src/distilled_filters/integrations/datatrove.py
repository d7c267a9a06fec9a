"""datatrove: a step that writes scores into documents' metadata, and a filter by tier.

from distilled_filters.integrations.datatrove import ScoreArticles, TierFilter
pipeline = [JsonlReader("news/"), ScoreArticles(["uplifting"]), JsonlWriter("scored/")]
pipeline = [JsonlReader("news/"), TierFilter({"uplifting": "medium"}), JsonlWriter("kept/")]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from distilled_filters.errors import SettingError
from distilled_filters.filter import Filter
from distilled_filters.integrations.batches import BATCH_ROWS, Scoring, missing_extra

try:
    from datatrove.data import Document
    from datatrove.pipeline.base import PipelineStep
    from datatrove.pipeline.filters.base_filter import BaseFilter
    from datatrove.pipeline.writers.disk_base import DiskWriter
    from datatrove.utils.batching import batched
except ImportError as error:
    raise missing_extra(error, "datatrove") from error

__all__ = ["ScoreArticles", "TierFilter"]


class ScoreArticles(PipelineStep):
    """Write `<filter>_tier` and all other columns of scores into the metadata of every document.

    Args:
        filters: Filters or requirements such as `"uplifting==1.*"`; None for all installed.
        title: The key of the metadata that holds titles.
    """

    type = "🏷 - ANNOTATE"
    name = "📰 Distilled filters"

    def __init__(self, filters: Iterable[Filter | str] | None = None, *, title: str = "title") -> None:
        """Resolve the filters; a worker opens them with its first document."""
        super().__init__()
        self.title = title
        self.scoring = Scoring.for_workers(filters, title=None, content=None)

    def run(self, data: Iterable[Document], rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """Score documents as they pass, `BATCH_ROWS` at once."""
        for batch in batched(data, BATCH_ROWS):
            with self.track_time("batch"):
                _annotate(batch, self.scoring, self.title)
            for document in batch:
                self.update_doc_stats(document)
                for each in self.scoring.filters:
                    tier, status = (document.metadata[f"{each.name}_{what}"] for what in ("tier", "status"))
                    self.stat_update(f"{each.name}_{tier or status}")
            yield from batch


class TierFilter(BaseFilter):
    """Keep documents that at least one filter puts into the tier asked for, or a better one.

    Documents that bring the columns of `ScoreArticles` are taken by them; others are scored,
    and have them from then on.

    Args:
        tiers: By filter or requirement, the lowest tier to keep, such as `{"uplifting": "medium"}`.
        title: The key of the metadata that holds titles.
        exclusion_writer: Where dropped documents go; None for nowhere.

    Raises:
        SettingError: when a filter has no such tier.
    """

    name = "📰 Distilled filters by tier"

    def __init__(
        self, tiers: Mapping[str, str], *, title: str = "title", exclusion_writer: DiskWriter | None = None
    ) -> None:
        """Resolve the filters and their tiers."""
        super().__init__(exclusion_writer, batch_size=BATCH_ROWS)
        self.title = title
        self.scoring = Scoring.for_workers(tiers, title=None, content=None)
        self.kept: dict[str, list[str]] = {}
        for each, lowest in zip(self.scoring.filters, tiers.values(), strict=True):
            names = [tier.name for tier in each.spec.tiers]
            if lowest not in names:
                raise SettingError(f"{each.name} has no tier {lowest!r}, but {names}")
            self.kept[each.name] = names[: names.index(lowest) + 1]

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        """Say whether one document is kept."""
        return self.filter_batch([doc])[0]

    def filter_batch(self, batch: Sequence[Document]) -> list[bool | tuple[bool, str]]:
        """Say of each document whether it is kept, and if not, for the tier or status of the first filter."""
        new = [document for document in batch if not document.metadata.keys() >= self.scoring.columns.keys()]
        _annotate(new, self.scoring, self.title)
        return [self._kept(document) for document in batch]

    def _kept(self, document: Document) -> bool | tuple[bool, str]:
        cells = document.metadata
        if any(cells[f"{name}_tier"] in tiers for name, tiers in self.kept.items()):
            return True
        first = next(iter(self.kept))
        return False, f"{first}_{cells[f'{first}_tier'] or cells[f'{first}_status']}"


def _annotate(batch: Sequence[Document], scoring: Scoring, title: str) -> None:
    articles = ({"title": document.metadata.get(title), "content": document.text} for document in batch)
    columns = scoring.score(articles)
    for document, *cells in zip(batch, *columns.values(), strict=True):
        document.metadata |= dict(zip(columns, cells, strict=True))
