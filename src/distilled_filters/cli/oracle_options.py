"""Options that the commands share which ask a language model, and the endpoint they stand for."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

__all__ = [
    "Attempts",
    "BaseUrl",
    "Budget",
    "Concurrency",
    "Effort",
    "MaxOutput",
    "PresetName",
    "PriceIn",
    "PriceOut",
    "RequestsPerDay",
    "RequestsPerMinute",
    "Temperature",
    "TimeOut",
    "TokensPerMinute",
    "Yes",
]

_ORACLE, _LIMITS, _COST = "The oracle", "Limits", "Cost"

PresetName: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--preset",
        help="gemini-flash, gemini-pro, openai, anthropic, deepseek, vllm or ollama: address, model, prices, dialect.",
        rich_help_panel=_ORACLE,
    ),
]
BaseUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Any OpenAI-compatible address; the key is read from ORACLE_API_KEY.", rich_help_panel=_ORACLE),
]
MaxOutput: TypeAlias = Annotated[
    int | None,
    typer.Option("--max-output-tokens", help="Most tokens of one answer, thinking included.", rich_help_panel=_ORACLE),
]
Temperature: TypeAlias = Annotated[
    float | None, typer.Option(help="By default the provider's own.", rich_help_panel=_ORACLE)
]
Effort: TypeAlias = Annotated[
    str | None,
    typer.Option("--reasoning-effort", help="low, medium, high, where a model thinks.", rich_help_panel=_ORACLE),
]
Concurrency: TypeAlias = Annotated[
    int | None, typer.Option(min=1, help="Calls under way at once.", rich_help_panel=_LIMITS)
]
TimeOut: TypeAlias = Annotated[
    float | None, typer.Option("--timeout", help="Seconds for one call.", rich_help_panel=_LIMITS)
]
Attempts: TypeAlias = Annotated[
    int | None,
    typer.Option(min=1, help="How often a call is tried when the server is busy or broken.", rich_help_panel=_LIMITS),
]
RequestsPerMinute: TypeAlias = Annotated[
    float | None, typer.Option("--rpm", help="Requests a minute.", rich_help_panel=_LIMITS)
]
TokensPerMinute: TypeAlias = Annotated[
    float | None, typer.Option("--tpm", help="Tokens a minute.", rich_help_panel=_LIMITS)
]
RequestsPerDay: TypeAlias = Annotated[
    int | None, typer.Option("--rpd", min=1, help="Requests in 24 hours.", rich_help_panel=_LIMITS)
]
Budget: TypeAlias = Annotated[
    float | None,
    typer.Option(min=0.0, help="US dollars that all runs in this folder may cost together.", rich_help_panel=_COST),
]
PriceIn: TypeAlias = Annotated[
    float | None, typer.Option(min=0.0, help="US dollars a million input tokens.", rich_help_panel=_COST)
]
PriceOut: TypeAlias = Annotated[
    float | None, typer.Option(min=0.0, help="US dollars a million output tokens.", rich_help_panel=_COST)
]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before spending.", rich_help_panel=_COST)]
