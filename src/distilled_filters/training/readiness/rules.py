"""The 35 demands, five a section, and how each is decided: by what was measured, or by a person's answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from distilled_filters.training.readiness.answers import GUIDE, QUESTIONS, Answers
from distilled_filters.training.readiness.facts import HELD_OUT, NATURAL, Facts, LensFacts
from distilled_filters.training.readiness.limits import (
    AGREEMENT,
    ALIKE,
    COPIES,
    EDGES,
    FEWEST,
    HELD_OUT_LEAST,
    HELD_OUT_MOST,
    HELD_OUT_POSITIVES,
    KAPPA,
    OF_EACH_TIER,
    OF_LANGUAGE,
    OF_NATURAL,
    POSITIVES,
    PREFERRED,
    READ_TWICE,
    REFUSED,
    REVIEWED,
    VOLUME,
)

__all__ = ["RULES", "UNANSWERED", "Outcome", "failing"]

UNANSWERED = "not answered"
"""Who says so, where nobody did."""

_DAYS = 365


@dataclass(frozen=True)
class Outcome:
    """Whether a demand is met, why, and who says so: `measured`, `answered` or `not answered`."""

    given: bool
    why: str
    source: str = "measured"


_Rule = Callable[[Facts, Answers], Outcome]


def failing(facts: Facts, holds: Callable[[LensFacts], object], shown: Callable[[LensFacts], str]) -> str:
    """Name the lenses of which something does not hold, with what is shown of each; empty where it holds of all."""
    return ", ".join(f"{lens.name} {shown(lens)}".rstrip() for lens in facts.lenses if not holds(lens))


def _every(holds: Callable[[LensFacts], object], shown: Callable[[LensFacts], str], good: str, bad: str) -> _Rule:
    """Demand something of every lens; the reason names those that fail."""

    def rule(facts: Facts, _: Answers) -> Outcome:
        without = failing(facts, holds, shown)
        return Outcome(not without, f"{bad}: {without}" if without else good)

    return rule


def _unanswered(key: str) -> Outcome:
    return Outcome(False, f"`{key}`: {QUESTIONS[key]}", UNANSWERED)


def _asked(key: str, yes: str, no: str) -> _Rule:
    """Take a person's word for it."""

    def rule(_: Facts, answers: Answers) -> Outcome:
        value = getattr(answers, key)
        if value is None:
            return _unanswered(key)
        return Outcome(bool(value), yes if value else no, "answered")

    return rule


def _known(key: str, unit: str) -> _Rule:
    """Demand that a figure is known, whatever it is."""

    def rule(_: Facts, answers: Answers) -> Outcome:
        value = getattr(answers, key)
        if value is None:
            return _unanswered(key)
        return Outcome(True, f"{value:,g} {unit}", "answered")

    return rule


def _need(_: Facts, answers: Answers) -> Outcome:
    if answers.need is None:
        return _unanswered("need")
    advice = GUIDE[answers.need]
    return Outcome(advice.trains, f"{answers.need}: {advice.remedy}", "answered")


def _prompted(facts: Facts, answers: Answers) -> Outcome:
    known = {
        lens.name: lens.agreement
        for lens in facts.lenses
        if lens.agreement and lens.agreement["articles"] >= READ_TWICE
    }
    if len(known) < len(facts.lenses):
        return _asked("prompt_works", "it does, by your own look", "it does not: mend the prompt first")(facts, answers)
    unsure = failing(
        facts,
        lambda lens: _agrees(known[lens.name]),
        lambda lens: f"{known[lens.name]['tier_agreement']:.1%}, kappa {known[lens.name]['tier_kappa']}",
    )
    demand = f"on {AGREEMENT:.0%} of the tiers, with a kappa of {KAPPA}"
    return Outcome(
        not unsure,
        f"two readings do not agree {demand}: {unsure}" if unsure else f"two readings agree {demand}, for every lens",
    )


