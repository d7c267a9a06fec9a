"""What providers' usage means, and which endpoints can be asked for."""

from __future__ import annotations

import pytest

from distilled_filters.errors import SettingError
from distilled_filters.training.oracle.providers import PRESETS, Prices, Structure, Usage, make_endpoint


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        # OpenAI: thinking is part of the completion.
        (
            {
                "prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150,
                "completion_tokens_details": {"reasoning_tokens": 30}, "prompt_tokens_details": {"cached_tokens": 80},
            },
            Usage(prompt=100, cached=80, output=50, thinking=30),
        ),
        # Gemini: thinking stands in the total only.
        ({"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 350}, Usage(100, 0, 250, 200)),
        # DeepSeek: its own name for the cache.
        (
            {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "prompt_cache_hit_tokens": 8},
            Usage(10, 8, 5, 0),
        ),
        ({"prompt_tokens": None}, Usage()),
    ],
)  # fmt: skip
def test_usage_counts_thinking_and_cache(told: dict[str, object], usage: Usage) -> None:
    assert Usage.of(told) == usage


def test_a_price_is_a_million_tokens() -> None:
    usage = Usage(prompt=1_000_000, cached=400_000, output=100_000)
    assert Prices(1.0, 10.0, 0.5).cost(usage) == pytest.approx(0.6 + 0.2 + 1.0)
    assert Prices(1.0, 10.0).cost(usage) == pytest.approx(2.0)


def test_every_preset_is_complete() -> None:
    for name, preset in PRESETS.items():
        endpoint = make_endpoint(name, model=preset.endpoint.model or "any")
        assert endpoint.prices is not None, name
        assert all(prices.looked_up for prices in preset.prices.values())


def test_what_is_given_overrides_the_preset() -> None:
    endpoint = make_endpoint("deepseek", model="deepseek-new", price_in=1.0, price_out=2.0, timeout=3.0)
    assert (endpoint.model, endpoint.timeout, endpoint.structure) == ("deepseek-new", 3.0, Structure.OBJECT)
    assert endpoint.prices == Prices(1.0, 2.0, looked_up="given")
    assert make_endpoint("openai", model="unheard-of").prices is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"preset": "gemini"}, "known are gemini-flash"),
        ({"model": "m"}, "--base-url"),
        ({"base_url": "example.org", "model": "m"}, "no address"),
        ({"preset": "ollama"}, "--model"),
        ({"preset": "openai", "price_in": 1.0}, "belong together"),
        ({"preset": "openai", "timeout": 0.0}, "timeout is 0.0"),
        ({"preset": "openai", "temperature": float("nan")}, "temperature is nan"),
    ],
)
def test_half_an_endpoint_is_refused(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        make_endpoint(**arguments)  # type: ignore[arg-type]
