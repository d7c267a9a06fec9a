"""What `distillery validate` asks of each filter: may it live with this library and the other filters?"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

import distilled_filters
from distilled_filters.cli.checks import file_checks
from distilled_filters.errors import DistilledFiltersError, MissingFileError, SpecError, UnknownFilterError
from distilled_filters.filter import Filter
from distilled_filters.installed import reinstall
from distilled_filters.registry import LIBRARY, Available, available, filter_names, wheel_name
from distilled_filters.scorers.base import Part
from distilled_filters.spec import FilterSpec, read_filter_spec
from distilled_filters.wheels import Wheel, unpack

__all__ = ["Verdict", "verdicts"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One filter version; with a problem comes the line that mends it."""

    filter: str
    version: str | None
    origin: str
    problem: str | None = None
    remedy: str | None = None
    note: str | None = None


def verdicts(what: Sequence[str] | None) -> list[Verdict]:
    """Judge the filters named and the wheels at these paths, or everything installed.

    Raises:
        UnknownFilterError: for a name that is not installed.
    """
    names = [text for text in what or () if not text.endswith(".whl")]
    for name in set(map(_bare, names)) - set(filter_names()):
        raise UnknownFilterError(f"no filter named {name!r}. Installed: {', '.join(filter_names())}")
    found: list[Verdict] = []
    if names or not what:
        entries = available()
        if names:
            entries = [entry for entry in entries if entry.name in map(_bare, names)]
        found += map(_installed, entries)
    claimed: dict[str, str] = {}
    for text in what or ():
        if text.endswith(".whl"):
            found += _wheel(Path(text), claimed)
    return found


def _bare(name: str) -> str:
    try:
        return Requirement(name).name
    except InvalidRequirement:
        return name


def _installed(entry: Available) -> Verdict:
    verdict = Verdict(entry.name, entry.version, entry.distribution)
    if entry.folder is None:
        *_, last = entry.distribution.split(", ")
        clash = ", " in entry.distribution
        return replace(
            verdict, problem=entry.problem, remedy=f"pip uninstall {last}" if clash else reinstall(entry.distribution)
        )
    if entry.version is None:
        remedy = reinstall(entry.distribution)
        if entry.problem and "choose another" in entry.problem:  # a name that is the library's own
            remedy = f"pip uninstall {entry.distribution}"
        return replace(verdict, problem=entry.problem, remedy=remedy)
    verdict = replace(verdict, note=_shadow(entry.name, entry.folder.name, entry.distribution))
    return _judged(verdict, entry.folder, reinstall(entry.distribution))


def _judged(verdict: Verdict, folder: Path, anew: str) -> Verdict:
    """Judge a filter's folder; `anew` is the line that brings its files again."""
    try:
        spec = read_filter_spec(folder / "filter.toml")
        if problem := spec.engine_problem():
            return replace(verdict, problem=problem, remedy=f"pip install 'distilled-filters{spec.engine}'")
        each = Filter(folder, threads=1)
        members = (Filter(folder, checkpoint=checkpoint, threads=1) for checkpoint in spec.checkpoints)
        for part in (part for member in members for part in member.parts):
            if problem := _backbone_problem(part):
                distribution = verdict.origin if not verdict.origin.endswith(".whl") else wheel_name(each.name)
                upgrade = LIBRARY if distribution == LIBRARY else f"{distribution} {LIBRARY}"
                return replace(verdict, problem=problem, remedy=f"pip install --upgrade {upgrade}")
        for check in file_checks(each):
            if check.error is not None:
                missing = isinstance(check.error, MissingFileError) and "distillery prefetch" in str(check.error)
                remedy = f"distillery prefetch {each.name}=={each.version}" if missing else anew
                return replace(verdict, problem=f"{check.what}: {check.problem}", remedy=remedy)
    except DistilledFiltersError as error:
        return replace(verdict, problem=str(error), remedy=anew)
    return verdict


