"""Where oracles are to be had, what they cost, and which dialect of the OpenAI protocol they speak."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from distilled_filters.errors import SettingError

__all__ = ["PRESETS", "Batching", "Endpoint", "Preset", "Prices", "Structure", "Usage", "batching_of", "make_endpoint"]

_MILLION = 1_000_000
# The most that the protocol takes.
_HOTTEST = 2
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Structure(StrEnum):
    """How a provider is told the form of an answer, the strictest first."""

    SCHEMA = "json_schema"
    OBJECT = "json_object"
    WORDS = "words"
    """By the prompt alone."""


class Batching(StrEnum):
    """In which protocol a provider takes batches, at half the price."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GEMINI = "gemini"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one or more calls, as providers bill them."""

    prompt: int = 0
    cached: int = 0
    """The part of `prompt` that came from the provider's cache."""
    output: int = 0
    """Written tokens, thinking included."""
    thinking: int = 0
    """The part of `output` that nobody reads."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt + other.prompt, self.cached + other.cached,
            self.output + other.output, self.thinking + other.thinking,
        )  # fmt: skip

    @classmethod
    def of(cls, usage: Mapping[str, Any]) -> Usage:
        """Read the `usage` of a chat completion.

        OpenAI counts thinking within `completion_tokens`; Gemini's endpoint leaves it out
        of there and counts it in `total_tokens` only, so the larger of the two is billed.
        """
        prompt, completion = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
        output = max(completion, _count(usage, "total_tokens") - prompt)
        thinking = _count(usage.get("completion_tokens_details"), "reasoning_tokens") or output - completion
        cached = _count(usage.get("prompt_tokens_details"), "cached_tokens") or _count(usage, "prompt_cache_hit_tokens")
        return cls(prompt, min(cached, prompt), output, min(thinking, output))


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars a million tokens, and the day they were looked up."""

    input: float
    output: float
    cached: float | None = None
    """Cached input; None where it costs what other input does, or nobody looked."""
    looked_up: str = ""

    def cost(self, usage: Usage) -> float:
        """Return US dollars."""
        cached = self.input if self.cached is None else self.cached
        fresh = usage.prompt - usage.cached
        return (fresh * self.input + usage.cached * cached + usage.output * self.output) / _MILLION


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One model at one address, and how to treat it."""

    base_url: str
    model: str
    prices: Prices | None = None
    """None where nobody said what it costs."""
    structure: Structure = Structure.SCHEMA
    limit_field: str = "max_tokens"
    max_output_tokens: int = 4096
    """Thinking included."""
    temperature: float | None = None
    """None leaves it to the provider; some thinking models refuse any other."""
    reasoning_effort: str | None = None
    concurrency: int = 8
    timeout: float = 120.0
    """Seconds for one call, from sending to the last byte."""
    attempts: int = 6
    """How often one call is tried before its question is given up."""
    backoff: float = 1.0
    """Seconds of the first pause after an error; later ones double, up to a minute."""
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    requests_per_day: int | None = None
    batches: Batching | None = None
    """None where the provider has none."""

    @property
    def is_local(self) -> bool:
        """Whether it runs on this machine, where no key is asked for and nothing is billed."""
        return urlsplit(self.base_url).hostname in _LOOPBACK


@dataclass(frozen=True, slots=True)
class Preset:
    """A provider: its endpoint with a model to begin with, and the prices of the models known here."""

    endpoint: Endpoint
    prices: Mapping[str, Prices]


def _preset(base_url: str, model: str, prices: Mapping[str, Prices], **settings: Any) -> Preset:
    endpoint = Endpoint(base_url, model, max_output_tokens=8192)
    return Preset(replace(endpoint, **settings), MappingProxyType(dict(prices)))


_GEMINI = "https://generativelanguage.googleapis.com/v1beta/openai/"
_GEMINI_PRICES = {
    "gemini-2.5-flash": Prices(0.30, 2.50, None, "2026-03-31"),
    "gemini-2.5-pro": Prices(1.25, 10.00, None, "2026-03-31"),
    "gemini-3.1-pro-preview": Prices(2.00, 12.00, None, "2026-04-30"),
}
# Local servers run one request after the other; more at once only run into the time-out.
_LOCAL: dict[str, Any] = {"concurrency": 2, "timeout": 600.0, "max_output_tokens": 2048}

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "gemini-flash": _preset(_GEMINI, "gemini-2.5-flash", _GEMINI_PRICES, batches=Batching.GEMINI),
        "gemini-pro": _preset(_GEMINI, "gemini-2.5-pro", _GEMINI_PRICES, batches=Batching.GEMINI),
        "openai": _preset(
            "https://api.openai.com/v1",
            "gpt-5.4-mini",
            {
                "gpt-5.4-mini": Prices(0.75, 4.50, 0.075, "2026-04-30"),
                "gpt-5.4": Prices(2.50, 15.00, 0.25, "2026-04-30"),
            },
            limit_field="max_completion_tokens",
            batches=Batching.OPENAI,
        ),
        # Anthropic's OpenAI-compatible address reads the prompt and ignores `response_format`.
        "anthropic": _preset(
            "https://api.anthropic.com/v1/",
            "claude-haiku-4-5",
            {
                "claude-haiku-4-5": Prices(1.00, 5.00, None, "2026-04-30"),
                "claude-sonnet-4-6": Prices(3.00, 15.00, None, "2026-04-30"),
            },
            structure=Structure.WORDS,
            batches=Batching.ANTHROPIC,
        ),
        "deepseek": _preset(
            "https://api.deepseek.com",
            "deepseek-v4-flash",
            {"deepseek-v4-flash": Prices(0.14, 0.28, 0.0028, "2026-04-30")},
            structure=Structure.OBJECT,
        ),
        "vllm": _preset("http://127.0.0.1:8000/v1", "", {}, **{**_LOCAL, "concurrency": 32}),
        "ollama": _preset("http://127.0.0.1:11434/v1", "", {}, **_LOCAL),
    }
)
"""Providers by name. Prices move: the provider's bill decides, and `--price-in` and `--price-out` override."""


