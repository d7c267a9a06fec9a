"""How many synthetic articles may stand beside the real ones in training, and which are left out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from distilled_filters.errors import SettingError

__all__ = ["Mix", "Mixed", "hold_mix", "parse_mix"]


_WHOLE = 100


@dataclass(frozen=True)
class Mix:
    """Shares of real and synthetic articles, such as 70 and 30; `drop_real` says which side may be cut.

    Attributes:
        real: Parts of real articles.
        synthetic: Parts of synthetic ones.
        drop_real: Leave real articles out where synthetic ones are too few; otherwise they all stay.
    """

    real: int
    synthetic: int
    drop_real: bool = False

    def __str__(self) -> str:
        return f"{self.real}/{self.synthetic}"


@dataclass(frozen=True)
class Mixed:
    """What a mix comes to: how many articles of either kind there are in training, and the ids left out."""

    mix: Mix
    real: int
    synthetic: int
    left_out: Sequence[str]

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "asked": str(self.mix), "drop_real": self.mix.drop_real, "real": self.real, "synthetic": self.synthetic,
            "left_out": len(self.left_out),
        }  # fmt: skip


def parse_mix(text: str, *, drop_real: bool = False) -> Mix:
    """Read a mix such as `70/30`: shares of real and synthetic articles, in a hundred.

    Raises:
        SettingError: for anything else.
    """
    real, slash, synthetic = text.partition("/")
    if not (slash and real.strip().isdecimal() and synthetic.strip().isdecimal()) or int(real) == 0:
        raise SettingError(
            f"--mix {text!r} is no pair of shares such as 70/30: real articles first, at least 1 of them"
        )
    if int(real) + int(synthetic) != _WHOLE:
        raise SettingError(
            f"--mix {text!r} adds up to {int(real) + int(synthetic)}, not 100: give shares such as "
            f"{_share(int(real), int(synthetic))}"
        )
    return Mix(int(real), int(synthetic), drop_real)


def hold_mix(mix: Mix, articles: Mapping[str, bool], seed: int) -> Mixed:
    """Say which training articles to leave out; `articles` tells by id which are synthetic.

    Those that stay have the lowest seeded digests of their ids, so that further articles
    change the choice little.
    """
    real = _drawn([id_ for id_, synthetic in articles.items() if not synthetic], seed)
    synthetic = _drawn([id_ for id_, synthetic in articles.items() if synthetic], seed)
    most_synthetic = int(len(real) * Fraction(mix.synthetic, mix.real))
    left_out = synthetic[most_synthetic:]
    synthetic = synthetic[:most_synthetic]
    if mix.drop_real and mix.synthetic:
        most_real = int(len(synthetic) * Fraction(mix.real, mix.synthetic))
        left_out = [*left_out, *real[most_real:]]
        real = real[:most_real]
    return Mixed(mix, len(real), len(synthetic), left_out)


def _share(real: int, synthetic: int) -> str:
    """Return the shares in a hundred that stand nearest to a ratio, some real ones among them."""
    share = max(1, round(_WHOLE * real / (real + synthetic)))
    return f"{share}/{_WHOLE - share}"


def _drawn(ids: Sequence[str], seed: int) -> list[str]:
    return sorted(ids, key=lambda id_: hashlib.sha256(repr((seed, id_)).encode()).hexdigest())
