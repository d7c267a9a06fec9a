"""Replay active learning on labelled data: `python benchmarks/active.py [--data DATA] --json OUT [--plot OUT.png]`."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer

from distilled_filters.files import write_json
from distilled_filters.preprocess import Preprocessor
from distilled_filters.training.active.proxy import Features
from distilled_filters.training.active.simulation import (
    QUALITIES,
    RANDOM,
    Plan,
    Question,
    mean_curve,
    replay,
    share_needed,
)
from distilled_filters.training.active.strategies import MIXED, STRATEGIES
from distilled_filters.training.data import Example, read_examples, read_lenses, shared_preprocessing, true_dimensions

# What no student has chosen or a language model written; the whole training split has both.
_POOLS: dict[str, Sequence[str] | None] = {"real": ("natural", "enriched"), "whole": None}
_TRAINING = ("train", "calibration")
_SPLITS = ("validation", "test")
_STRATEGIES = (RANDOM, MIXED, *(name for name in STRATEGIES if name != RANDOM))


def main() -> None:
    options = _options()
    if options.data:
        _replay_all(options, Console(stderr=True))
    results = json.loads(options.json.read_text(encoding="utf-8"))
    for split in _SPLITS:
        shares = results["shares"][split][options.quality]
        Console().print(_table(shares, list(results["runs"]), f"{split}, {options.quality}"))
    if options.plot:
        from active_plot import draw

        draw(results, options.plot, quality=options.quality)


def _replay_all(options: argparse.Namespace, console: Console) -> None:
    """Bring the runs that the JSON lacks into it."""
    plan = Plan(budget=options.budget)
    lenses = [lens for lens in read_lenses(options.filters) if not options.lens or lens.name in options.lens]
    examples, pool, judged = _articles(options, console)
    settings = {
        "pool": options.pool,
        "pool_articles": len(pool),
        "judged_articles": {split: len(rows) for split, rows in judged.items()},
        "plan": vars(plan),
    }
    done = _earlier(options.json, settings)
    texts, bags = [example.text for example in examples], [example.bag for example in examples]
    with console.status("features"):
        features = Features(texts, bags, 1 + max(int(bag.tokens.max()) for bag in bags), pool)
    for strategy in options.strategies:
        for lens in lenses:
            question = Question(lens, true_dimensions(examples, lens), pool, judged)
            runs = done.setdefault(lens.name, {}).setdefault(strategy, [])
            wanted = options.random_runs if strategy == RANDOM else options.runs
            with console.status(f"{lens.name}, {strategy}"):
                for seed in range(len(runs), wanted):
                    runs.append(_rounded(replay(features, question, strategy, seed, plan)))
            write_json(options.json, {"settings": settings, "runs": done, "shares": _shares(done, plan)})
            console.print(f"{lens.name}, {strategy}: {len(runs)} runs")


def _shares(done: dict[str, dict[str, list[Any]]], plan: Plan) -> dict[str, Any]:
    """Return, by split, figure, strategy and lens, the share of the labels that random selection's last mean takes."""

    def share(lens: str, strategy: str, split: str, quality: str) -> float | None:
        target = float(mean_curve(done[lens][RANDOM], split, quality)[-1])
        return share_needed(plan.labels, mean_curve(done[lens][strategy], split, quality), target)

    strategies = dict.fromkeys(strategy for runs in done.values() for strategy in runs if strategy != RANDOM)
    return {
        split: {
            quality: {
                strategy: {
                    lens: share(lens, strategy, split, quality)
                    for lens, runs in done.items()
                    if runs.get(strategy) and runs.get(RANDOM)
                }
                for strategy in strategies
            }
            for quality in QUALITIES
        }
        for split in _SPLITS
    }


def _table(shares: dict[str, dict[str, float | None]], lenses: Sequence[str], title: str) -> Table:
    """Show the share of the labels that each strategy needs for what random selection reaches with all."""
    table = Table("lens", *shares, title=title, box=None)
    for lens in lenses:
        cells = [each.get(lens, math.nan) for each in shares.values()]
        table.add_row(lens, *("never" if cell is None else "" if math.isnan(cell) else f"{cell:.0%}" for cell in cells))
    return table


def _rounded(run: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, list[float]]]:
    return {
        split: {name: [round(value, 4) for value in curve] for name, curve in curves.items()}
        for split, curves in run.items()
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="a data folder; without one, what the JSON holds is shown")
    parser.add_argument("--filters", type=Path, default=Path("filters"), help="the lenses, and a tokenizer")
    parser.add_argument("--json", type=Path, required=True, metavar="OUT", help="results; runs that it holds are kept")
    parser.add_argument("--plot", type=Path, metavar="OUT.png", help="draw the curves on the test split")
    parser.add_argument("--quality", choices=QUALITIES, default=QUALITIES[0], help="which figure to show and draw")
    parser.add_argument("--pool", choices=_POOLS, default="real", help="which training articles may be labelled")
    parser.add_argument("--budget", type=int, default=Plan.budget, help="labels in the end")
    parser.add_argument("--random-runs", type=int, default=8, help="seeds of random selection")
    parser.add_argument("--runs", type=int, default=4, help="seeds of every other strategy")
    parser.add_argument("--strategies", nargs="+", choices=_STRATEGIES, default=list(_STRATEGIES))
    parser.add_argument("--lens", action="append", help="this lens only; may be repeated")
    return parser.parse_args()


def _articles(options: argparse.Namespace, console: Console) -> tuple[list[Example], Any, dict[str, Any]]:
    """Return the articles in play, and the indices of the pool and of each held-out split."""
    lenses = read_lenses(options.filters)
    tokenizer = Tokenizer.from_file(str(next(options.filters.glob("backbones/*/v*/tokenizer.json"))))
    with console.status("reading articles"):
        found = read_examples(options.data, lenses, Preprocessor(shared_preprocessing(lenses), tokenizer))
    strata = _POOLS[options.pool]
    pool = [each for each in found if each.split in _TRAINING and (strata is None or each.stratum in strata)]
    parts = {split: [each for each in found if each.split == split] for split in _SPLITS}
    examples, ends = pool + [each for part in parts.values() for each in part], len(pool)
    judged = {}
    for split, part in parts.items():
        judged[split] = np.arange(ends, ends + len(part))
        ends += len(part)
    return examples, np.arange(len(pool)), judged


def _earlier(path: Path, settings: dict[str, Any]) -> dict[str, dict[str, list[Any]]]:
    if not path.is_file():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    if found["settings"] != settings:
        raise SystemExit(f"{path} holds runs with other settings; name another --json, or remove it")
    runs: dict[str, dict[str, list[Any]]] = found["runs"]
    return runs


if __name__ == "__main__":
    main()
