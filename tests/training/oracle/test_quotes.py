"""A quote is verbatim but for what typography changes."""

from __future__ import annotations

import pytest

from distilled_filters.training.oracle.quotes import is_verbatim

TEXT = (
    "The  council said: \u201cWe\u2019ve planted 4\u00a0000 trees \u2014 oaks, mostly\u201d. Deaths fell from 31 to 12."
)


@pytest.mark.parametrize(
    "quote",
    [
        "",
        "The council said",
        "we've planted 4 000 trees - oaks, mostly",
        "\u00abWe've planted 4 000 trees\u00bb",
        "The council said ... Deaths fell from 31 to 12",
        "The council [\u2026] trees",
        '"Deaths fell from 31 to 12".',
    ],
)
def test_verbatim(quote: str) -> None:
    assert is_verbatim(quote, TEXT)


@pytest.mark.parametrize(
    "quote", ["Deaths fell from 31 to 21", "Deaths fell ... The council said", "The councils said", "oaks and elms"]
)
def test_not_verbatim(quote: str) -> None:
    assert not is_verbatim(quote, TEXT)
