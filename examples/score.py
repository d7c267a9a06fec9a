"""Score the example articles by every installed filter and print what is worth reading."""

from __future__ import annotations

import json
from pathlib import Path

from distilled_filters import Panel

articles = [json.loads(line) for line in Path(__file__).with_name("articles.jsonl").open(encoding="utf-8")]
for article, scores in zip(articles, Panel.all().score_iter(articles), strict=True):
    hits = {name: score for name, score in scores.items() if score.tier in {"medium", "high"}}
    print(f"{article['id']}  {article['title'][:60]}")
    for name, score in hits.items():
        print(f"    {name}: {score.tier}, {score.weighted_average:.1f} (percentile {score.percentile:.1f})")