def _agrees(found: Mapping[str, Any]) -> bool:
    kappa = found["tier_kappa"]
    return bool(found["tier_agreement"] >= AGREEMENT and (kappa is None or kappa >= KAPPA))


def _volume(_: Facts, answers: Answers) -> Outcome:
    count = answers.articles_per_day
    if count is None:
        return _unanswered("articles_per_day")
    return Outcome(count >= VOLUME, f"{count:,g} articles a day; under {VOLUME} a prompt is simpler", "answered")


def _success(facts: Facts, answers: Answers) -> Outcome:
    if facts.gates:
        return Outcome(True, "gates.toml demands figures before a release")
    return _asked("success", "written down, you say", "nobody wrote down which figures would do")(facts, answers)


def _natural(facts: Facts, _: Answers) -> Outcome:
    count = facts.strata.get(NATURAL, 0)
    share = count / facts.labelled
    return Outcome(count >= OF_NATURAL, f"{count:,} of {facts.labelled:,} labelled articles ({share:.0%}) are of the "
                    f"stratum {NATURAL!r}; {OF_NATURAL} are demanded")  # fmt: skip


def _readable(facts: Facts, _: Answers) -> Outcome:
    refused = sum(facts.refused.values())
    bad = refused / (facts.articles + refused)
    copies = (facts.copies.exact + facts.copies.near) / facts.articles
    return Outcome(
        bad <= REFUSED and copies <= COPIES,
        f"the filters refuse {bad:.1%} of the rows ({REFUSED:.0%} at most) and {copies:.1%} are copies "
        f"({COPIES:.0%} at most)",
    )


def _private(facts: Facts, answers: Answers) -> Outcome:
    found = facts.privacy
    if found is None:
        return Outcome(False, "not searched")
    if found.affected == 0:
        return Outcome(True, "none was found")
    if found.masked is not None:
        return Outcome(True, f"found in {found.affected:,} articles and masked in {found.masked}; train on that file")
    if answers.personal_data_settled is not None:
        word = "may" if answers.personal_data_settled else "may not"
        return Outcome(answers.personal_data_settled, f"found in {found.affected:,} articles; it {word} stay, you say",
                        "answered")  # fmt: skip
    return Outcome(False, f"found in {found.affected:,} of {found.articles:,} articles; write a masked copy with "
                    "--mask, or answer personal_data_settled")  # fmt: skip


def _held_out(facts: Facts, _: Answers) -> Outcome:
    if not facts.splits:
        return Outcome(False, "the rows name no split; `distillery prepare` holds 20% out")
    share = sum(facts.splits.get(split, 0) for split in HELD_OUT) / sum(facts.splits.values())
    low, high = HELD_OUT_LEAST, HELD_OUT_MOST
    return Outcome(low <= share <= high, f"{share:.1%} are held out for validation and test; about 20% is right "
                    f"({low:.0%} to {high:.0%})")  # fmt: skip


def _leaks(facts: Facts, _: Answers) -> Outcome:
    if not facts.splits:
        return Outcome(False, "the rows name no split")
    count = facts.copies.leaks
    return Outcome(not count, f"groups of copies in two splits: {count:,}" if count else "no copies lie in two splits")


def _reviewed(facts: Facts, answers: Answers) -> Outcome:
    share = facts.reviewed / facts.labelled
    if facts.reviewed:
        return Outcome(share >= REVIEWED, f"rows say that {share:.1%} were reviewed; {REVIEWED:.0%} are demanded")
    if answers.reviewed_share is None:
        return _unanswered("reviewed_share")
    return Outcome(answers.reviewed_share >= REVIEWED, f"{answers.reviewed_share:.1%}, you say; {REVIEWED:.0%} are "
                    "demanded", "answered")  # fmt: skip


