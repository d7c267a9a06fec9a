"""How the scoring of one record ended."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Status"]


class Status(StrEnum):
    """How the scoring of one record ended; only `ok` comes with numbers."""

    OK = "ok"
    INVALID = "invalid"
    """Not an article: None, bytes, NaN, a number, a mapping without text."""
    NO_CONTENT = "no_content"
    """Nothing to read: empty, markup only, no letter or digit, a consent wall or cookie banner."""
    TOO_SHORT = "too_short"
    """Fewer characters than the filter's `min_characters`."""
    TOO_LONG = "too_long"
    """More characters than the filter's `max_characters`; never read."""
    UNSUPPORTED_SCRIPT = "unsupported_script"
    """Most of the text is in a script that the backbone's vocabulary lacks."""
    ERROR = "error"
    """The student failed on this record."""
