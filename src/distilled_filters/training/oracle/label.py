"""The labelling loop: every article, every oracle, every run, until all are judged or something stops the job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from distilled_filters.registry import newest_folder
from distilled_filters.training.oracle.adjudicate import adjudication
from distilled_filters.training.oracle.agreement import agreement, disagreements
from distilled_filters.training.oracle.batches.ask import BATCH_SHARE, ask_in_batches, refuse_open_batches
from distilled_filters.training.oracle.calls import Calls
from distilled_filters.training.oracle.client import Oracle, Question, Reply, check_endpoint, each
from distilled_filters.training.oracle.costs import Estimate, Progress, estimate
from distilled_filters.training.oracle.errors import AnswerError, OracleStoppedError, Problem
from distilled_filters.training.oracle.items import Item, Refused, read_items
from distilled_filters.training.oracle.prompt import Prompt, judgement_of, read_prompt
from distilled_filters.training.oracle.providers import Endpoint, batching_of
from distilled_filters.training.oracle.readings import Folder, adjudicated_row, failure_row, reading_row

__all__ = ["Job", "Labelling", "opened"]

# What an answer takes a dimension: a score and a quote of a sentence.
_OUTPUT_TOKENS_A_DIMENSION = 60
_UNANSWERED = AnswerError(Problem.UNREACHABLE, "the batch holds no answer; run the same command again")


@dataclass(frozen=True)
class Job:
    """What is to be labelled, by whom, and within which bounds.

    Attributes:
        sources: Files of articles: JSON lines, JSON, CSV or Parquet.
        output: The folder of labels; a run over the same folder goes on.
        filters: Folder of filter folders.
        filter: Name of the lens.
        oracles: Every one of them reads every article `runs` times.
        adjudicator: Decides where two oracles differ in tier or by `apart` in the weighted average.
        strict_quotes: Whether a quote that is not in the article spoils the answer.
        retry_failed: Whether to pay again for questions whose answers could not be used.
        batch: Whether to ask by the provider's batches; `poll` is the pause between two looks, in seconds.
    """

    sources: Sequence[str]
    output: Path
    filters: Path
    filter: str
    oracles: Sequence[Endpoint]
    runs: int = 1
    max_articles: int | None = None
    budget_usd: float | None = None
    adjudicator: Endpoint | None = None
    apart: float = 2.0
    strict_quotes: bool = True
    retry_failed: bool = False
    batch: bool = False
    poll: float = 30.0


@dataclass(frozen=True, slots=True)
class _Unit:
    item: Item
    run: int
    question: Question[BaseModel]


@contextmanager
def opened(job: Job) -> Iterator[Labelling]:
    """Read what a job needs and take its folder; nothing is asked yet.

    Raises:
        DistilledFiltersError: when filter, prompt, source, folder, key or prices will not do.
    """
    prompt = read_prompt(newest_folder(job.filters, job.filter))
    items, refused = read_items(job.sources, prompt, job.max_articles)
    for endpoint in (*job.oracles, *filter(None, [job.adjudicator])):
        check_endpoint(endpoint, job.budget_usd)
    for endpoint in job.oracles if job.batch else ():
        batching_of(endpoint)
    Folder.check(job.output, prompt.lens)
    # Nothing is left behind by a job that was refused.
    with Calls(job.output / "raw") as calls:
        yield Labelling(job, prompt, items, refused, calls)


class Labelling:
    """A job over its open journal."""

    def __init__(
        self, job: Job, prompt: Prompt, items: Sequence[Item], refused: Sequence[Refused], calls: Calls
    ) -> None:
        """Take up the folder."""
        self._job, self._prompt, self.lens, self._calls = job, prompt, prompt.lens, calls
        self._items, self._refused = items, refused
        self._folder = Folder.open(job.output, self.lens)
        self._folder.forget_changed(items)
        self._before = calls.spending()
        self._oracles = [Oracle(endpoint, calls, job.budget_usd) for endpoint in job.oracles]
        self._adjudicator = job.adjudicator and Oracle(job.adjudicator, calls, job.budget_usd)
        if not (job.batch and job.oracles):
            refuse_open_batches(calls.path.parent)

    @property
    def questions(self) -> int:
        """How many readings and known disputes the job is for, those included that are stored."""
        return len(self._items) * self._job.runs * len(self._oracles) + (
            len(self._disputes()) if self._adjudicator else 0
        )

    def estimate(self) -> Estimate:
        """Say what the job will ask and about what that costs; what its readings will differ on comes on top."""
        for oracle in self._oracles:
            for unit in self._units(oracle):
                if oracle.is_asked(unit.question):
                    # A kill may have kept the folder from it.
                    self._put(unit, oracle.endpoint.model, _known(oracle, unit))
        share = BATCH_SHARE if self._job.batch else 1.0
        found = Estimate()
        for oracle in self._oracles:
            found += estimate(oracle, _questions(self._units(oracle)), self._expected_output(oracle), share)
        if self._adjudicator:
            disputes = _questions(unit for unit, _ in self._disputes())
            found += estimate(self._adjudicator, disputes, self._expected_output(self._adjudicator))
        return found

    async def run(self, progress: Progress, say: Callable[[str], None]) -> dict[str, Any]:
        """Ask what has not been asked, write the folder, and return its report.

        Where the job is stopped the report says why under `stopped`; an interruption writes the
        folder too.
        """
        stopped: OracleStoppedError | None = None
        settled: dict[str, Any] | None = None
        try:
            for oracle in self._oracles:
                async with oracle:
                    await self._label(oracle, progress, say)
            if self._adjudicator:
                async with self._adjudicator:
                    settled = await self._adjudicate(self._adjudicator, progress)
        except OracleStoppedError as error:
            stopped = error
        finally:
            report = self._report(stopped, settled)
            order = {item.id: number for number, item in enumerate(self._items)}
            refused = [failure_row(row.id, None, None, row.reason, row.message) for row in self._refused]
            self._folder.write(order, refused, report)
        return report

    def _expected_output(self, oracle: Oracle) -> int:
        past = self._calls.spending(oracle.endpoint.model)
        return past.usage.output // past.calls if past.calls else _OUTPUT_TOKENS_A_DIMENSION * len(self.lens.dimensions)

    def _units(self, oracle: Oracle) -> Iterator[_Unit]:
        for run in range(1, self._job.runs + 1):
            for item in self._items:
                yield _Unit(item, run, self._question(oracle, item, run))

    def _question(self, oracle: Oracle, item: Item, run: int) -> Question[BaseModel]:
        """Return the question of one reading: the first one, or the last of those that were asked in its place."""

        def attempt(number: int) -> Question[BaseModel]:
            sample = f"{run}.{number}" if number else f"{run}"
            return self._prompt.question(item.shown, sample=sample, strict=self._job.strict_quotes, id=item.id, run=run)

        number = 0
        while oracle.is_begun(attempt(number + 1)):
            number += 1
        asked = attempt(number)
        if self._job.retry_failed and oracle.is_asked(asked):
            try:
                oracle.reply(asked)
            except AnswerError:
                return attempt(number + 1)
        return asked

    async def _label(self, oracle: Oracle, progress: Progress, say: Callable[[str], None]) -> None:
        model = oracle.endpoint.model

        def done(unit: _Unit, result: Reply[BaseModel] | AnswerError) -> None:
            self._put(unit, model, result)
            progress(self._calls.spending(), not isinstance(result, AnswerError))

        if not self._job.batch:
            async for unit, result in each(_asking(oracle), self._units(oracle), oracle.endpoint.concurrency):
                done(unit, result)
            return
        units = list(self._units(oracle))
        folder = self._calls.path.parent
        failed = await ask_in_batches(oracle, list(_questions(units)), folder, poll=self._job.poll, say=say)
        for unit in units:
            call = oracle.open_call(unit.question)
            done(unit, _known(oracle, unit) if call is None else failed.get(call, _UNANSWERED))

    def _put(self, unit: _Unit, model: str, result: Reply[BaseModel] | AnswerError) -> None:
        if isinstance(result, AnswerError):
            row = failure_row(unit.item.id, model, unit.run, result.problem.value, str(result))
        else:
            row = reading_row(unit.item, self.lens, model, unit.run, judgement_of(result.parsed))
        self._folder.put(row)

    def _disputes(self) -> list[tuple[_Unit, list[str]]]:
        """Return the questions about articles on which readings differ, each with the oracles it is between."""
        items = {item.id: item for item in self._items}
        rows = {(row["id"], row["oracle"]): row for row in self._folder.readings.values()}
        apart = disagreements(self._folder.readings.values(), self.lens, self._job.apart)
        self._folder.adjudicated = {id_: row for id_, row in self._folder.adjudicated.items() if id_ in apart}
        disputes = []
        for id_, sides in apart.items():
            if id_ not in items:
                continue
            # The mean of the runs, beside the quotes of one of them.
            readings = [
                {**rows[id_, name], "dimensions": dict(zip(self.lens.dimension_names, scores, strict=True))}
                for name, scores in sides
            ]
            question = adjudication(self._prompt, items[id_], readings, strict=self._job.strict_quotes)
            disputes.append((_Unit(items[id_], 1, question), [name for name, _ in sides]))
        return disputes

    async def _adjudicate(self, oracle: Oracle, progress: Progress) -> dict[str, Any]:
        disputes = self._disputes()
        between = {unit.item.id: names for unit, names in disputes}
        model, failed = oracle.endpoint.model, Counter[str]()
        async for unit, result in each(_asking(oracle), [unit for unit, _ in disputes], oracle.endpoint.concurrency):
            if isinstance(result, AnswerError):
                failed[result.problem.value] += 1
            else:
                row = reading_row(unit.item, self.lens, model, 1, judgement_of(result.parsed))
                self._folder.adjudicated[unit.item.id] = adjudicated_row(row, between[unit.item.id])
            progress(self._calls.spending(), not isinstance(result, AnswerError))
        return {"oracle": model, "disagreements": len(disputes), "failed": dict(failed)}

    def _report(self, stopped: OracleStoppedError | None, settled: dict[str, Any] | None) -> dict[str, Any]:
        folder, lens = self._folder, self.lens
        now = self._calls.spending()
        labels = folder.labels()
        return {
            "filter": lens.name,
            "version": lens.version,
            "prompt_sha256": lens.prompt_sha256,
            "articles": len(self._items),
            "labelled_articles": len({row["id"] for row in labels}),
            "labels": len(labels),
            "refused": dict(Counter(row.reason for row in self._refused)),
            "oracles": {model: self._oracle_report(model) for model in self._calls.models},
            "adjudicated": len(folder.adjudicated),
            "adjudication": settled,
            "agreement": agreement(folder.readings.values(), lens),
            "spending": now.as_dict(),
            "this_run": {"calls": now.calls - self._before.calls, "usd": round(now.usd - self._before.usd, 6)},
            "stopped": stopped and {"reason": stopped.stop.value, "message": str(stopped)},
        }

    def _oracle_report(self, model: str) -> dict[str, Any]:
        rows = [row for row in self._folder.readings.values() if row["oracle"] == model]
        return {
            "readings": len(rows),
            "in_scope": sum(row["in_scope"] for row in rows),
            "failed": dict(Counter(row["reason"] for row in self._folder.failed.values() if row["oracle"] == model)),
            "spending": self._calls.spending(model).as_dict(),
        }


def _asking(oracle: Oracle) -> Callable[[_Unit], Awaitable[Reply[BaseModel]]]:
    async def ask(unit: _Unit) -> Reply[BaseModel]:
        return await oracle.answer(unit.question)

    return ask


def _known(oracle: Oracle, unit: _Unit) -> Reply[BaseModel] | AnswerError:
    try:
        return oracle.reply(unit.question)
    except AnswerError as error:
        return error


def _questions(units: Iterable[_Unit]) -> Iterator[Question[BaseModel]]:
    return (unit.question for unit in units)