def make_endpoint(
    preset: str | None = None,
    base_url: str | None = None,
    model: str | None = None,
    price_in: float | None = None,
    price_out: float | None = None,
    **settings: Any,
) -> Endpoint:
    """Return an endpoint from a preset, from an address and a model, or from both; what is given overrides.

    `settings` are fields of `Endpoint`; None leaves the preset's value. Prices are US
    dollars a million tokens; they are known for a preset's own models and for nobody else's.

    Raises:
        SettingError: for an unknown preset, a missing address or model, half a price, or a
            number out of range.
    """
    if preset is not None and preset not in PRESETS:
        raise SettingError(f"no preset {preset!r}; known are {', '.join(PRESETS)}")
    known = PRESETS[preset] if preset else Preset(Endpoint(base_url or "", "", batches=Batching.OPENAI), {})
    base_url, model = base_url or known.endpoint.base_url, model or known.endpoint.model
    if not urlsplit(base_url).hostname or urlsplit(base_url).scheme not in {"http", "https"}:
        raise SettingError(
            f"--base-url {base_url!r} is no address such as https://api.example.org/v1; "
            f"or choose --preset {', '.join(PRESETS)}"
        )
    if not model:
        raise SettingError("say which --model to ask; the server lists its models under /models")
    if (price_in is None) != (price_out is None):
        raise SettingError("--price-in and --price-out belong together: US dollars a million tokens")
    prices = known.endpoint.prices or known.prices.get(model)
    if price_in is not None and price_out is not None:
        prices = Prices(price_in, price_out, looked_up="given")
    given = {name: value for name, value in settings.items() if value is not None}
    endpoint = replace(known.endpoint, base_url=base_url, model=model, prices=prices, **given)
    if endpoint.prices is None and endpoint.is_local:
        endpoint = replace(endpoint, prices=Prices(0.0, 0.0))
    _check(endpoint)
    return endpoint


def batching_of(endpoint: Endpoint) -> Batching:
    """Return the protocol in which an endpoint takes batches.

    Raises:
        SettingError: when it takes none.
    """
    if endpoint.batches is None:
        having = [name for name, preset in PRESETS.items() if preset.endpoint.batches]
        raise SettingError(
            f"{endpoint.base_url} has no batches: leave --batch out, or ask a provider that has them, "
            f"--preset {', '.join(having)}"
        )
    return endpoint.batches


def _check(endpoint: Endpoint) -> None:
    for name in (
        "concurrency", "timeout", "attempts", "max_output_tokens",
        "requests_per_minute", "tokens_per_minute", "requests_per_day",
    ):  # fmt: skip
        value = getattr(endpoint, name)
        if value is not None and not value > 0:
            raise SettingError(f"{name.replace('_', ' ')} is {value}; it must be more than 0")
    if endpoint.temperature is not None and not 0 <= endpoint.temperature <= _HOTTEST:
        raise SettingError(f"temperature is {endpoint.temperature}; it must be 0 to {_HOTTEST}")
    prices = endpoint.prices
    if prices and not min(prices.input, prices.output) >= 0:
        raise SettingError(f"prices are {prices.input} and {prices.output}; they must be 0 or more")


def _count(fields: object, key: str) -> int:
    value = fields.get(key) if isinstance(fields, Mapping) else None
    return value if isinstance(value, int) and value > 0 else 0
