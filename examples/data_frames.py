"""Score a pandas data frame: columns of scores behind its own, rows stay where they are."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

import distilled_filters.integrations.pandas  # noqa: F401  gives frames `.distilled`

frame = pd.read_json(Path(__file__).with_name("articles.jsonl"), lines=True)
scored = frame.distilled.score()
averages = scored.filter(like="_weighted_average").rename(columns=lambda name: name.removesuffix("_weighted_average"))
print(averages.round(1).assign(title=frame["title"].str[:40]).set_index("title").to_string())

# With polars it is the same, after `import distilled_filters.integrations.polars`.
