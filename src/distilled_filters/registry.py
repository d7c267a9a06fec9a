"""Which filters are installed: names, versions, and where their folders are.

Filters come with this package, and from other distributions through the entry-point
group `distilled_filters`: the entry's name is the filter's name, its value a package
whose folder holds `v<major>/filter.toml`. Entry points are read by name; their modules
are not imported until the filter is used. Two distributions that claim one name quarrel,
with one exception: the wheel that `distillery package` makes of a filter takes the place of
the library's version of the same MAJOR, so that requirements can pin one filter by itself.
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

from distilled_filters.errors import CheckpointError, DuplicateFilterError, SpecError, UnknownFilterError

if TYPE_CHECKING:
    from distilled_filters.spec import FilterSpec

__all__ = [
    "ENTRY_POINT_GROUP",
    "LIBRARY",
    "Available",
    "Installed",
    "available",
    "did_you_mean",
    "distribution_of",
    "filter_names",
    "find",
    "newest_folder",
    "newest_folders",
    "wheel_name",
]

ENTRY_POINT_GROUP = "distilled_filters"
LIBRARY = "distilled-filters"
"""The distribution that this package comes with."""
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


@dataclass(frozen=True, slots=True)
class Installed:
    """One installed filter version that can be used, and the requirement that pins it."""

    folder: Path
    distribution: str
    requirement: str


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
            found += [_describe(name, version) for version in home.versions()]
        except (DuplicateFilterError, UnknownFilterError) as error:
            found.append(Available(name, None, None, (), None, home.distribution, None, problem=str(error)))
    return found


def find(requirement: str) -> Installed:
    """Return the newest installed version that satisfies a name or a range such as `"uplifting==1.*"`.

    Ranges are read by the rules of `packaging` (PEP 440).

    Raises:
        UnknownFilterError: naming what is installed and the nearest names.
        SpecError: when the filter's spec breaks a rule.
        ChecksumError: when a spec is not the one its distribution was built with.
        DuplicateFilterError: when two distributions claim the name.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        parsed = Requirement(requirement)
    except (InvalidRequirement, TypeError) as error:
        raise UnknownFilterError(
            f"{requirement!r} is neither a filter name nor a requirement such as 'uplifting==1.*'; "
            "`distillery list` shows what is installed"
        ) from error
    home = _home(parsed.name)
    others = []
    broken: SpecError | CheckpointError | None = None
    for version in home.versions():
        try:
            spec = _spec(version, parsed.name)
        except (SpecError, CheckpointError) as error:
            # Never fall back silently from a broken version that was asked for to an older one.
            if parsed.specifier.contains(f"{version.folder.name[1:]}.0.0"):
                raise
            broken = error
            continue
        if parsed.specifier.contains(spec.version):
            return Installed(version.folder, version.distribution, f"{spec.name}=={spec.version}")
        others.append(spec.version)
    if broken is not None:
        raise broken
    if not others:
        raise UnknownFilterError(f"{parsed.name} from {home.distribution} holds no version; reinstall it")
    raise UnknownFilterError(
        f"no installed version of {parsed.name} satisfies {str(parsed.specifier)!r}; "
        f"installed: {', '.join(others)}. Older and newer ones come with other releases of {home.distribution}"
    )


