"""Score a pandas or polars data frame: one column a filter, rows stay where they are."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from distilled_filters import Panel

frame = pd.read_json(Path(__file__).with_name("articles.jsonl"), lines=True)
scores = Panel.all().score_batch(frame[["title", "content"]].to_dict("records"))
for name in scores[0]:
    frame[name] = [row[name].weighted_average for row in scores]
print(frame.drop(columns=["content", "language"]).round(1).to_string(max_colwidth=30))

# With polars only the ends differ:
#     rows = polars.read_ndjson("articles.jsonl").to_dicts()
#     frame.with_columns(polars.Series(name, [row[name].weighted_average for row in scores]))