def _edges(facts: Facts, _: Answers) -> Outcome:
    few = failing(facts, lambda lens: (lens.edges["near_boundary"] or 0) >= EDGES,
                   lambda lens: f"{lens.edges['near_boundary']}")  # fmt: skip
    return Outcome(not few, f"fewer than {EDGES} articles within a point of the medium boundary: {few}" if few else
                    f"every lens has {EDGES} articles or more within a point of the medium boundary")  # fmt: skip


def _languages(facts: Facts, _: Answers) -> Outcome:
    few = [
        f"{name} {facts.languages.get(name, 0)}" for name in facts.wanted if facts.languages.get(name, 0) < OF_LANGUAGE
    ]
    return Outcome(not few, f"fewer than {OF_LANGUAGE} labelled articles: {', '.join(few)}" if few else
                    f"each of {', '.join(facts.wanted)} has {OF_LANGUAGE} labelled articles or more")  # fmt: skip


def _pays(_: Facts, answers: Answers) -> Outcome:
    keys = ("labelling_usd", "training_usd", "oracle_usd_per_1000", "student_usd_per_1000", "articles_per_day")
    missing = [key for key in keys if getattr(answers, key) is None]
    if missing:
        return Outcome(False, f"cannot be computed without {', '.join(missing)}", UNANSWERED)
    spent, saved = _payback(answers)
    days = spent / saved if saved > 0 else inf
    return Outcome(days <= _DAYS, f"{spent:,.0f} USD spent, {saved:,.2f} USD saved a day: "
                    + (f"paid back in {days:,.0f} days" if days < inf else "never paid back"), "answered")  # fmt: skip


def _payback(answers: Answers) -> tuple[float, float]:
    """Return what is spent, and what is saved a day, in USD."""
    saved = (answers.oracle_usd_per_1000 or 0) - (answers.student_usd_per_1000 or 0)
    return (answers.labelling_usd or 0) + (answers.training_usd or 0), saved / 1000 * (answers.articles_per_day or 0)


def _named(facts: Facts, _: Answers) -> Outcome:
    named = sum(facts.oracles.values())
    others = failing(
        facts, lambda lens: not lens.prompts, lambda lens: f"({', '.join(each[:12] for each in lens.prompts)})"
    )
    if others:
        return Outcome(False, f"labels come from another prompt than the spec's: {others}")
    return Outcome(named == facts.label_rows, f"{named:,} of {facts.label_rows:,} label rows name their oracle")


def _card(facts: Facts, _: Answers) -> Outcome:
    if facts.card_holds is None:
        return Outcome(False, "there is no data card; `distillery prepare` writes one")
    return Outcome(facts.card_holds, "data.json has the digests of these files" if facts.card_holds else
                    "data.json is of other files; run `distillery prepare` again")  # fmt: skip


