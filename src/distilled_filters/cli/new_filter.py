"""`distillery new-filter`: the folder of a filter that is yet to be labelled and trained."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from distilled_filters.cli.options import JsonFlag
from distilled_filters.errors import SettingError

if TYPE_CHECKING:
    from distilled_filters.spec import Dimension, Gate, LensSpec
    from distilled_filters.training.scaffold import LookAlike

__all__ = ["command"]

T = TypeVar("T")


def command(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits and _.")],
    lens: Annotated[str | None, typer.Option(help="What it looks for, in a sentence.")] = None,
    dimension: Annotated[
        list[str] | None,
        typer.Option(
            "--dimension",
            "-d",
            metavar="NAME:WEIGHT:QUESTION",
            help="May be repeated; NAME::QUESTION weighs all alike.",
        ),
    ] = None,
    gate: Annotated[
        str | None, typer.Option(metavar="NAME:BELOW:CEILING", help="A dimension that must hold; by default none.")
    ] = None,
    in_scope: Annotated[str | None, typer.Option(help="What belongs to it, for the prompt.")] = None,
    out_of_scope: Annotated[str | None, typer.Option(help="What does not.")] = None,
    look_alike: Annotated[
        list[str] | None,
        typer.Option(metavar="WHAT:CAP", help="What only resembles it, and the most it may score; may be repeated."),
    ] = None,
    language: Annotated[list[str] | None, typer.Option(help="Two letters; may be repeated.")] = None,
    licence: Annotated[str, typer.Option(help="Of the filter to be.")] = "Apache-2.0",
    filters: Annotated[
        Path, typer.Option("--filters", file_okay=False, help="Folder of filter folders; made where there is none.")
    ] = Path("filters"),
    seal: Annotated[
        bool, typer.Option("--seal", help="Only take the changed prompt.md of this filter into its filter.toml.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    r"""Begin a filter: a spec, a prompt with scope, caps, gate and anchors, and a checklist.

    What no option says is asked for on a terminal. Nothing is overwritten.

    [bold]Examples[/bold]

      distillery new-filter cultural_discovery
      distillery new-filter quiet_heroes --lens "People who help unasked." -d "deed:0.6:What was done" \
        -d "evidence:0.4:How well it is proven" --gate evidence:3:3
      distillery new-filter quiet_heroes --seal
    """
    from distilled_filters.registry import newest_folder
    from distilled_filters.training import scaffold
    from distilled_filters.training.oracle.templates import seal_command

    if seal:
        folder = newest_folder(filters, name)
        digest = scaffold.seal(folder)
        _tell({"folder": str(folder), "prompt_sha256": digest}, f"sealed: {folder}, prompt {digest[:12]}", as_json)
        return
    pattern = scaffold.pattern_lens(filters)
    _refuse(scaffold.draft_problem(pattern, name=name))
    if (filters / name).exists():
        raise SettingError(f"{filters / name} exists and is left as it is; choose another name")
    dimensions = [_dimension(each) for each in _weighted(dimension or ())]
    missing = [flag for flag, given in (("--lens", lens), ("--dimension", dimensions)) if not given]
    if missing and (as_json or not _is_asking()):
        raise SettingError(f"{' and '.join(missing)} must be given where nobody can be asked")
    lens = lens or _ask("What does it look for, in a sentence?", str.strip, pattern, "lens")
    given_gate = _gate(gate) if gate else None
    if not dimensions:
        dimensions = _ask_dimensions(pattern)
        given_gate = given_gate or _ask_gate(pattern, dimensions)
    optional: dict[str, Any] = {
        "in_scope": in_scope, "out_of_scope": out_of_scope, "languages": language,
        "look_alikes": [_look_alike(each) for each in look_alike or ()],
    }  # fmt: skip
    draft = scaffold.Draft(
        name, lens, dimensions, given_gate, licence=licence, **{key: value for key, value in optional.items() if value}
    )
    folder = scaffold.write_filter(draft, filters)
    files = sorted(path.name for path in folder.iterdir())
    following = (
        f"Next: {folder / 'CHECKLIST.md'}; sharpen scope and anchors in prompt.md, then: {seal_command(name, filters)}"
    )
    _tell({"folder": str(folder), "files": files}, f"wrote {folder}: {', '.join(files)}\n{following}", as_json)


def _is_asking() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _tell(facts: dict[str, Any], line: str, as_json: bool) -> None:
    from distilled_filters.cli.terminal import write_json

    if as_json:
        write_json(facts)
    else:
        typer.echo(line)


def _refuse(problem: str | None) -> None:
    if problem:
        raise SettingError(problem)


def _parts(text: str, form: str) -> list[str]:
    parts = [part.strip() for part in text.split(":", form.count(":"))]
    if len(parts) != form.count(":") + 1:
        raise SettingError(f"{text!r} is not {form}")
    return parts


def _number(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SettingError(f"{what} {text!r} is no number") from None


def _weighted(dimensions: list[str] | tuple[str, ...]) -> list[tuple[str, str, str]]:
    """Split dimensions; where none has a weight, all weigh alike."""
    split = [_parts(each, "NAME:WEIGHT:QUESTION") for each in dimensions]
    alike = repr(1 / len(split)) if split and not any(weight for _, weight, _ in split) else ""
    return [(name, weight or alike, question) for name, weight, question in split]


def _dimension(parts: tuple[str, str, str]) -> Dimension:
    from pydantic import ValidationError

    from distilled_filters.spec import Dimension, problems_of

    name, weight, question = parts
    try:
        return Dimension(name=name, weight=_number(weight, f"the weight of {name}"), question=question)
    except ValidationError as error:
        raise SettingError(f"dimension {name!r}: {problems_of(error)}") from None


def _gate(text: str) -> Gate:
    from pydantic import ValidationError

    from distilled_filters.spec import Gate, problems_of

    name, below, ceiling = _parts(text, "NAME:BELOW:CEILING")
    try:
        return Gate(dimension=name, below=_number(below, "the gate's bound"), ceiling=_number(ceiling, "its ceiling"))
    except ValidationError as error:
        raise SettingError(f"gate {text!r}: {problems_of(error)}") from None


def _look_alike(text: str) -> LookAlike:
    from distilled_filters.training.scaffold import LookAlike

    what, _, cap = text.rpartition(":")
    if not what.strip():
        raise SettingError(f"{text!r} is not WHAT:CAP")
    most = _number(cap.strip(), f"the cap of {what.strip()!r}")
    if not 0 <= most <= 10:
        raise SettingError(f"the cap of {what.strip()!r} is {cap.strip()}; scores are 0 to 10")
    return LookAlike(what.strip(), most)


def _ask(question: str, parse: Callable[[str], T], pattern: LensSpec, field: str, default: str | None = None) -> T:
    """Ask until the answer keeps the rules of the spec."""
    from distilled_filters.training.scaffold import draft_problem

    def checked(text: str) -> T:
        try:
            value = parse(text)
            _refuse(draft_problem(pattern, **{field: value}))
        except SettingError as error:
            raise typer.BadParameter(str(error)) from None
        return value

    answer: T = typer.prompt(question, default=default, value_proc=checked, err=True)
    return answer


def _ask_dimensions(pattern: LensSpec) -> list[Dimension]:
    """Ask for dimensions and their weights until they sum to 1."""
    from distilled_filters.training.scaffold import draft_problem

    typer.echo("Dimensions as NAME: QUESTION, one a line; an empty line ends them.", err=True)
    questions: dict[str, str] = {}
    while True:
        text = typer.prompt(f"Dimension {len(questions) + 1}", default="", show_default=False, err=True)
        if not text.strip() and questions:
            break
        name, _, question = (part.strip() for part in text.partition(":"))
        try:
            _dimension((name, "1", question))
            if name in questions:
                raise SettingError(f"dimension {name!r} stands twice")
            questions[name] = question
        except SettingError as error:
            typer.echo(f"Error: {error}", err=True)
    while True:
        left = 1.0
        dimensions = []
        for number, (name, question) in enumerate(questions.items(), start=1):
            share = left / (len(questions) - number + 1)
            weight = typer.prompt(
                f"Weight of {name} ({left:.4g} is left)", default=round(share, 4), type=float, err=True
            )
            dimensions.append(_dimension((name, repr(weight), question)))
            left -= weight
        problem = draft_problem(pattern, dimensions=tuple(dimensions))
        if problem is None:
            return dimensions
        typer.echo(f"Error: {problem}; once more", err=True)


def _ask_gate(pattern: LensSpec, dimensions: list[Dimension]) -> Gate | None:
    from distilled_filters.training.scaffold import draft_problem

    while True:
        text = typer.prompt(
            "Gate as NAME:BELOW:CEILING, empty for none", default="", show_default=False, err=True
        ).strip()
        if not text:
            return None
        try:
            gate = _gate(text)
            _refuse(draft_problem(pattern, dimensions=tuple(dimensions), gate=gate))
        except SettingError as error:
            typer.echo(f"Error: {error}", err=True)
        else:
            return gate
