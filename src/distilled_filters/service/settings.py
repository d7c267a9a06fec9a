"""What an operator decides about a service: its limits, its token, and where feedback goes."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from pathlib import Path

from distilled_filters.errors import SettingError

__all__ = ["Settings", "token_from"]


@dataclass(frozen=True)
class Settings:
    """Limits of one service process; each has a route's error of its own when it is reached."""

    max_body: int = 8 * 2**20
    """Bytes of one request's body; beyond it 413."""
    max_articles: int = 256
    """Articles of one request; beyond it 422."""
    queue: int = 1024
    """Articles of all requests that may wait for a processor; beyond it 429 with `Retry-After`."""
    timeout: float = 30.0
    """Seconds a request may take to send its body (408), and again to be scored (504)."""
    connections: int = 512
    """Open connections; beyond it 503."""
    feedback: Path | None = None
    """The folder feedback is appended to; without one 501."""
    max_feedback: int = 256 * 2**20
    """Bytes of all files in that folder; beyond it 507."""
    token: str | None = field(default=None, repr=False)
    """What `Authorization: Bearer` must say under /v1 and at /metrics; else 401."""

    def __post_init__(self) -> None:
        """Refuse limits that nothing could pass.

        Raises:
            SettingError: naming the limit, its value, and what it must be.
        """
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, int | float) and not value > 0:
                raise SettingError(f"{each.name} must be more than 0, not {value!r}")
        if self.max_articles > self.queue:
            raise SettingError(
                f"a request of max_articles={self.max_articles} could never enter a queue of {self.queue}; "
                "make the queue longer or the requests smaller"
            )
        if self.feedback is not None and not self.feedback.is_dir():
            raise SettingError(f"there is no folder {self.feedback} to keep feedback in; make it first")


def token_from(variable: str | None) -> str | None:
    """Return the bearer token that an environment variable holds; None where no variable is named.

    Raises:
        SettingError: when the variable is named and empty: a service that should be closed must not stand open.
    """
    if variable is None:
        return None
    token = os.environ.get(variable, "").strip()
    if not token:
        raise SettingError(f"the environment variable {variable} holds no token; set it, or leave --token-env out")
    return token
