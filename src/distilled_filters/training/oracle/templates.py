"""The prompt of a filter's folder: read, and held against its spec."""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path

from distilled_filters.errors import SpecError
from distilled_filters.spec import LensSpec, read_lens_spec

__all__ = ["filters_option", "prompt_problems", "read_template", "seal_command"]


def read_template(folder: Path) -> tuple[LensSpec, str]:
    """Read `filter.toml` and `prompt.md` of a filter's folder, and check that they belong together.

    Raises:
        SpecError: naming what does not fit, and the mend.
    """
    lens = read_lens_spec(folder / "filter.toml")
    path = folder / "prompt.md"
    try:
        content = path.read_bytes()
        template = content.decode("utf-8")
    except FileNotFoundError as error:
        raise SpecError(f"{path}: no such file; it is what the oracle is asked") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: not UTF-8: {error}") from error
    if problems := prompt_problems(template, lens):
        raise SpecError(f"{path}: {'; '.join(problems)}")
    if (found := hashlib.sha256(content).hexdigest()) != lens.prompt_sha256:
        raise SpecError(
            f"{path} has SHA-256 {found[:12]}..., the spec says {lens.prompt_sha256[:12]}...: the prompt has changed. "
            f"Before the first labels: {seal_command(lens.name, folder.parents[1])}; "
            "afterwards a changed prompt is a new MAJOR version in a folder of its own"
        )
    return lens, template


def seal_command(name: str, filters: Path) -> str:
    """Return the command that takes a changed prompt into its filter's spec."""
    return f"distillery new-filter {name} --seal{filters_option(filters)}"


def filters_option(filters: Path) -> str:
    """Return what a command needs to find a folder of filters; nothing where it looks there anyhow."""
    return "" if filters == Path("filters") else f" --filters {shlex.quote(str(filters))}"


def prompt_problems(template: str, lens: LensSpec) -> list[str]:
    """Return what a prompt lacks for its lens."""
    problems = [f"it has no {{{name}}}" for name in ("title", "content") if f"{{{name}}}" not in template]
    absent = [name for name in lens.dimension_names if name not in template]
    return problems + [f"it does not ask about the dimension {name!r}" for name in absent]
