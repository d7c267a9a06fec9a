"""`distillery new-filter`: the folder of a filter that is yet to be labelled and trained."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from distilled_filters.cli.options import JsonFlag
from distilled_filters.cli.training_options import training_extra
from distilled_filters.errors import SettingError

if TYPE_CHECKING:
    from distilled_filters.spec import Dimension, Gate, LensSpec
    from distilled_filters.training.lora.foreign import ForeignAdapter
    from distilled_filters.training.scaffold import Draft, LookAlike

__all__ = ["command"]

T = TypeVar("T")
_ADAPTER = "An adapter made elsewhere"


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
    from_adapter: Annotated[
        str | None,
        typer.Option(metavar="FOLDER|REPO", help="A PEFT sequence-classification adapter.", rich_help_panel=_ADAPTER),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Its commit on the Hub; the newest by default.", rich_help_panel=_ADAPTER)
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(help="Its language model; by default the one its config names.", rich_help_panel=_ADAPTER),
    ] = None,
    base_licence: Annotated[
        str | None, typer.Option(help="That model's licence, such as apache-2.0.", rich_help_panel=_ADAPTER)
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(help="Name and version that model gets; by default by its name.", rich_help_panel=_ADAPTER),
    ] = None,
    head_tokens: Annotated[
        int, typer.Option(min=1, help="Tokens read from an article's beginning.", rich_help_panel=_ADAPTER)
    ] = 380,
    tail_tokens: Annotated[
        int, typer.Option(min=1, help="Tokens read from an article's end.", rich_help_panel=_ADAPTER)
    ] = 120,
    scale: Annotated[
        float, typer.Option(help="What outputs are multiplied by to stand on 0-10.", rich_help_panel=_ADAPTER)
    ] = 1.0,
    seal: Annotated[
        bool, typer.Option("--seal", help="Only take the changed prompt.md of this filter into its filter.toml.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    r"""Begin a filter: a spec, a prompt with scope, caps, gate and anchors, and a checklist.

    What no option says is asked for on a terminal. Nothing is overwritten.
    With --from-adapter the filter scores at once: every tensor must fit, and answers must be PEFT's own.

    [bold]Examples[/bold]

      distillery new-filter cultural_discovery
      distillery new-filter quiet_heroes --lens "People who help unasked." -d "deed:0.6:What was done" \
        -d "evidence:0.4:How well it is proven" --gate evidence:3:3
      distillery new-filter quiet_heroes --seal
      distillery new-filter quiet_heroes --from-adapter org/heroes-lora --base-licence apache-2.0 --lens "..." -d ...
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
    foreign = _foreign(from_adapter, revision, base_licence) if from_adapter else None
    if foreign and not dimension:
        dimension = [f"{label}::How much {label.replace('_', ' ')}?" for label in foreign.labels]
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
    if foreign and base_licence:
        reading = {"head_tokens": head_tokens, "tail_tokens": tail_tokens, "scale": scale}
        _adopt(foreign, draft, filters, base, base_licence, backbone, reading, as_json)
        return
    folder = scaffold.write_filter(draft, filters)
    files = sorted(path.name for path in folder.iterdir())
    following = (
        f"Next: {folder / 'CHECKLIST.md'}; sharpen scope and anchors in prompt.md, then: {seal_command(name, filters)}"
    )
    _tell({"folder": str(folder), "files": files}, f"wrote {folder}: {', '.join(files)}\n{following}", as_json)


def _foreign(place: str, revision: str | None, base_licence: str | None) -> ForeignAdapter:
    with training_extra():
        from distilled_filters.training.lora.foreign import read_foreign
    if not base_licence:
        raise SettingError("--base-licence must be given with --from-adapter: the language model's, such as apache-2.0")
    return read_foreign(place, revision)


def _adopt(
    foreign: ForeignAdapter,
    draft: Draft,
    filters: Path,
    base: str | None,
    licence: str,
    backbone: str | None,
    reading: dict[str, Any],
    as_json: bool,
) -> None:
    with training_extra():
        from distilled_filters.training.lora.adopt import ModelReading, adopt, backbone_name
        from distilled_filters.training.lora.base import find_language_model
    named, commit = foreign.base
    wanted = base or named
    if not wanted:
        raise SettingError("the adapter's config names no language model; give it with --base")
    model = find_language_model(wanted, None if base else commit)
    done = adopt(
        foreign, model, draft, filters, backbone or backbone_name(wanted), licence=licence,
        reading=ModelReading(**reading),
    )  # fmt: skip
    facts = {**vars(done), "folder": str(done.folder)}
    _tell(
        facts,
        f"wrote {done.folder} on {done.source}: answers at most {done.moved:.6f} off PEFT's own on {done.articles} "
        f"articles; {done.outside:.0%} of the outputs lie outside 0-10 and are cut off\n"
        f"Next: the prompt its labels were made with into prompt.md; distillery score ... -f {done.folder}",
        as_json,
    )


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
