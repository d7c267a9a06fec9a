"""Writes the walk-through's pool: invented articles in three languages, the same for the same seed."""

from __future__ import annotations

import argparse
import json
import random
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

DIMENSIONS = ("depth", "openness", "evidence")
LANGUAGES = ("en", "nl", "es")
SENTENCES: Mapping[str, Any] = tomllib.loads((Path(__file__).parent / "sentences.toml").read_text(encoding="utf-8"))

# Far from what a newsroom publishes, or a pool this small would teach nothing: a third belongs to the lens.
_KINDS = {"inside": 0.35, "announced": 0.10, "outside": 0.55}


class Writer:
    """Fills sentences with names and numbers, and puts them together; `chance` decides all."""

    def __init__(self, language: str, chance: random.Random) -> None:
        self.words, self.chance = SENTENCES[language], chance
        self.slots = {
            "thing": chance.choice(self.words["things"]),
            "town": chance.choice(SENTENCES["towns"]),
            "company": chance.choice(SENTENCES["companies"]),
        }

    def article(self, kind: str, levels: Sequence[int] = (), filler: int = 6) -> dict[str, str]:
        """Return title and content: of the lens at these levels, an announcement, or other news."""
        if kind == "inside":
            title, lead = self.chance.choice(self.words["titles"]), [self.chance.choice(self.words["openings"])]
            marked = [
                self.chance.choice(self.words[name]["levels"][level])
                for name, level in zip(DIMENSIONS, levels, strict=True)
            ]
        else:
            told = self.words["announced"] if kind == "announced" else self.chance.choice(self.words["outside"])
            title, lead, marked = told[0], [told[1]], self.chance.sample(told[2:], k=2)
        rest = [*marked, *self.chance.sample(self.words["filler"], k=filler)]
        self.chance.shuffle(rest)
        return {"title": self._fill(title), "content": " ".join(map(self._fill, [*lead, *rest]))}

    def _fill(self, text: str) -> str:
        return text.format(
            **self.slots,
            person=self.chance.choice(SENTENCES["names"]),
            number=self.chance.randint(12, 96),
            year=self.chance.randint(1931, 2019),
        )


def articles(count: int, seed: int) -> list[dict[str, str]]:
    """Return rows as `distillery label` reads them."""
    rows = []
    for number in range(count):
        chance = random.Random(f"{seed} {number}")
        language = LANGUAGES[number % len(LANGUAGES)]
        (kind,) = chance.choices([*_KINDS], weights=[*_KINDS.values()])
        # One strength for the whole article, and each dimension near it: real dimensions rise together, too.
        strength = chance.randrange(4)
        levels = [min(3, max(0, strength + chance.choice((-1, 0, 0, 1)))) for _ in DIMENSIONS]
        written = Writer(language, chance).article(kind, levels, filler=chance.randint(4, 7))
        origin = {"language": language, "source": f"{language}-paper-{chance.randint(1, 4)}", "stratum": "natural"}
        rows.append({"id": f"pool-{seed}-{number:04}", **written, **origin})
    return rows


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=600)
    options.add_argument("--seed", type=int, default=1, help="another seed writes other articles")
    options.add_argument("--output", type=Path, required=True)
    given = options.parse_args()
    given.output.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in articles(given.count, given.seed)]
    given.output.write_text("".join(lines), encoding="utf-8")
    print(f"wrote {given.count} articles: {given.output}")


if __name__ == "__main__":
    main()
