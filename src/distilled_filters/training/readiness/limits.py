"""The numbers that checks and rubric hold data against; docs/readiness.md says where they come from."""

from __future__ import annotations

__all__ = [
    "AGREEMENT",
    "ALIKE",
    "COPIES",
    "EDGES",
    "ENOUGH",
    "FEWEST",
    "HELD_OUT_LEAST",
    "HELD_OUT_MOST",
    "HELD_OUT_POSITIVES",
    "NEAR",
    "OF_EACH_TIER",
    "OF_LANGUAGE",
    "OF_NATURAL",
    "OF_SECTION",
    "POSITIVES",
    "PREFERRED",
    "PREMATURE",
    "READ_TWICE",
    "REFUSED",
    "REVIEWED",
    "VOLUME",
]

# Least numbers of articles.
FEWEST, PREFERRED = 500, 1000
POSITIVES, HELD_OUT_POSITIVES = 50, 10
OF_EACH_TIER, OF_LANGUAGE, OF_NATURAL = 10, 50, 300
EDGES, READ_TWICE = 30, 50
# Articles a day under which a prompt is simpler.
VOLUME = 100
# An article this close to the medium boundary, on the 0-10 scale, is an edge case.
NEAR = 1.0
# Shares, 0-1, that are the least.
AGREEMENT, REVIEWED, HELD_OUT_LEAST = 0.9, 0.05, 0.15
# Shares, 0-1, that are the most.
HELD_OUT_MOST, ALIKE, REFUSED, COPIES = 0.35, 0.8, 0.05, 0.1
# Points, of 35: justified, and no longer premature; and of 5 in every section.
ENOUGH, PREMATURE, OF_SECTION = 28, 18, 3
