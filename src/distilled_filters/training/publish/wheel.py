"""A filter as a wheel of its own: data, an entry point, and the engine range it runs under."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import tomlkit
from build import BuildException, ProjectBuilder
from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from pyproject_hooks import quiet_subprocess_runner

from distilled_filters.files import write_bytes, write_json, write_text
from distilled_filters.registry import ENTRY_POINT_GROUP, embedded_folder, wheel_name
from distilled_filters.spec import read_backbone_spec
from distilled_filters.training.folder import file_ref
from distilled_filters.training.publish.bundle import Bundle, PublishError, Shared, read_bundle

__all__ = ["package"]


def package(folder: Path, out: Path, *, with_backbone: bool = False) -> Path:
    """Build a filter's wheel in the folder `out` and return its path; the same input makes the same bytes.

    Backbones travel along where this library does not embed the ones with their digests, or when
    asked to. Weights that lie on the Hub alone stay there. A filter with a LoRA checkpoint
    requires the extra that opens it.

    Raises:
        PublishError: when the folder is not fit, or `out` has another wheel of this version.
    """
    bundle = read_bundle(folder, from_cache=False)
    with tempfile.TemporaryDirectory(prefix="distillery-package-") as scratch:
        project = Path(scratch, "project")
        carried = [one for one in bundle.backbones if with_backbone or not _embedded(one)]
        _write_project(bundle, project, carried)
        try:
            built = Path(ProjectBuilder(project, runner=quiet_subprocess_runner).build("wheel", Path(scratch, "dist")))
        except BuildException as error:
            raise PublishError(f"{folder}: the wheel does not build: {error}") from error
        target, content = out / built.name, built.read_bytes()
        if target.exists() and target.read_bytes() != content:
            raise PublishError(
                f"{target} is there already with other bytes; a version is made once: raise it in "
                f"{folder / 'filter.toml'}, or remove the old wheel"
            )
        out.mkdir(parents=True, exist_ok=True)
        write_bytes(target, content)
    return target


def _embedded(shared: Shared) -> bool:
    """Tell whether this library brings the model, with that very digest."""
    spec = embedded_folder() / "backbones" / shared.name / "backbone.toml"
    return spec.is_file() and read_backbone_spec(spec, type(shared.spec)).digest == shared.spec.digest


def _licence(text: str) -> str:
    """Return a licence as an SPDX expression; language models have licences of their own making."""
    try:
        return canonicalize_license_expression(text)
    except InvalidLicenseExpression:
        return "LicenseRef-" + re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-")


def _write_project(bundle: Bundle, project: Path, carried: Sequence[Shared]) -> None:
    """Write what a build backend needs: `pyproject.toml`, the card, and a package with the data."""
    each, spec = bundle.filter, bundle.filter.spec
    distribution = wheel_name(each.name)
    module = distribution.replace("-", "_")
    inside = project / module
    homes = {inside / each.name / each.folder.name: {**bundle.pages, **bundle.weights}}
    homes |= {inside / "backbones" / one.name: dict(one.files) for one in carried}
    licence = " AND ".join(dict.fromkeys((spec.licence, *(_licence(one.spec.licence) for one in carried))))
    extra = "[lora]" if any(entry.kind == "lora" for entry in spec.checkpoints.values()) else ""
    for home, files in homes.items():
        for name, path in files.items():
            target = home / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    write_text(inside / "__init__.py", f'"""The filter {each.name} {each.version}, for distilled-filters."""\n')
    data = {path.relative_to(inside).as_posix(): file_ref(path) for path in inside.glob("*/**/*") if path.is_file()}
    write_json(
        inside / "meta.json",
        {
            "name": each.name,
            "version": each.version,
            "lens": spec.lens,
            "languages": list(spec.languages),
            "licence": licence,
            "engine": f"distilled-filters{spec.engine}",
            "checkpoints": {
                name: entry.model_dump(include={"kind", "backbone", "backbone_sha256", "student", "expert", "members"})
                for name, entry in spec.checkpoints.items()
            },
            "files": {name: ref.model_dump(exclude={"path"}) for name, ref in data.items()},
        },
    )
    shutil.copyfile(bundle.pages["CARD.md"], project / "README.md")
    document = {
        "build-system": {"requires": ["hatchling>=1.27"], "build-backend": "hatchling.build"},
        "project": {
            "name": distribution,
            "version": each.version,
            "description": f"{each.name}: {spec.lens}",
            "readme": "README.md",
            "requires-python": ">=3.11",
            "license": licence,
            "keywords": ["news", "distilled-filters", *spec.languages],
            "dependencies": [f"distilled-filters{extra}{spec.engine}"],
            "entry-points": {ENTRY_POINT_GROUP: {each.name: f"{module}.{each.name}"}},
        },
        "tool": {"hatch": {"build": {"targets": {"wheel": {"packages": [module]}}}}},
    }
    write_text(project / "pyproject.toml", tomlkit.dumps(document))