def _backbone_problem(part: Part) -> str | None:
    """Say that the backbone here is another than the one the filter was trained on; None where it is not."""
    with suppress(SpecError):
        found = part.backbone().digest
        if found != part.weights.backbone_sha256:
            return (
                f"it was trained on the backbone {part.weights.backbone} with digest "
                f"{part.weights.backbone_sha256[:12]}; {part.backbone_folder} has {found[:12]}"
            )
        return None
    return f"its backbone {part.weights.backbone} is neither in its wheel nor in this library"


def _shadow(name: str, major: str, distribution: str) -> str | None:
    """Say that a filter's own wheel stands in the place of the library's version."""
    from distilled_filters.registry import embedded_folder

    embedded = embedded_folder() / name / major / "filter.toml"
    if distribution == LIBRARY or not embedded.is_file():
        return None
    with suppress(SpecError):
        return f"{distribution} takes the place of the library's {read_filter_spec(embedded).version}"
    return None


def _wheel(path: Path, claimed: dict[str, str]) -> Iterator[Verdict]:
    """Judge every filter of a wheel, installed or not; `claimed` are the names of the wheels before."""
    again = f"distillery package FILTER -o {path.parent}, or download {path.name} again"
    with tempfile.TemporaryDirectory(prefix="distillery-validate-") as scratch:
        try:
            wheel = unpack(path, Path(scratch))
        except DistilledFiltersError as error:
            yield Verdict(path.name, None, path.name, problem=str(error), remedy=again)
            return
        for name, home in wheel.homes.items():
            folders = sorted(home.glob("v*/filter.toml"))
            if not folders:
                yield Verdict(name, None, path.name, problem="the wheel holds no version of it", remedy=again)
            for spec in folders:
                verdict = Verdict(name, wheel.version, path.name)
                problem = _clash(name, wheel, claimed) or _requirement_problem(wheel)
                if problem is not None:
                    yield replace(verdict, problem=problem[0], remedy=problem[1])
                    continue
                note = _shadow(name, spec.parent.name, wheel.distribution)
                judged = _judged(replace(verdict, note=note), spec.parent, again)
                mismatch = judged.problem is None and _mismatch(read_filter_spec(spec), name, wheel)
                yield replace(judged, problem=mismatch, remedy=again) if mismatch else judged
            claimed[name] = wheel.distribution


def _clash(name: str, wheel: Wheel, claimed: dict[str, str]) -> tuple[str, str] | None:
    mine = canonicalize_name(wheel.distribution)
    owners = {entry.distribution for entry in available() if entry.name == name} | {claimed.get(name, mine)}
    for owner in sorted(owners):
        if owner == LIBRARY and mine != wheel_name(name):
            return (
                f"it shadows the library's own filter {name!r}; only the wheel {wheel_name(name)} may take its place",
                f"pip uninstall {wheel.distribution}, or make {wheel_name(name)} with `distillery package`",
            )
        if owner != LIBRARY and canonicalize_name(owner) != mine:
            return f"{owner} provides a filter named {name!r} too", f"pip uninstall {owner}"
    return None


def _requirement_problem(wheel: Wheel) -> tuple[str, str] | None:
    engine = distilled_filters.__version__
    for text in wheel.requires:
        requirement = Requirement(text)
        if requirement.name == LIBRARY and not requirement.specifier.contains(engine, prereleases=True):
            extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
            wanted = f"{LIBRARY}{extras}{requirement.specifier}"
            return f"it needs {wanted}; {engine} is installed", f"pip install '{wanted}'"
    return None


def _mismatch(spec: FilterSpec, name: str, wheel: Wheel) -> str | None:
    if spec.name != name:
        return f"its entry point is {name!r}, its spec says {spec.name!r}"
    if canonicalize_name(wheel.distribution) == wheel_name(name) and spec.version != wheel.version:
        return f"the wheel's version is {wheel.version}, the filter's {spec.version}"
    return None
