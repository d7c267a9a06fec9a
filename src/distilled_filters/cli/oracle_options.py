"""Options that the commands share which ask a language model, and the endpoint they stand for.

A command takes them all as one parameter:

```python
@asks_a_model
def command(output: Annotated[Path, typer.Option()], oracle: OracleOptions) -> None: ...
```
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, get_type_hints

import typer

if TYPE_CHECKING:
    from distilled_filters.training.oracle.providers import Endpoint

__all__ = ["OracleOptions", "asks_a_model"]

_ORACLE, _LIMITS, _COST = "The oracle", "Limits", "Cost"

_PresetName: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--preset",
        help="gemini-flash, gemini-pro, openai, anthropic, deepseek, vllm or ollama: address, model, prices, dialect.",
        rich_help_panel=_ORACLE,
    ),
]
_BaseUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Any OpenAI-compatible address; the key is read from ORACLE_API_KEY.", rich_help_panel=_ORACLE),
]
_MaxOutput: TypeAlias = Annotated[
    int | None,
    typer.Option("--max-output-tokens", help="Most tokens of one answer, thinking included.", rich_help_panel=_ORACLE),
]
_Temperature: TypeAlias = Annotated[
    float | None, typer.Option(help="By default the provider's own.", rich_help_panel=_ORACLE)
]
_Effort: TypeAlias = Annotated[
    str | None,
    typer.Option("--reasoning-effort", help="low, medium, high, where a model thinks.", rich_help_panel=_ORACLE),
]
_Concurrency: TypeAlias = Annotated[
    int | None, typer.Option(min=1, help="Calls under way at once.", rich_help_panel=_LIMITS)
]
_TimeOut: TypeAlias = Annotated[
    float | None, typer.Option("--timeout", help="Seconds for one call.", rich_help_panel=_LIMITS)
]
_Attempts: TypeAlias = Annotated[
    int | None,
    typer.Option(min=1, help="How often a call is tried when the server is busy or broken.", rich_help_panel=_LIMITS),
]
_RequestsPerMinute: TypeAlias = Annotated[
    float | None, typer.Option("--rpm", help="Requests a minute.", rich_help_panel=_LIMITS)
]
_TokensPerMinute: TypeAlias = Annotated[
    float | None, typer.Option("--tpm", help="Tokens a minute.", rich_help_panel=_LIMITS)
]
_RequestsPerDay: TypeAlias = Annotated[
    int | None, typer.Option("--rpd", min=1, help="Requests in 24 hours.", rich_help_panel=_LIMITS)
]
_Budget: TypeAlias = Annotated[
    float | None,
    typer.Option(min=0.0, help="US dollars that all runs in this folder may cost together.", rich_help_panel=_COST),
]
_PriceIn: TypeAlias = Annotated[
    float | None, typer.Option(min=0.0, help="US dollars a million input tokens.", rich_help_panel=_COST)
]
_PriceOut: TypeAlias = Annotated[
    float | None, typer.Option(min=0.0, help="US dollars a million output tokens.", rich_help_panel=_COST)
]
_Yes: TypeAlias = Annotated[
    bool, typer.Option("--yes", "-y", help="Do not ask before spending.", rich_help_panel=_COST)
]


@dataclass(frozen=True)
class OracleOptions:
    """What was said of the model to ask: where it is, how to treat it, and what it may cost."""

    preset: _PresetName = None
    base_url: _BaseUrl = None
    max_output_tokens: _MaxOutput = None
    temperature: _Temperature = None
    reasoning_effort: _Effort = None
    concurrency: _Concurrency = None
    timeout: _TimeOut = None
    attempts: _Attempts = None
    rpm: _RequestsPerMinute = None
    tpm: _TokensPerMinute = None
    rpd: _RequestsPerDay = None
    budget: _Budget = None
    price_in: _PriceIn = None
    price_out: _PriceOut = None
    yes: _Yes = False

    def endpoint(self, model: str | None) -> Endpoint:
        """Return the endpoint of a model.

        Raises:
            SettingError: as `make_endpoint` does.
        """
        from distilled_filters.training.oracle.providers import make_endpoint

        return make_endpoint(
            self.preset, self.base_url, model, self.price_in, self.price_out,
            max_output_tokens=self.max_output_tokens, temperature=self.temperature,
            reasoning_effort=self.reasoning_effort, concurrency=self.concurrency, timeout=self.timeout,
            attempts=self.attempts, requests_per_minute=self.rpm, tokens_per_minute=self.tpm,
            requests_per_day=self.rpd,
        )  # fmt: skip


def asks_a_model(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `OracleOptions` in the place of its parameter `oracle`."""
    hints, keyword = get_type_hints(OracleOptions, include_extras=True), inspect.Parameter.KEYWORD_ONLY
    options = [
        inspect.Parameter(field.name, keyword, default=field.default, annotation=hints[field.name])
        for field in fields(OracleOptions)
    ]
    own = inspect.signature(command, eval_str=True)

    @functools.wraps(command)
    def with_options(**values: Any) -> None:
        command(oracle=OracleOptions(**{option.name: values.pop(option.name) for option in options}), **values)

    parameters: list[inspect.Parameter] = []
    for parameter in own.parameters.values():
        parameters += options if parameter.name == "oracle" else [parameter.replace(kind=keyword)]
    # Typer reads a command's options off its signature.
    with_options.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    return with_options