def distribution_of(folder: Path) -> str | None:
    """Return which distribution brought a filter version's folder, None where it is no installed one."""
    home = _homes().get(folder.parent.name)
    if home is None or home.quarrel is not None:
        return None
    return next((found.distribution for found in home.versions() if found.folder == folder), None)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return how a message about an unknown name goes on: with the nearest names, or a full stop."""
    near = difflib.get_close_matches(name.lower().replace("-", "_"), list(known), n=3)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else "."


def newest_folders(filters: Path) -> list[Path]:
    """Return the newest version folder of every filter under a `filters/` folder, by name."""
    homes = (path for path in sorted(filters.iterdir()) if path.is_dir() and path.name != "backbones")
    return [versions[0] for path in homes if (versions := _version_folders(path))]


def newest_folder(filters: Path, name: str) -> Path:
    """Return the newest version folder of one filter under a `filters/` folder.

    Raises:
        UnknownFilterError: naming those that are there.
    """
    found = {folder.parent.name: folder for folder in newest_folders(filters)}
    if name not in found:
        raise UnknownFilterError(f"no filter {name!r} in {filters}; there are: {', '.join(found) or 'none'}")
    return found[name]


def wheel_name(name: str) -> str:
    """Return the distribution that `distillery package` makes of a filter."""
    return f"distilled-filter-{name.replace('_', '-')}"


@dataclass(frozen=True, slots=True)
class _Version:
    """One version's folder, and which distribution brought it."""

    folder: Path
    distribution: str


@dataclass(frozen=True, slots=True)
class _Home:
    """Where one filter's versions lie, and which distribution brought them."""

    distribution: str
    folder: Path | None
    package: str | None = None
    quarrel: str | None = None
    replaced: _Home | None = None

    def versions(self) -> list[_Version]:
        """Return the versions, newest first; those of `replaced` only where this home has none of that MAJOR."""
        if self.quarrel is not None:
            raise DuplicateFilterError(self.quarrel)
        own = [_Version(folder, self.distribution) for folder in _version_folders(self._found())]
        majors = {version.folder.name for version in own}
        others = self.replaced.versions() if self.replaced else []
        own += [version for version in others if version.folder.name not in majors]
        return sorted(own, key=lambda version: _major(version.folder), reverse=True)

    def _found(self) -> Path:
        if self.folder is not None:
            return self.folder
        try:
            found = importlib.util.find_spec(self.package or "")
        except ImportError:
            found = None
        locations = list(found.submodule_search_locations or []) if found else []
        if not locations:
            raise UnknownFilterError(f"{self.distribution} promises the package {self.package!r} and lacks it")
        return Path(locations[0])


@functools.cache
def _homes() -> dict[str, _Home]:
    homes = {
        folder.name: _Home(LIBRARY, folder)
        for folder in embedded_folder().iterdir()
        if folder.name != "backbones" and folder.is_dir()
    }
    for entry in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        owner = entry.dist.name if entry.dist else "an unnamed distribution"
        claimed = homes.get(entry.name)
        if claimed is not None and claimed.distribution == LIBRARY and _is_wheel_of(entry.name, owner):
            homes[entry.name] = _Home(owner, None, entry.value, replaced=claimed)
            continue
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
    return sorted(found, key=_major, reverse=True)


def _major(folder: Path) -> int:
    return int(folder.name[1:])


def _is_wheel_of(name: str, distribution: str) -> bool:
    from packaging.utils import canonicalize_name

    return canonicalize_name(distribution) == wheel_name(name)


def _spec(version: _Version, name: str) -> FilterSpec:
    from distilled_filters.installed import check_recorded
    from distilled_filters.spec import read_filter_spec

    folder = version.folder
    check_recorded(folder / "filter.toml", version.distribution)
    spec = read_filter_spec(folder / "filter.toml")
    major = spec.version.split(".")[0]
    if (spec.name, f"v{major}") != (name, folder.name):
        raise SpecError(f"{folder}/filter.toml: {spec.name} {spec.version} belongs in {spec.name}/v{major}")
    return spec


def _describe(name: str, version: _Version) -> Available:
    folder, distribution = version.folder, version.distribution
    try:
        spec = _spec(version, name)
    except (SpecError, CheckpointError) as error:
        return Available(name, None, None, (), None, distribution, folder, problem=str(error))
    return Available(
        name, spec.version, spec.lens, spec.languages, spec.licence, distribution, folder, spec.engine_problem()
    )


def _forget() -> None:
    """Look for installed filters afresh; for tests and long-lived tools that install some."""
    from distilled_filters.installed import forget

    _homes.cache_clear()
    forget()
