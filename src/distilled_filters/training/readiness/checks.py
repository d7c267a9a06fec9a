"""What was found in the data, check by check: good, worth a look, or bad, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from distilled_filters.training.readiness import limits
from distilled_filters.training.readiness.answers import Answers
from distilled_filters.training.readiness.facts import HELD_OUT, NATURAL, Facts, LensFacts

__all__ = ["Check", "Status", "checks"]


class Status(StrEnum):
    """How a check ended."""

    GOOD = "good"
    LOOK = "look"
    BAD = "bad"


@dataclass(frozen=True)
class Check:
    """One check: what was found, and what to do where it is not good."""

    name: str
    status: Status
    found: str
    advice: str

    @property
    def rank(self) -> int:
        """Where it stands in a list that has the worst first."""
        return [Status.BAD, Status.LOOK, Status.GOOD].index(self.status)


def checks(facts: Facts, answers: Answers) -> list[Check]:
    """Return every check in reading order."""
    return [
        _check(name, *result)
        for name, result in (
            ("examples", _examples(facts)),
            ("natural distribution", _natural(facts)),
            ("format as in production", _format(facts)),
            ("held out", _held_out(facts)),
            ("copies", _copies(facts)),
            ("expert review", _reviewed(facts, answers)),
            ("edge cases", _edges(facts)),
            ("personal data", _privacy(facts)),
            ("languages", _languages(facts)),
            ("sources", _sources(facts)),
            ("labels over the scale", _histogram(facts)),
            ("dimensions", _dimensions(facts)),
            ("the oracle with itself", _agreement(facts)),
            *([("more labels", _curve(facts))] if facts.curve else []),
        )
    ]


_Result = tuple[Status, str, str]


def _check(name: str, status: Status, found: str, advice: str) -> Check:
    return Check(name, status, found, "" if status is Status.GOOD else advice)


def _graded(bad: object, look: object) -> Status:
    return Status.BAD if bad else Status.LOOK if look else Status.GOOD


def _examples(facts: Facts) -> _Result:
    (count, where), (positives, poorest), (real, rarest) = (
        _least(facts, measure)
        for measure in (
            lambda lens: lens.labelled,
            lambda lens: lens.reaching["all"],
            lambda lens: lens.reaching["real"],
        )
    )
    return (
        _graded(count < limits.FEWEST, count < limits.PREFERRED or min(positives, real) < limits.POSITIVES),
        f"{count:,} labelled articles for {where}; of medium and above {positives:,} for {poorest}; real ones among "
        f"these {real:,} for {rarest}",
        f"label until every lens has {limits.PREFERRED:,} articles and {limits.POSITIVES} real ones of medium or above",
    )


def _natural(facts: Facts) -> _Result:
    count = facts.strata.get(NATURAL, 0)
    drawn = [lens.yields[NATURAL] for lens in facts.lenses if NATURAL in lens.yields]
    rates = [each["reaching"] / each["labelled"] for each in drawn]
    rate = f"; {min(rates):.1%} to {max(rates):.1%} of them reach medium" if rates else ""
    return (
        _graded(count == 0, count < limits.OF_NATURAL),
        f"{count:,} of {facts.labelled:,} labelled articles were drawn at random{rate}",
        f"draw {limits.OF_NATURAL} articles at random from production, label them, and say stratum = {NATURAL!r}: "
        "without them no rate can be known",
    )


def _format(facts: Facts) -> _Result:
    refused = sum(facts.refused.values())
    share = refused / (facts.articles + refused)
    why = f" ({_listed(facts.refused)})" if refused else ""
    labels = f"; {sum(facts.bad_labels.values()):,} label rows are unusable" if facts.bad_labels else ""
    return (
        _graded(share > limits.REFUSED, facts.bad_labels),
        f"rows that the filters' own preprocessing refuses: {refused:,}, {share:.1%}{why}; {facts.truncated:.0%} of "
        f"the rest are longer than the {facts.window} tokens read{labels}",
        "deliver articles as production does: whole text, no summaries; `distillery prepare` lists each row it rejects",
    )


def _held_out(facts: Facts) -> _Result:
    total = sum(facts.splits.values())
    if not total:
        return Status.LOOK, "the rows name no split", "`distillery prepare` holds 20% out, copies together"
    share = sum(facts.splits.get(split, 0) for split in HELD_OUT) / total
    fair = limits.HELD_OUT_LEAST <= share <= limits.HELD_OUT_MOST
    poor = [lens.name for lens in facts.lenses if lens.reaching["held_out"] < limits.HELD_OUT_POSITIVES]
    few = f"; under {limits.HELD_OUT_POSITIVES} of medium and above for {', '.join(poor)}" if poor else ""
    return (
        _graded(share == 0, not fair or poor),
        f"{share:.1%} are held out ({_listed(facts.splits)}){few}",
        "hold out 20%; label more articles of medium and above before you believe the figures",
    )


def _copies(facts: Facts) -> _Result:
    found = facts.copies
    share = (found.exact + found.near) / facts.articles
    return (
        _graded(found.leaks, share > limits.COPIES or found.contradictions),
        f"exact copies: {found.exact:,}; pairs of near copies: {found.near:,}; groups in two splits: {found.leaks:,}; "
        f"pairs labelled with different tiers: {found.contradictions:,}",
        "`distillery prepare` keeps copies on one side; label again the pairs that contradict each other",
    )


def _reviewed(facts: Facts, answers: Answers) -> _Result:
    share = facts.reviewed / facts.labelled
    said = answers.reviewed_share
    known = share if facts.reviewed or said is None else said
    found = f"rows that say `reviewed`: {facts.reviewed:,} ({share:.1%})"
    return (
        _graded(False, known < limits.REVIEWED),
        found if known == share else f"{found}; {said:.1%}, you say",
        f"let somebody who knows the lens read {limits.REVIEWED:.0%} of the labels, the highest first; "
        "say reviewed = true in the article's row, or reviewer",
    )


def _edges(facts: Facts) -> _Result:
    near, where = _least(facts, lambda lens: lens.edges["near_boundary"] or 0)
    gated = {lens.name: count for lens in facts.lenses if (count := lens.edges["gated"]) is not None}
    gates = f"; the gate held back {_listed(gated)}" if gated else ""
    return (
        _graded(near == 0, near < limits.EDGES or 0 in gated.values()),
        f"{near:,} articles within {limits.NEAR:g} point of the medium boundary for {where}{gates}; "
        f"{facts.short:,} articles are shorter than 200 characters",
        "label look-alikes: articles that are nearly, but not, what the lens asks for",
    )


def _privacy(facts: Facts) -> _Result:
    found = facts.privacy
    if found is None:
        return Status.LOOK, "not searched", "leave --no-pii away"
    kinds = _listed({kind.lower().replace("_", " "): count for kind, count in found.findings.most_common()})
    return (
        _graded(False, found.affected and found.masked is None),
        f"in {found.affected:,} of {found.articles:,} articles"
        + (f" ({kinds})" if kinds else "")
        + (f"; masked in {found.masked}" if found.masked else ""),
        "write a masked copy with --mask and train on it, or know why it may stay. Names are not looked for",
    )


def _languages(facts: Facts) -> _Result:
    missing = [name for name in facts.wanted if facts.languages.get(name, 0) == 0]
    few = [name for name in facts.wanted if facts.languages.get(name, 0) < limits.OF_LANGUAGE]
    largest, count = next(iter(facts.languages.items()))
    return (
        _graded(missing, few or count / facts.labelled > limits.LARGEST_LANGUAGE),
        f"{_listed(facts.languages)}; the most, {largest}, is {count / facts.labelled:.0%}",
        f"label {limits.OF_LANGUAGE} articles or more of {', '.join(few) or 'the others'}, or promise fewer languages",
    )


def _sources(facts: Facts) -> _Result:
    stated = {name: count for name, count in facts.sources.items() if name != "unstated"}
    if not stated:
        return (
            Status.LOOK,
            "no row names its source",
            "say where articles come from: a student may learn the source",
        )
    largest, count = next(iter(stated.items()))
    leaning = [
        f"{lens.name} {lens.top_source[1]:.0%} {lens.top_source[0]}"
        for lens in facts.lenses
        if lens.top_source and lens.top_source[1] > limits.SOURCE_OF_POSITIVES
    ]
    lean = f"; real articles of medium and above lean on one source: {', '.join(leaning)}" if leaning else ""
    return (
        _graded(False, count / facts.labelled > limits.LARGEST_SOURCE or leaning),
        f"{len(stated):,} sources; the largest, {largest}, is {count / facts.labelled:.0%}{lean}",
        "add positives of other sources, or look-alikes of the same one: a student may learn the source instead",
    )


def _histogram(facts: Facts) -> _Result:
    thin = [lens.name for lens in facts.lenses if min(lens.tiers.values()) < limits.OF_EACH_TIER]
    holes = [lens.name for lens in facts.lenses if sum(count == 0 for count in lens.histogram) > limits.EMPTY_BINS]
    tiers = "; ".join(f"{lens.name} {' / '.join(map(str, lens.tiers.values()))}" for lens in facts.lenses)
    return (
        _graded(False, thin or holes),
        f"articles by tier, best first: {tiers}",
        "search for such articles: "
        + "; ".join(
            [f"under {limits.OF_EACH_TIER} in a tier of {name}" for name in thin]
            + [f"more than {limits.EMPTY_BINS} points of the scale are empty for {name}" for name in holes]
        ),
    )


def _dimensions(facts: Facts) -> _Result:
    known = {lens.name: lens.redundancy for lens in facts.lenses if lens.redundancy}
    if not known:
        return Status.LOOK, "too few articles in scope to compare dimensions", "label more articles in scope"
    alike = [name for name, each in known.items() if each.first_component >= limits.ALIKE]
    pairs = [each.closest for each in known.values() if abs(each.closest[2]) >= limits.ALIKE_PAIR]
    shares = {name: f"{each.first_component:.0%}" for name, each in known.items()}
    close = "; ".join(f"{one} and {other} {value:.2f}" for one, other, value in pairs)
    return (
        _graded(False, alike or pairs),
        f"variance on the first component: {_listed(shares)}" + (f"; nearly the same: {close}" if close else ""),
        "a dimension that follows another adds cost and no information: merge the two, or sharpen the prompt's anchors",
    )


def _agreement(facts: Facts) -> _Result:
    known = {lens.name: lens.agreement for lens in facts.lenses if lens.agreement}
    if not known:
        return (
            Status.LOOK,
            "no article was read twice",
            f"label {limits.READ_TWICE} articles a second time",
        )
    fewest = min(each["articles"] for each in known.values())
    tiers, kappas = (
        {name: each[key] for name, each in known.items() if each[key] is not None}
        for key in ("tier_agreement", "tier_kappa")
    )
    worst = min(tiers, key=lambda name: tiers[name])
    vague = min(kappas, key=lambda name: kappas[name], default="")
    kappa = f", by kappa {vague} {kappas[vague]:.2f}" if kappas else ""
    errors = {name: f"{each['average_mae']:.2f}" for name, each in known.items()}
    unsure = tiers[worst] < limits.AGREEMENT or (kappas and kappas[vague] < limits.KAPPA)
    return (
        _graded(unsure, fewest < limits.READ_TWICE or len(known) < len(facts.lenses)),
        f"{fewest:,} articles or more were read twice; readings differ by {_listed(errors)} in the weighted average; "
        f"least agreement on the tier: {worst} {tiers[worst]:.1%}{kappa}",
        "mend the prompt's scope and anchors where readings differ, before more is labelled"
        if unsure
        else f"label {limits.READ_TWICE} articles a second time",
    )


def _curve(facts: Facts) -> _Result:
    half, whole = (point.figures["medium_average_precision"] for point in facts.curve[-2:])
    if half is None or whole is None:
        return Status.LOOK, "validation has no article of medium and above", "label more before the curve can tell"
    gain = whole - half
    return (
        _graded(False, gain > limits.GAIN),
        f"with twice the labels, words alone went from an average precision of {half:.3f} to {whole:.3f}",
        "the curve still rises: more labels of the same kind will help",
    )


def _least(facts: Facts, measure: Callable[[LensFacts], int]) -> tuple[int, str]:
    """Return the smallest count of any lens, and whose it is."""
    counts = {lens.name: measure(lens) for lens in facts.lenses}
    name = min(counts, key=lambda each: counts[each])
    if len(counts) == 1:
        return counts[name], name
    return counts[name], "every lens" if counts[name] == max(counts.values()) else f"{name}, the fewest"


def _listed(counts: Mapping[str, object]) -> str:
    return ", ".join(
        f"{name} {count:,}" if isinstance(count, int) else f"{name} {count}" for name, count in counts.items()
    )