_Rules = tuple[tuple[str, _Rule], ...]
RULES: dict[str, _Rules] = {
    "decision": (
        ("training a student is the answer to the need", _need),
        ("a prompted model can do the task", _prompted),
        ("there is enough to score", _volume),
        ("the question holds still", _asked("stable", "for half a year, you say", "it will change, and the labels")),
        ("what counts as success is written down", _success),
    ),
    "data": (
        (f"{FEWEST} labelled articles or more", _every(
            lambda lens: lens.labelled >= FEWEST, lambda lens: f"{lens.labelled:,}",
            f"every lens has {FEWEST} or more ({PREFERRED:,} are preferred)", f"fewer than {FEWEST}")),
        (f"{POSITIVES} articles of medium and above", _every(
            lambda lens: lens.reaching["all"] >= POSITIVES, lambda lens: f"{lens.reaching['all']}",
            f"every lens has {POSITIVES} or more", f"fewer than {POSITIVES}")),
        ("articles as production has them", _natural),
        ("readable rows, few copies", _readable),
        ("personal data is masked or settled", _private),
    ),
    "evaluation": (
        ("20% held out", _held_out),
        ("no copy on both sides of a split", _leaks),
        (f"{HELD_OUT_POSITIVES} held-out articles of medium and above", _every(
            lambda lens: lens.reaching["held_out"] >= HELD_OUT_POSITIVES, lambda lens: f"{lens.reaching['held_out']}",
            f"every lens has {HELD_OUT_POSITIVES} or more", f"fewer than {HELD_OUT_POSITIVES}")),
        ("the oracle's own noise is known", _every(
            lambda lens: lens.agreement and lens.agreement["articles"] >= READ_TWICE,
            lambda lens: f"{lens.agreement['articles'] if lens.agreement else 0}",
            f"{READ_TWICE} articles or more were read twice", f"fewer than {READ_TWICE} articles read twice")),
        ("experts have looked at labels", _reviewed),
    ),
    "method": (
        ("dimensions say different things", _every(
            lambda lens: lens.redundancy and lens.redundancy.first_component < ALIKE,
            lambda lens: f"{lens.redundancy.first_component:.0%}" if lens.redundancy else "(too few in scope)",
            f"no lens has {ALIKE:.0%} of its variance on one component",
            f"{ALIKE:.0%} of the variance or more lies on one component")),
        ("labels use the whole scale", _every(
            lambda lens: min(lens.tiers.values()) >= OF_EACH_TIER,
            lambda lens: "/".join(f"{count} {tier}" for tier, count in lens.tiers.items()),
            f"every tier of every lens has {OF_EACH_TIER} articles or more",
            f"a tier with fewer than {OF_EACH_TIER} articles")),
        ("edge cases are there", _edges),
        ("every language is there", _languages),
        ("a student beats simple words", _every(
            lambda lens: lens.release.beats_baseline,
            lambda lens: "(no student yet)" if lens.release.beats_baseline is None else
            f"{lens.release.student['medium_average_precision']:.2f} against "
            f"{lens.release.baseline['medium_average_precision']:.2f}",
            "every student ranks medium and above better than TF-IDF ridge",
            "average precision at medium not above TF-IDF ridge's")),
    ),
    "cost": (
        ("the labels' cost is known", _known("labelling_usd", "USD for all labels")),
        ("the training's cost is known", _known("training_usd", "USD for training")),
        ("the student's running cost is known", _known("student_usd_per_1000", "USD for 1,000 articles")),
        ("it pays back within a year", _pays),
        ("upkeep is paid for", _asked("upkeep", "planned, you say", "nobody will pay for new labels")),
    ),
    "versioning": (
        ("the prompt is the one in the spec", _every(
            lambda lens: lens.release.prompt_holds,
            lambda lens: "(none)" if lens.release.prompt_holds is None else "(another digest)",
            "every prompt.md has the digest that its spec names", "prompt.md is not what the spec names")),
        ("labels name their oracle and prompt", _named),
        ("data has a card with digests", _card),
        ("reference articles are kept", _every(
            lambda lens: lens.release.golden, lambda lens: "", "every filter has golden.jsonl", "no golden.jsonl")),
        ("figures belong to the weights", _every(
            lambda lens: lens.release.metrics_hold,
            lambda lens: "(none)" if lens.release.metrics_hold is None else "(of another head)",
            "every metrics.json names the head it measured", "no metrics.json of these weights")),
    ),
    "monitoring": (
        ("there is a reference distribution", _every(
            lambda lens: lens.release.percentiles, lambda lens: "", "every filter has percentiles.json",
            "no percentiles.json")),
        ("drift will be seen", _asked("drift", "it will, you say", "nobody would notice")),
        ("readers can object", _asked("feedback", "they can, you say", "they cannot")),
        ("it is known when to train again", _asked("retrain_when", "written down, you say", "nobody wrote it down")),
        ("somebody owns the filter", _asked("owner", "somebody does, you say", "nobody does")),
    ),
}  # fmt: skip
"""Each demand with its rule, by section."""
