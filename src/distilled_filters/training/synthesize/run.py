"""One round of writing: wishes, articles, copies refused, and, by a label of their own, how well the writer did."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from distilled_filters.article import Article
from distilled_filters.corpus.sources import find_sources, read_corpus
from distilled_filters.decision import verdict
from distilled_filters.errors import RecordError, SettingError
from distilled_filters.files import write_json, write_json_lines
from distilled_filters.registry import newest_folder
from distilled_filters.spec import LensSpec
from distilled_filters.training.asking import ask_all, claim, failures_of
from distilled_filters.training.oracle.calls import Calls
from distilled_filters.training.oracle.client import Oracle, check_endpoint
from distilled_filters.training.oracle.costs import Estimate, Progress, estimate
from distilled_filters.training.oracle.prompt import Prompt, read_prompt
from distilled_filters.training.oracle.providers import Endpoint
from distilled_filters.training.prepare.duplicates import NEAR_COPY, CopyIndex, normalised
from distilled_filters.training.synthesize.gaps import LOOK_ALIKE, cells_of, count_cells, wishes
from distilled_filters.training.synthesize.question import Written, question

__all__ = ["STRATUM", "Job", "Writing", "compare", "opened"]

STRATUM = "synthetic"
# Tokens that an article takes, with its JSON.
_OUTPUT_TOKENS = 900

Row = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """What is to be written, by whom.

    Attributes:
        data: The data folder whose gaps are filled, and whose articles must not be copied.
        output: The folder of written articles; with another `seed` a folder of its own.
        filters: Folder of filter folders.
        filter: Name of the lens.
        writer: The model that writes; best another one than labels.
        count: How many articles.
        kinds: Tiers, or `look-alike`; None for all above the last tier.
        languages: None for all of the lens.
        seed: Of targets and settings.
    """

    data: Path
    output: Path
    filters: Path
    filter: str
    writer: Endpoint
    count: int = 100
    kinds: Sequence[str] | None = None
    languages: Sequence[str] | None = None
    seed: int = 0
    budget_usd: float | None = None


@contextmanager
def opened(job: Job) -> Iterator[Writing]:
    """Measure the gaps and take the output folder; nothing is asked yet.

    Raises:
        SettingError: for a kind or a language that the lens does not have, or a folder that holds other work.
    """
    prompt = read_prompt(newest_folder(job.filters, job.filter))
    known = [*(tier.name for tier in prompt.lens.tiers[:-1]), LOOK_ALIKE]
    for asked, among in ((job.kinds, known), (job.languages, prompt.lens.languages)):
        if unknown := set(asked or ()) - set(among):
            raise SettingError(f"{job.filter} has no {', '.join(sorted(unknown))}; it has {', '.join(among)}")
    check_endpoint(job.writer, job.budget_usd)
    claim(job.output, "synthesize", prompt.lens)
    with Calls(job.output / "raw") as calls:
        yield Writing(job, prompt, calls)


class Writing:
    """A job over its open journal."""

    def __init__(self, job: Job, prompt: Prompt, calls: Calls) -> None:
        """Make the wishes."""
        self._job, self.lens = job, prompt.lens
        self._oracle = Oracle(job.writer, calls, job.budget_usd)
        cells = cells_of(prompt.lens, job.kinds, job.languages)
        counts = count_cells(job.data, prompt.lens)
        self.gaps = {cell: counts[cell] for cell in cells}
        self._wishes = wishes(prompt.lens, counts, cells, job.count, job.seed)
        self._questions = [question(prompt, wish, job.seed) for wish in self._wishes]

    @property
    def questions(self) -> int:
        """How many articles are wished for, those included that are written."""
        return len(self._questions)

    def estimate(self) -> Estimate:
        """Say what will be asked and about what that costs; labels come on top."""
        return estimate(self._oracle, self._questions, _OUTPUT_TOKENS)

    async def run(self, progress: Progress) -> dict[str, Any]:
        """Ask, refuse copies, write the folder, and return the report; `stopped` says why one ended early."""
        answers, stopped = await ask_all(self._oracle, self._questions, progress)
        rows = [
            self._row(wish, answer)
            for wish, answer in zip(self._wishes, answers, strict=True)
            if isinstance(answer, Written)
        ]
        kept, refused = without_copies(rows, _texts(self._job.data))
        write_json_lines(self._job.output / "articles.jsonl", kept)
        write_json_lines(self._job.output / "refused.jsonl", refused)
        report = {
            "filter": self.lens.name,
            "prompt_sha256": self.lens.prompt_sha256,
            "writer": self._job.writer.model,
            "seed": self._job.seed,
            "gaps": [{"kind": kind, "language": language, "has": has} for (kind, language), has in self.gaps.items()],
            "asked": self.questions,
            "written": len(kept),
            "by_kind": dict(Counter(row["target"]["kind"] for row in kept)),
            "by_language": dict(Counter(row["language"] for row in kept)),
            "near_copies": len(refused),
            **failures_of(answers),
            "spending": self._oracle.calls.spending().as_dict(),
            "stopped": stopped and {"reason": stopped.stop.value, "message": str(stopped)},
        }
        write_json(self._job.output / "synthesize.json", report)
        return report

    def _row(self, wish: Any, written: Written) -> Row:
        digest = hashlib.sha256(f"{written.title}\n{written.content}".encode()).hexdigest()[:12]
        scores = dict(zip(self.lens.dimension_names, wish.scores, strict=True))
        return {
            "id": f"synthetic_{self.lens.name}_{digest}", "title": written.title, "content": written.content,
            "language": wish.language, "stratum": STRATUM, "origin": f"written by {self._job.writer.model}",
            "target": {"filter": self.lens.name, "kind": wish.kind, "dimensions": scores},
        }  # fmt: skip


def without_copies(rows: Sequence[Row], texts: Sequence[str]) -> tuple[list[Row], list[Row]]:
    """Part rows into those that copy nothing and those that copy a text or one another, with the similarity."""
    index = CopyIndex(NEAR_COPY)
    for text in tqdm(texts, desc="articles", unit="article", disable=None):
        index.add(text)
    kept: list[Row] = []
    refused: list[Row] = []
    for row in rows:
        pairs = index.add(normalised(Article.parse(row)))
        if pairs:
            refused.append({**row, "similarity": round(max(pair.similarity or 0.0 for pair in pairs), 3)})
        else:
            kept.append(row)
    return kept, refused


def compare(rows: Sequence[Row], labels: Sequence[Mapping[str, Any]], lens: LensSpec) -> dict[str, Any]:
    """Return how far independent labels are from the targets: by kind the share that got what was wished, and errors.

    A look-alike got what it was to get when its label is of the last tier.
    """
    by_id: dict[str, list[list[float]]] = {}
    for label in labels:
        by_id.setdefault(label["id"], []).append([label["dimensions"][name] for name in lens.dimension_names])
    report: dict[str, Any] = {"labelled": 0, "kinds": {}}
    hits: dict[str, list[bool]] = {}
    errors = []
    for row in rows:
        if row["id"] not in by_id:
            continue
        scores = np.mean(by_id[row["id"]], axis=0).tolist()
        target = [row["target"]["dimensions"][name] for name in lens.dimension_names]
        kind, (average, tier) = row["target"]["kind"], verdict(scores, lens)
        wanted = lens.tiers[-1].name if kind == LOOK_ALIKE else kind
        hits.setdefault(kind, []).append(tier == wanted)
        errors.append(abs(average - verdict(target, lens)[0]))
    report["labelled"] = len(errors)
    report["average_mae"] = round(float(np.mean(errors)), 3) if errors else None
    report["kinds"] = {
        kind: {"n": len(each), "as_wished": round(float(np.mean(each)), 3)} for kind, each in hits.items()
    }
    return report


def _texts(data: Path) -> list[str]:
    """Return the texts of a data folder, labelled or not."""
    names = [str(path) for name in ("articles.jsonl", "unlabelled.jsonl") if (path := data / name).is_file()]
    texts = []
    for record in read_corpus(find_sources(names)):
        try:
            texts.append(normalised(Article.parse(record.value)))
        except RecordError:
            continue
    return texts
