"""Race this library against its peers on real articles: `python benchmarks/race.py --data DATA --encoder BASE`.

One run, one table: articles a second of everyone on the same articles at their own lengths, taken in
turn, and how well everyone ranks them where the data has labels.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from processes import Worker, WorkerError, run_worker
from race_contestants import CONTESTANTS, Contestant, Settings
from report import figure_text, machine_of
from rich.console import Console
from rich.table import Table
from score import is_installed

from distilled_filters.threads import thread_count

_SCRIPT = Path(__file__).with_name("race_worker.py")
_BASE = "ours_all"
_MILLION, _HOUR = 1_000_000, 3600


@dataclass(frozen=True)
class Result:
    """What one contestant did; quality is a mean over the lenses, `None` where it cannot be told."""

    key: str
    label: str
    reads: str
    articles_per_s: float
    ratio: float
    dollars_a_million: float
    peak_mib: float
    ap_medium: float | None = None
    ap_scope: float | None = None
    mae: float | None = None


def main() -> None:
    options = _options()
    console, log = Console(), Console(stderr=True)
    options.cache.mkdir(parents=True, exist_ok=True)
    # The cache keeps what took long to fit; a run's own copies are made anew.
    with tempfile.TemporaryDirectory(prefix="distilled-filters-race-") as name, log.status("preparing") as status:
        folder = Path(name)
        settings, facts = _prepare(options, folder)
        skipped = {each.key: why for each in CONTESTANTS if (why := _obstacle(each, options.without))}
        timed = _race(folder, settings, facts["n"], options.rounds, skipped, status.update)
        truth, scopes = np.load(folder / "truth.npy"), np.load(folder / "scopes.npy")
        medium = np.array(json.loads((folder / "medium.json").read_text("utf-8")))
        status.update("measuring the machine's limit")
        peak = run_worker(_SCRIPT, folder, "limit")
    results = _results(timed, settings, truth, scopes, medium, options.price)
    limit = peak / facts["multiply_adds"]
    document = {
        "machine": machine_of(settings["threads"]), "settings": {**settings, "data": ""}, "facts": facts,
        "price": options.price, "results": [asdict(each) for each in results], "skipped": skipped,
        "int8_peak": peak, "limit_articles_per_s": limit,
    }  # fmt: skip
    _show(console, document)
    if options.json:
        options.json.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    if options.plot:
        from race_plot import draw

        draw(document, options.plot)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a data folder, as `distillery prepare` writes it")
    parser.add_argument("--encoder", required=True, help="the peers' encoder: a Hugging Face folder")
    parser.add_argument("--articles", type=int, help="the first N articles of the test split; default: all")
    parser.add_argument("--rounds", type=int, default=10, help="turns in which everyone takes a share of the articles")
    parser.add_argument("--threads", type=int, help="threads for all; default: what this process may use")
    parser.add_argument("--price", type=float, default=0.10, help="dollars an hour of such a machine; default: 0.10")
    parser.add_argument("--without", choices=[each.key for each in CONTESTANTS], action="append", default=[])
    parser.add_argument(
        "--cache", type=Path, default=Path.home() / ".cache" / "distilled-filters" / "race",
        help="where peers' heads and exports are kept between runs",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="OUT", help="write all figures here")
    parser.add_argument("--plot", type=Path, metavar="OUT.png", help="draw them here")
    return parser.parse_args()


def _prepare(options: argparse.Namespace, folder: Path) -> tuple[Settings, dict[str, Any]]:
    settings = Settings(
        threads=thread_count(options.threads), encoder=str(Path(options.encoder).resolve()), window=0, lenses=[],
        data=str(options.data.resolve()), articles=options.articles, cache=str(options.cache.resolve()),
    )  # fmt: skip
    _write(folder, settings)
    facts = run_worker(_SCRIPT, folder, "prepare")
    settings["window"], settings["lenses"] = facts["window"], facts["lenses"]
    _write(folder, settings)
    return settings, facts


def _write(folder: Path, settings: Settings) -> None:
    (folder / "settings.json").write_text(json.dumps(settings), "utf-8")


def _obstacle(contestant: Contestant, without: list[str]) -> str | None:
    if contestant.key in without:
        return "left out as asked"
    missing = [name for name in contestant.needs if not is_installed(name)]
    return f"{', '.join(missing)} not installed; pip install {' '.join(missing)}" if missing else None


@dataclass
class _Timed:
    """Seconds and scores of a contestant over its articles."""

    seconds: list[float]
    articles: list[int]
    scores: list[list[float]]
    peak_kib: int = 0


def _race(
    folder: Path, settings: Settings, n: int, rounds: int, skipped: dict[str, str], say: Any
) -> dict[str, _Timed]:
    """Start everyone, then let all take the same articles in turn, every other round backwards."""
    workers = {}
    for each in CONTESTANTS:
        if each.key not in skipped:
            say(f"preparing {each.key}")
            workers[each.key] = _ready(folder, each.key, skipped)
    timed = {key: _Timed([], [], []) for key, worker in workers.items() if worker}
    bounds = np.linspace(0, n, rounds + 1).astype(int)
    runners = [each for each in CONTESTANTS if each.key in timed]
    for number, (start, stop) in enumerate(pairwise(bounds)):
        for each in runners[::-1] if number % 2 else runners:
            say(f"round {number + 1} of {rounds}: {each.key}")
            last = min(stop, start + each.articles) if each.articles else stop
            worker = workers[each.key]
            assert worker
            reply = worker.ask({"start": int(start), "stop": int(last)})
            kept = timed[each.key]
            kept.seconds.append(reply["seconds"])
            kept.articles.append(int(last - start))
            kept.scores += reply["scores"] or []
            kept.peak_kib = max(kept.peak_kib, reply["peak_kib"])
    for worker in workers.values():
        if worker:
            worker.close()
    return timed


def _ready(folder: Path, key: str, skipped: dict[str, str]) -> Worker | None:
    """Start a contestant and wait until it is loaded; a peer that fails is left out, this library may not."""
    worker = Worker(_SCRIPT, folder, key)
    try:
        worker.ask({})
    except WorkerError as error:
        if key.startswith("ours"):
            raise
        skipped[key] = str(error)
        return None
    return worker


def _results(
    timed: dict[str, _Timed],
    settings: Settings,
    truth: npt.NDArray[np.float64],
    scopes: npt.NDArray[np.bool_],
    medium: npt.NDArray[np.float64],
    price: float,
) -> list[Result]:
    rates = {}
    for each in CONTESTANTS:
        if each.key in timed:
            kept, models = timed[each.key], len(settings["lenses"]) if each.each_lens else 1
            # The median of rounds, so that one hiccup of the machine counts for no one.
            rates[each.key] = float(np.median(np.divide(kept.articles, kept.seconds))) / models
    return [
        Result(
            key=each.key,
            label=each.label.format(lenses=len(settings["lenses"])),
            reads="whole articles" if each.whole else f"at most {settings['window']} tokens",
            articles_per_s=rates[each.key],
            ratio=rates[each.key] / rates[_BASE],
            dollars_a_million=_MILLION / rates[each.key] / _HOUR * price,
            peak_mib=timed[each.key].peak_kib / 1024,
            **_quality(np.array(timed[each.key].scores), truth, scopes, medium),
        )
        for each in CONTESTANTS
        if each.key in rates
    ]


def _quality(
    scores: npt.NDArray[np.float64],
    truth: npt.NDArray[np.float64],
    scopes: npt.NDArray[np.bool_],
    medium: npt.NDArray[np.float64],
) -> dict[str, float | None]:
    """Return means over the lenses; nothing where not every article was scored by every lens."""
    from sklearn.metrics import average_precision_score

    if scores.shape != truth.shape or not scores.any(axis=0).all():
        return {}
    lenses = range(truth.shape[1])
    figures: dict[str, float | None] = {
        "ap_medium": float(np.mean([average_precision_score(truth[:, k] >= medium[k], scores[:, k]) for k in lenses])),
        "ap_scope": float(np.mean([average_precision_score(scopes[:, k], scores[:, k]) for k in lenses])),
    }
    # Probabilities are no scores on the 0-10 scale.
    if scores.max() > 1:
        figures["mae"] = float(np.abs(np.clip(scores, 0, 10) - truth).mean())
    return figures


def _show(console: Console, document: dict[str, Any]) -> None:
    facts, machine = document["facts"], document["machine"]
    table = Table(
        title=f"{facts['n']} real articles of {facts['tokens']:.0f} tokens, {facts['tokens_read']:.0f} of them read; "
        f"{machine['cpu']}, {machine['threads']} threads"
    )
    for column in ("", "articles/s", "ratio", "$ a million", "MiB", "AP medium", "AP scope", "MAE", "reads"):
        table.add_column(column, justify="left" if column in ("", "reads") else "right")
    for each in document["results"]:
        table.add_row(
            each["label"], figure_text(each["articles_per_s"]), figure_text(each["ratio"]),
            figure_text(each["dollars_a_million"]), figure_text(each["peak_mib"]),
            *(f"{each[key]:.3f}" if each[key] is not None else "-" for key in ("ap_medium", "ap_scope", "mae")),
            each["reads"],
        )  # fmt: skip
    base = next(each for each in document["results"] if each["key"] == _BASE)
    limit = document["limit_articles_per_s"]
    table.add_row(
        "the machine's int8 limit", figure_text(limit), figure_text(limit / base["articles_per_s"]), "", "", "", "", "",
        f"{document['int8_peak'] / 1e9:,.0f} G multiply-adds/s",
    )  # fmt: skip
    console.print(table)
    for key, reason in document["skipped"].items():
        console.print(f"[dim]left out: {key}: {reason}[/dim]")
    if machine["load_average_before"] > 0.5:
        console.print(f"[yellow]load average {machine['load_average_before']} before the run[/yellow]")


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    main()
