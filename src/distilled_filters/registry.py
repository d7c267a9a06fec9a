"""Which filters are installed: names, versions, and where their folders are.

Filters come with this package, and from other distributions through the entry-point
group `distilled_filters`: the entry's name is the filter's name, its value a package
whose folder holds `v<major>/filter.toml`. Entry points are read by name; their modules
are not imported until the filter is used.
"""

from __future__ import annotations

import difflib
import functools
import importlib.metadata
import importlib.util
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from distilled_filters.errors import DuplicateFilterError, SpecError, UnknownFilterError

if TYPE_CHECKING:
    from distilled_filters.filter import Filter
    from distilled_filters.spec import FilterSpec

__all__ = ["ENTRY_POINT_GROUP", "Available", "available", "did_you_mean", "filter_names", "load", "newest_folders"]

ENTRY_POINT_GROUP = "distilled_filters"
_DISTRIBUTION = "distilled-filters"
_VERSION_FOLDER = re.compile(r"v[1-9][0-9]*")


@dataclass(frozen=True, slots=True)
class Available:
    """One installed filter version; `problem` says why it cannot be used, if so."""

    name: str
    version: str | None
    lens: str | None
    languages: tuple[str, ...]
    licence: str | None
    distribution: str
    folder: Path | None
    problem: str | None = None


def embedded_folder() -> Path:
    """Return the folder of the filters that come with this package."""
    package = Path(__file__).parent
    inside = package / "filters"
    # An editable install has them at the top level of the repository.
    return inside if inside.is_dir() else package.parent.parent / "filters"


def filter_names() -> list[str]:
    """Return the names of all installed filters, sorted; reads no spec and imports nothing.

    Raises:
        DuplicateFilterError: when two distributions claim one name.
    """
    return sorted(_homes())


def available() -> list[Available]:
    """Return every installed filter version, by name, newest first.

    Raises:
        DuplicateFilterError: when two distributions claim one name.
    """
    found = []
    for name, home in sorted(_homes().items()):
        try:
            found += [_describe(name, home, folder) for folder in home.versions()]
        except (DuplicateFilterError, UnknownFilterError) as error:
            found.append(Available(name, None, None, (), None, home.distribution, None, problem=str(error)))
    return found


def load(requirement: str, *, checkpoint: str | None = None, threads: int | None = None) -> Filter:
    """Return a filter by name, or by name and version range such as `"uplifting==1.*"`.

    The newest installed version that satisfies the range is taken, by the rules of
    `packaging` (PEP 440). Weights are opened on first use.

    Raises:
        UnknownFilterError: naming what is installed and the nearest names.
        SpecError: when the filter's spec breaks a rule or asks for another engine.
        DuplicateFilterError: when two distributions claim the name.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    from distilled_filters.filter import Filter

    try:
        parsed = Requirement(requirement)
    except (InvalidRequirement, TypeError) as error:
        raise UnknownFilterError(
            f"{requirement!r} is neither a filter name nor a requirement such as 'uplifting==1.*'; "
            "`distillery list` shows what is installed"
        ) from error
    home = _home(parsed.name)
    installed = []
    broken: SpecError | None = None
    for folder in home.versions():
        try:
            spec = _spec(folder, parsed.name)
        except SpecError as error:
            # Never fall back silently from a broken version that was asked for to an older one.
            if parsed.specifier.contains(f"{folder.name[1:]}.0.0"):
                raise
            broken = error
            continue
        if parsed.specifier.contains(spec.version):
            pinned = f"{spec.name}=={spec.version}"
            return Filter(folder, checkpoint=checkpoint, threads=threads, requirement=pinned)
        installed.append(spec.version)
    if broken is not None:
        raise broken
    if not installed:
        raise UnknownFilterError(f"{parsed.name} from {home.distribution} holds no version; reinstall it")
    raise UnknownFilterError(
        f"no installed version of {parsed.name} satisfies {str(parsed.specifier)!r}; "
        f"installed: {', '.join(installed)}. Older and newer ones come with other releases of {home.distribution}"
    )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return how a message about an unknown name goes on: with the nearest names, or a full stop."""
    near = difflib.get_close_matches(name.lower().replace("-", "_"), list(known), n=3)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else "."


def newest_folders(filters: Path) -> list[Path]:
    """Return the newest version folder of every filter under a `filters/` folder, by name."""
    homes = (path for path in sorted(filters.iterdir()) if path.is_dir() and path.name != "backbones")
    return [versions[0] for path in homes if (versions := _version_folders(path))]


@dataclass(frozen=True, slots=True)
class _Home:
    """Where one filter's versions lie, and which distribution brought them."""

    distribution: str
    folder: Path | None
    package: str | None = None
    quarrel: str | None = None

    def versions(self) -> list[Path]:
        if self.quarrel is not None:
            raise DuplicateFilterError(self.quarrel)
        folder = self.folder
        if folder is None:
            try:
                found = importlib.util.find_spec(self.package or "")
            except ImportError:
                found = None
            locations = list(found.submodule_search_locations or []) if found else []
            if not locations:
                raise UnknownFilterError(f"{self.distribution} promises the package {self.package!r} and lacks it")
            folder = Path(locations[0])
        return _version_folders(folder)


@functools.cache
def _homes() -> dict[str, _Home]:
    homes = {
        folder.name: _Home(_DISTRIBUTION, folder)
        for folder in embedded_folder().iterdir()
        if folder.name != "backbones" and folder.is_dir()
    }
    for entry in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        owner = entry.dist.name if entry.dist else "an unnamed distribution"
        claimed = homes.get(entry.name)
        if claimed is not None and claimed.distribution != owner:
            # Told when the name is used: the others have no part in it.
            quarrel = (
                f"both {claimed.distribution} and {owner} provide a filter named {entry.name!r}; uninstall one of them"
            )
            homes[entry.name] = _Home(f"{claimed.distribution}, {owner}", None, quarrel=quarrel)
            continue
        homes[entry.name] = _Home(owner, None, entry.value)
    return homes


def _home(name: str) -> _Home:
    homes = _homes()
    if name not in homes:
        raise UnknownFilterError(
            f"no filter named {name!r}{did_you_mean(name, homes)} Installed: {', '.join(sorted(homes)) or 'none'}"
        )
    return homes[name]


def _version_folders(folder: Path) -> list[Path]:
    found: Iterable[Path] = (path for path in folder.iterdir() if _VERSION_FOLDER.fullmatch(path.name))
    return sorted(found, key=lambda path: int(path.name[1:]), reverse=True)


def _spec(folder: Path, name: str) -> FilterSpec:
    from distilled_filters.spec import read_filter_spec

    spec = read_filter_spec(folder / "filter.toml")
    major = spec.version.split(".")[0]
    if (spec.name, f"v{major}") != (name, folder.name):
        raise SpecError(f"{folder}/filter.toml: {spec.name} {spec.version} belongs in {spec.name}/v{major}")
    return spec


def _describe(name: str, home: _Home, folder: Path) -> Available:
    try:
        spec = _spec(folder, name)
    except SpecError as error:
        return Available(name, None, None, (), None, home.distribution, folder, problem=str(error))
    return Available(
        name, spec.version, spec.lens, spec.languages, spec.licence, home.distribution, folder, spec.engine_problem()
    )


def _forget() -> None:
    """Look for installed filters afresh; for tests and long-lived tools that install some."""
    _homes.cache_clear()
