"""One judging: cases chosen, a judge asked, findings written; the same command again goes on where it ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distilled_filters.errors import RecordError, SettingError, SpecError
from distilled_filters.files import write_json, write_json_lines
from distilled_filters.filter import Filter
from distilled_filters.registry import newest_folder
from distilled_filters.training.asking import ask_all, claim, failures_of
from distilled_filters.training.judge.cases import SPLITS, Case, by_stand_in, by_student, doubtful, read_labelled_rows
from distilled_filters.training.judge.findings import Advice, Finding, weak_spots
from distilled_filters.training.judge.question import opinion_of, question
from distilled_filters.training.oracle.calls import Calls
from distilled_filters.training.oracle.client import Oracle, check_endpoint
from distilled_filters.training.oracle.costs import Estimate, Progress, estimate
from distilled_filters.training.oracle.errors import AnswerError
from distilled_filters.training.oracle.prompt import Prompt, read_prompt
from distilled_filters.training.oracle.providers import Endpoint

__all__ = ["Job", "Judging", "opened"]

# What an answer takes: a score a dimension, two of fit, and a sentence.
_OUTPUT_TOKENS = 200


@dataclass(frozen=True)
class Job:
    """What is to be judged, by whom.

    Attributes:
        data: A data folder.
        output: The folder of findings.
        filters: Folder of filter folders.
        filter: Name of the lens.
        judge: The model to ask; best another one than the oracle.
        count: How many articles.
        splits: Which splits they may be of.
        before_training: Whether a lens without a student may be judged, with a simple stand-in.
    """

    data: Path
    output: Path
    filters: Path
    filter: str
    judge: Endpoint
    count: int = 100
    splits: Sequence[str] = SPLITS
    before_training: bool = False
    budget_usd: float | None = None


@contextmanager
def opened(job: Job) -> Iterator[Judging]:
    """Choose the cases and take the output folder; nothing is asked yet.

    Raises:
        SettingError: when the lens has no student and nobody asked for a judgement before training, or
            the folder holds other work.
    """
    check_endpoint(job.judge, job.budget_usd)
    folder = newest_folder(job.filters, job.filter)
    prompt, cases, student = _cases(job, folder)
    claim(job.output, "judge", prompt.lens)
    with Calls(job.output / "raw") as calls:
        yield Judging(job, prompt, cases, student, calls)


class Judging:
    """A job over its open journal."""

    def __init__(self, job: Job, prompt: Prompt, cases: Sequence[Case], student: str, calls: Calls) -> None:
        """Make the questions; articles that cannot be shown are left out."""
        self._job, self._prompt, self._student = job, prompt, student
        self._oracle = Oracle(job.judge, calls, job.budget_usd)
        self._cases, self._questions = [], []
        for case in cases:
            try:
                self._questions.append(question(prompt, case))
            except RecordError:
                continue
            self._cases.append(case)

    @property
    def questions(self) -> int:
        """How many articles are judged, those included that were before."""
        return len(self._questions)

    def estimate(self) -> Estimate:
        """Say what will be asked and about what that costs."""
        return estimate(self._oracle, self._questions, _OUTPUT_TOKENS)

    async def run(self, progress: Progress) -> dict[str, Any]:
        """Ask, write the findings, and return the report; one that was stopped says why under `stopped`."""
        answers, stopped = await ask_all(self._oracle, self._questions, progress)
        lens = self._prompt.lens
        findings = [
            Finding(case, opinion_of(answer, case), lens)
            for case, answer in zip(self._cases, answers, strict=True)
            if answer is not None and not isinstance(answer, AnswerError)
        ]
        report = {
            "filter": lens.name,
            "version": lens.version,
            "student": self._student,
            "judge": self._job.judge.model,
            "prompt_sha256": lens.prompt_sha256,
            "splits": list(self._job.splits),
            "asked": self.questions,
            "judged": len(findings),
            **failures_of(answers),
            "advice": {advice.value: sum(each.advice is advice for each in findings) for advice in Advice},
            "weak_spots": weak_spots(findings, lens),
            "spending": self._oracle.calls.spending().as_dict(),
            "stopped": stopped and {"reason": stopped.stop.value, "message": str(stopped)},
        }
        self._write(findings, report)
        return report

    def _write(self, findings: Sequence[Finding], report: dict[str, Any]) -> None:
        output, lens = self._job.output, self._prompt.lens
        advised = {advice: [each for each in findings if each.advice is advice] for advice in Advice}
        write_json_lines(output / "judged.jsonl", (each.as_row() for each in findings))
        # Articles again, as `distillery label --source` reads them.
        write_json_lines(output / "relabel.jsonl", (each.case.row for each in advised[Advice.RELABEL]))
        # Labels, as `distillery prepare --labels` reads them.
        write_json_lines(
            output / "replace.jsonl",
            (
                {
                    "id": each.case.row["id"], "filter": lens.name, "oracle": self._job.judge.model,
                    "dimensions": dict(zip(lens.dimension_names, each.opinion.scores, strict=True)),
                    "prompt_sha256": lens.prompt_sha256,
                }
                for each in advised[Advice.REPLACE]
            ),
        )  # fmt: skip
        write_json_lines(
            output / "drop.jsonl",
            ({"id": each.case.row["id"], "reason": each.opinion.reason} for each in advised[Advice.DROP]),
        )
        write_json(output / "judge.json", report)


def _cases(job: Job, folder: Path) -> tuple[Prompt, list[Case], str]:
    prompt = read_prompt(folder)
    try:
        student = Filter(folder)
    except SpecError as error:
        if not job.before_training:
            raise SettingError(
                f"{job.filter} has no trained student yet ({error}). Train first: what a student gets wrong shows "
                "which labels are worth a judge's time. --before-training judges labels against a simple stand-in"
            ) from error
        labelled = read_labelled_rows(job.data, prompt.lens, job.splits)
        return prompt, doubtful(list(by_stand_in(prompt.lens, labelled)), job.count), "tfidf_ridge"
    labelled = read_labelled_rows(job.data, prompt.lens, job.splits)
    name = f"{student.name} {student.version}, {student.checkpoint}"
    return prompt, doubtful(list(by_student(student, labelled)), job.count), name
