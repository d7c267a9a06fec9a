"""The numbers that checks and rubric hold data against; docs/readiness.md says where they come from."""

from __future__ import annotations

__all__ = [
    "AGREEMENT",
    "ALIKE",
    "ALIKE_PAIR",
    "COPIES",
    "EDGES",
    "EMPTY_BINS",
    "ENOUGH",
    "FEWEST",
    "GAIN",
    "HELD_OUT_LEAST",
    "HELD_OUT_MOST",
    "HELD_OUT_POSITIVES",
    "KAPPA",
    "LARGEST_LANGUAGE",
    "LARGEST_SOURCE",
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
    "SOURCE_OF_POSITIVES",
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
LARGEST_SOURCE, SOURCE_OF_POSITIVES, LARGEST_LANGUAGE = 0.2, 0.3, 0.8
# Cohen's kappa of tiers between two readings: "substantial" begins here (Landis and Koch, 1977).
KAPPA = 0.6
# Correlation of two dimensions from which they are nearly the same; points of the scale that may be
# empty; average precision that the second half of the labels must gain to be worth buying again.
ALIKE_PAIR, EMPTY_BINS, GAIN = 0.9, 3, 0.02
# Points, of 35: justified, and no longer premature; and of 5 in every section.
ENOUGH, PREMATURE, OF_SECTION = 28, 18, 3
