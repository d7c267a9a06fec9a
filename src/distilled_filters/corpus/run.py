"""A whole corpus run: inputs, filters, output, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from distilled_filters.corpus.errors import CorpusError
from distilled_filters.corpus.formats import FORMATS
from distilled_filters.corpus.manifest import manifest
from distilled_filters.corpus.outputs import Output
from distilled_filters.corpus.parts import PART_ROWS, Parts
from distilled_filters.corpus.rows import Row
from distilled_filters.corpus.sources import BEGINNING, STANDARD_INPUT, Problem, Record, Source, Start, read_corpus
from distilled_filters.corpus.statistics import Statistics
from distilled_filters.filter import Filter

__all__ = ["Outcome", "Run", "Scorer"]

Scorer: TypeAlias = Callable[[Iterable[Record]], Iterator[Row]]
"""What makes rows of records, lazily and in order; how many processors or machines do it is its own affair."""


@dataclass
class Outcome:
    """What came of a run, so far."""

    statistics: Statistics = field(default_factory=Statistics)
    problems: list[Problem] = field(default_factory=list)
    earlier: int = 0
    """Rows that an earlier run had left."""
    started: float = field(default_factory=time.monotonic)
    seconds: float = 0.0

    @property
    def unread(self) -> bool:
        """Whether an input could not be read to its end."""
        return any(problem.lost for problem in self.problems)

    @property
    def rate(self) -> float:
        """Articles this run scored in a second."""
        return (self.statistics.rows - self.earlier) / self.seconds if self.seconds else 0.0

    def end(self) -> None:
        """Stop the clock."""
        self.seconds = time.monotonic() - self.started

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        counts = self.statistics.model_dump(mode="json")
        ok = self.statistics.statuses["ok"]
        return {
            "statistics": {**counts, "truncated_share": round(self.statistics.truncated / ok, 4) if ok else None},
            "problems": [problem.message for problem in self.problems],
            "rows_by_earlier_runs": self.earlier,
            "seconds": round(self.seconds, 3),
            "articles_per_second": round(self.rate, 2),
        }


@dataclass(frozen=True)
class Run:
    """What is scored by which filters, and how.

    Args:
        sources: The inputs.
        filters: The filters whose columns are written.
        score: Makes the rows.
        watch: Sees every record pass, for a progress bar.
        tell: Is told at once of every input that cannot be read.
    """

    sources: Sequence[Source]
    filters: Sequence[Filter]
    score: Scorer
    watch: Callable[[Iterable[Record]], Iterable[Record]] = lambda records: records
    tell: Callable[[Problem], None] = lambda problem: None

    def rows(self, outcome: Outcome, start: Start = BEGINNING) -> Iterator[Row]:
        """Read and score all records from `start` on, and note in `outcome` which inputs cannot be read.

        Raises:
            CorpusError: at the end, when no input yields a record and one cannot be read.
        """

        def told(problem: Problem) -> None:
            outcome.problems.append(problem)
            self.tell(problem)

        any_row = start != BEGINNING
        for row in self.score(self.watch(read_corpus(self.sources, start, told))):
            any_row = True
            yield row
        if outcome.unread and not any_row:
            raise CorpusError(next(problem.message for problem in outcome.problems if problem.lost))

    def write(self, output: Output, *, resume: bool = False, force: bool = False) -> Outcome:
        """Write all rows to an output by way of resumable parts.

        Raises:
            CorpusError: when the output cannot be begun, resumed or written; what is done is kept.
            KeyboardInterrupt: with what is kept, and how to go on, as its message.
        """
        from_pipe = STANDARD_INPUT in [source.name for source in self.sources]
        if resume and from_pipe:
            raise CorpusError("standard input cannot be read a second time; save it to a file to use --resume")
        settings = manifest(self.sources, self.filters, output.form)
        parts = Parts(output, FORMATS[output.form](self.filters), settings, part_rows=PART_ROWS)
        with closing(parts):
            parts.begin(resume=resume, force=force)
            outcome = Outcome(parts.statistics, parts.problems, earlier=parts.statistics.rows)
            try:
                rows = self.rows(outcome, parts.start)
                # A file of its own counts its rows from 0, whatever lies beside it.
                parts.write((replace(row, row=row.index) for row in rows) if output.names else rows)
                outcome.end()
                parts.finish(outcome.to_dict())
            except (KeyboardInterrupt, CorpusError, OSError) as error:
                if not parts.statistics.rows:
                    parts.discard()
                    raise
                kept = f"{parts.statistics.rows:,} rows are kept in {parts.folder.name}"
                message = kept if from_pipe else f"{kept}; go on with --resume"
                if isinstance(error, KeyboardInterrupt):
                    raise KeyboardInterrupt(message) from None
                raise CorpusError(f"{error}; {message}") from error
        return outcome
