"""Whether a quote stands in an article, but for what typography may change."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

__all__ = ["is_verbatim", "missing_quotes"]

_ELISION = re.compile(r"\[?(?:\.\.\.|…)\]?")
# Single, double and angle quotation marks, accents and primes that stand for them; hyphens, dashes and the minus sign.
_MARKS = re.compile("[\"'`\u00b4\u00ab\u00bb\u2018-\u201f\u2032\u2033\u2039\u203a]")
_DASHES = re.compile("[\u2010-\u2015\u2212]")
_EDGE = " .,;:!?-"


def is_verbatim(quote: str, text: str) -> bool:
    """Tell whether a quote stands in a text word for word.

    Case, white space, the kind of quotation marks and dashes, and punctuation at its ends do
    not count; an elision stands for anything between its parts, which must come in order.
    """
    text, position = _normal(text), 0
    for part in _ELISION.split(quote):
        wanted = _normal(part).strip(_EDGE)
        if not wanted:
            continue
        found = text.find(wanted, position)
        if found < 0:
            return False
        position = found + len(wanted)
    return True


def missing_quotes(marks: Iterable[tuple[str, float, str]], text: str) -> list[tuple[str, str]]:
    """Return name and quote of the marks (name, score, quote) whose quote is not in the text."""
    return [(name, quote) for name, _, quote in marks if not is_verbatim(quote, text)]


def _normal(text: str) -> str:
    plain = _DASHES.sub("-", _MARKS.sub("", text))
    return " ".join(unicodedata.normalize("NFKC", plain).casefold().split())
