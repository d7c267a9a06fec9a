"""`distillery readiness`: is this data worth training on?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distilled_filters.cli.errors import FINDINGS
from distilled_filters.cli.options import JsonFlag
from distilled_filters.cli.training_options import FiltersFolder, training_extra

if TYPE_CHECKING:
    from rich.console import Console

    from distilled_filters.training.readiness import Assessment
    from distilled_filters.training.readiness.answers import Answers

__all__ = ["command"]

_COLOURS = {"good": "green", "look": "yellow", "bad": "red"}


def command(
    data: Annotated[Path, typer.Argument(help="A folder with articles.jsonl and labels.jsonl, or a file of articles.")],
    labels: Annotated[
        list[Path] | None,
        typer.Option("--labels", "-l", help="Labels, where they are not beside the articles; may be repeated."),
    ] = None,
    lenses: Annotated[
        list[str] | None,
        typer.Option("--filter", "-f", help="A lens to judge, may be repeated; by default those that are labelled."),
    ] = None,
    filters: FiltersFolder = Path("filters"),
    report: Annotated[
        Path | None, typer.Option(help="Write a page for people, its plots and readiness.json into this folder.")
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(help="Write the articles with e-mail addresses, phone numbers and ids masked.")
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option(help="A TOML or JSON file of what no data can tell; docs/readiness.md lists the keys."),
    ] = None,
    questionnaire: Annotated[
        bool, typer.Option("--questionnaire", help="Ask what --answers leaves open, and write it there.")
    ] = False,
    curve: Annotated[
        bool, typer.Option("--curve", help="Measure whether more labels would help; needs splits, takes a minute.")
    ] = False,
    no_pii: Annotated[bool, typer.Option("--no-pii", help="Do not search for personal data.")] = False,
    base: Annotated[
        str | None, typer.Option(help="Encoder whose tokenizer counts: a Hub id or a folder. By default the filters'.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Say whether labelled articles are worth training on, and what to do first.

    Checks the data as `distillery prepare` would read it, and gives points of 35
    for decision, data, evaluation, method, cost, versioning and monitoring.

    Exits with 0 where training is justified, with 1 where it needs evaluation
    or is premature, and with 2 on wrong usage or data that cannot be read.

    [bold]Examples[/bold]

      distillery readiness labelled/
      distillery readiness articles.jsonl --labels labels.jsonl --filter uplifting
      distillery readiness labelled/ --questionnaire --answers answers.toml
      distillery readiness labelled/ --answers answers.toml --curve --report reports/data
      distillery readiness raw/ --mask masked.jsonl --json
    """
    with training_extra():
        from distilled_filters.training.readiness import assess
        from distilled_filters.training.readiness.report import write_report
    from distilled_filters.cli.terminal import notes, screen, write_json

    given = _answers(answers, ask=questionnaire)
    assessment = assess(
        data, filters, labels=labels or (), names=lenses or (), base=base, answers=given,
        personal_data=not no_pii, masked=mask, curve=curve,
    )  # fmt: skip
    if as_json:
        write_json(assessment.document())
    else:
        _show(screen(), assessment)
    if report:
        notes().print(f"written: {write_report(assessment, report)}")
    if mask:
        notes().print(f"written: {mask}")
    if assessment.judgement.reasons:
        raise typer.Exit(FINDINGS)


def _answers(path: Path | None, *, ask: bool) -> Answers:
    """Read answers, and ask a person for the others if told to.

    Raises:
        SettingError: when the file is wrong, or nobody answers to the end.
    """
    from distilled_filters.errors import SettingError
    from distilled_filters.training.readiness.answers import Answers, read_answers, write_answers

    given = read_answers(path) if path and (path.exists() or not ask) else Answers()
    if not ask:
        return given
    known = given.model_dump(mode="json", exclude_none=True)
    try:
        _ask(known)
    except typer.Abort:
        kept = f"; {path} has the answers so far" if path else ""
        raise SettingError(f"the questionnaire was left before its end{kept}") from None
    finally:
        given = Answers.model_validate(known)
        if path:
            write_answers(path, given)
    return given


def _ask(known: dict[str, Any]) -> None:
    """Put the open questions on the terminal and add what is answered; an empty line leaves one open."""
    from pydantic import ValidationError

    from distilled_filters.spec import problems_of
    from distilled_filters.training.readiness.answers import GUIDE, QUESTIONS, Answers

    typer.echo("Answer with yes or no, a figure, or Enter to leave a question open.", err=True)
    for key, question in QUESTIONS.items():
        if key in known:
            continue
        if key == "need":
            for need, advice in GUIDE.items():
                typer.echo(f"  {need}: {advice.symptom} -> {advice.remedy}", err=True)
        while text := typer.prompt(question, default="", show_default=False, prompt_suffix=" ", err=True).strip():
            try:
                Answers.model_validate({key: text})
            except ValidationError as error:
                typer.echo(problems_of(error), err=True)
            else:
                known[key] = text
                break


def _show(console: Console, assessment: Assessment) -> None:
    from distilled_filters.cli.terminal import grid, plain

    table = grid("", "check", "found")
    for check in assessment.checks:
        table.add_row(plain(check.status, _COLOURS[check.status]), plain(check.name, "bold"), plain(check.found))
        if check.advice:
            table.add_row("", "", plain(f"-> {check.advice}", "dim"))
    console.print(table)
    console.print()
    judgement = assessment.judgement
    table = grid("section", "points", "not given", "because")
    for section, points in judgement.sections.items():
        table.add_row(plain(section, "bold"), f"{points} of 5")
        for point in judgement.points:
            if point.section == section and not point.given:
                why = point.why if point.source == "measured" else f"{point.why} ({point.source})"
                table.add_row("", "", plain(point.demand), plain(why, "dim"))
    console.print(table)
    console.print()
    style = {"justified": "bold green", "needs evaluation": "bold yellow"}.get(judgement.verdict, "bold red")
    console.print(plain(f"{judgement.verdict}: {judgement.total} of 35 points", style))
    for reason in judgement.reasons:
        console.print(plain(f"- {reason}"), soft_wrap=True)
