"""Race this library against its peers on labelled articles: `python benchmarks/race.py --data DATA --encoder BASE`.

One run, one table: articles a second of everyone on the same articles at their own lengths, taken in
turn, and how well everyone ranks them where the data has labels. Peers may live in an interpreter of
their own (`--peers-python`, made from peers.txt).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
from pages import fill, show, table
from processes import Worker, WorkerError, run_worker
from race_contestants import CONTESTANTS, Contestant, Settings
from report import figure_text, machine_of
from rich.console import Console

from distilled_filters.threads import thread_count

_SCRIPT = Path(__file__).with_name("race_worker.py")
_BASE = "ours_all"
_MILLION, _HOUR = 1_000_000, 3600


@dataclass(frozen=True)
class Result:
    """What one contestant did.

    `times_slower` is against all filters of this library; the limit is that of the encoder, and says
    nothing of who has none; `ready_s` is what loading took, and fitting where the cache had nothing;
    quality is a mean over the lenses, `None` where it cannot be told.
    """

    key: str
    label: str
    reads: str
    articles_per_s: float
    times_slower: float
    share_of_limit: float | None
    dollars_a_million: float
    peak_mib: float
    ready_s: float
    ap_medium: float | None = None
    spearman: float | None = None


def main() -> None:
    options = _options()
    log = Console(stderr=True)
    load = machine_of(1)["load_average_before"]
    options.cache.mkdir(parents=True, exist_ok=True)
    # The cache keeps what took long to fit; a run's own copies are made anew.
    with tempfile.TemporaryDirectory(prefix="distilled-filters-race-") as name, log.status("preparing") as status:
        folder = Path(name)
        settings, facts = _prepare(options, folder)
        peers = run_worker(_SCRIPT, folder, "versions", options.peers_python)
        skipped = {each.key: why for each in CONTESTANTS if (why := _obstacle(each, options.without, peers))}
        status.update("measuring the machine's limit")
        peak = run_worker(_SCRIPT, folder, "limit")
        workers = {}
        for each in CONTESTANTS:
            if each.key not in skipped:
                status.update(f"preparing {each.key}")
                python = options.peers_python if each.needs else sys.executable
                if started := _ready(folder, each.key, python, skipped):
                    workers[each.key] = started
                    log.print(f"[dim]{each.key} ready after {started.ready_s:.0f} s[/dim]")
        timed = _race(workers, facts["n"], options.rounds, skipped, status.update)
        truth = np.load(folder / "truth.npy")
        medium = np.array(json.loads((folder / "medium.json").read_text("utf-8")))
    limit = peak / facts["multiply_adds"]
    document = {
        "machine": machine_of(settings["threads"]) | {"peers": peers, "load_average_before": load},
        "encoder": Path(settings["encoder"]).name, "facts": facts, "rounds": options.rounds, "price": options.price,
        "results": [asdict(each) for each in _results(timed, settings, truth, medium, options.price, limit)],
        "skipped": skipped, "int8_peak": peak, "limit_articles_per_s": limit,
    }  # fmt: skip
    text = _text(document)
    show(text)
    if options.page:
        fill(options.page, "race", text, options.plot, "Speed and quality, a row a contestant")
    if options.json:
        options.json.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    if options.plot:
        from race_plot import draw

        draw(document, options.plot)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a data folder, as `distillery prepare` writes it")
    parser.add_argument("--encoder", required=True, help="the peers' encoder: a Hugging Face folder")
    parser.add_argument(
        "--peers-python", default=sys.executable, metavar="PYTHON",
        help="the interpreter that has the peers of peers.txt; default: this one",
    )  # fmt: skip
    parser.add_argument(
        "--training", type=int, default=1500, metavar="N",
        help="articles of the training split that peers' heads are fitted on, the same for all; default: 1500",
    )  # fmt: skip
    parser.add_argument("--articles", type=int, help="the first N articles of the test split; default: all")
    parser.add_argument("--rounds", type=int, default=10, help="turns in which everyone takes a share of the articles")
    parser.add_argument("--threads", type=int, help="threads for all; default: what this process may use")
    parser.add_argument("--price", type=float, default=0.10, help="dollars an hour of such a machine; default: 0.10")
    parser.add_argument("--without", choices=[each.key for each in CONTESTANTS], action="append", default=[])
    parser.add_argument(
        "--cache", type=Path, default=Path.home() / ".cache" / "distilled-filters" / "race",
        help="where peers' heads and exports are kept between runs of one encoder",
    )  # fmt: skip
    parser.add_argument("--page", type=Path, metavar="PAGE.md", help="write the table between this page's marks")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write all figures here")
    parser.add_argument("--plot", type=Path, metavar="OUT.png", help="draw them here")
    return parser.parse_args()


def _prepare(options: argparse.Namespace, folder: Path) -> tuple[Settings, dict[str, Any]]:
    settings = Settings(
        threads=thread_count(options.threads), encoder=str(Path(options.encoder).resolve()), window=0, lenses=[],
        data=str(options.data.resolve()), articles=options.articles, training=options.training,
        cache=str(options.cache.resolve()),
    )  # fmt: skip
    _write(folder, settings)
    facts = run_worker(_SCRIPT, folder, "prepare")
    settings["window"], settings["lenses"] = facts["window"], facts["lenses"]
    _write(folder, settings)
    return settings, facts


def _write(folder: Path, settings: Settings) -> None:
    (folder / "settings.json").write_text(json.dumps(settings), "utf-8")


def _obstacle(contestant: Contestant, without: list[str], peers: dict[str, str]) -> str | None:
    if contestant.key in without:
        return "left out as asked"
    missing = [name for name in contestant.needs if name not in peers]
    return f"{', '.join(missing)} not installed; see peers.txt and --peers-python" if missing else None


@dataclass
class _Timed:
    """A contestant, and the seconds and scores of its articles."""

    worker: Worker
    ready_s: float
    seconds: list[float] = field(default_factory=list)
    articles: list[int] = field(default_factory=list)
    scores: list[list[float]] = field(default_factory=list)
    peak_kib: int = 0


def _ready(folder: Path, key: str, python: str, skipped: dict[str, str]) -> _Timed | None:
    """Start a contestant and wait until it is loaded; a peer that fails is left out, this library may not."""
    started = perf_counter()
    worker = Worker(_SCRIPT, folder, key, python)
    try:
        worker.ask({})
    except WorkerError as error:
        _leave_out(key, error, skipped)
        return None
    return _Timed(worker, perf_counter() - started)


def _leave_out(key: str, error: WorkerError, skipped: dict[str, str]) -> None:
    if key.startswith("ours"):
        raise error
    skipped[key] = str(error)


def _race(
    runners: dict[str, _Timed], n: int, rounds: int, skipped: dict[str, str], say: Callable[[str], object]
) -> dict[str, _Timed]:
    """Let all take the same articles in turn, every other round backwards; return who came through."""
    bounds = np.linspace(0, n, rounds + 1).astype(int)
    order = [each for each in CONTESTANTS if each.key in runners]
    for number, (start, stop) in enumerate(pairwise(bounds)):
        for each in order[::-1] if number % 2 else order:
            if each.key in skipped:
                continue
            say(f"round {number + 1} of {rounds}: {each.key}")
            last = min(stop, start + each.articles) if each.articles else stop
            kept = runners[each.key]
            try:
                reply = kept.worker.ask({"start": int(start), "stop": int(last)})
            except WorkerError as error:
                _leave_out(each.key, error, skipped)
                continue
            kept.seconds.append(reply["seconds"])
            kept.articles.append(int(last - start))
            kept.scores += reply["scores"] or []
            kept.peak_kib = max(kept.peak_kib, reply["peak_kib"])
    for runner in runners.values():
        runner.worker.close()
    return {key: kept for key, kept in runners.items() if key not in skipped}


def _results(
    timed: dict[str, _Timed],
    settings: Settings,
    truth: npt.NDArray[np.float64],
    medium: npt.NDArray[np.float64],
    price: float,
    limit: float,
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
            times_slower=rates[_BASE] / rates[each.key],
            share_of_limit=None if each.whole else rates[each.key] / limit,
            dollars_a_million=_MILLION / rates[each.key] / _HOUR * price,
            peak_mib=timed[each.key].peak_kib / 1024,
            ready_s=timed[each.key].ready_s,
            **_quality(np.array(timed[each.key].scores), truth, medium),
        )
        for each in CONTESTANTS
        if each.key in rates
    ]


def _quality(
    scores: npt.NDArray[np.float64], truth: npt.NDArray[np.float64], medium: npt.NDArray[np.float64]
) -> dict[str, float | None]:
    """Return means over the lenses; nothing where not every article was scored by every lens.

    A lens of which these articles have none of the medium tier, or nothing but equal labels, is not counted.
    """
    from scipy.stats import spearmanr
    from sklearn.metrics import average_precision_score

    if scores.shape != truth.shape or not scores.any(axis=0).all():
        return {}
    lenses = range(truth.shape[1])
    reached, varied = truth >= medium, np.ptp(truth, axis=0) > 0
    precisions = [average_precision_score(reached[:, k], scores[:, k]) for k in lenses if reached[:, k].any()]
    correlations = [spearmanr(truth[:, k], scores[:, k]).statistic for k in lenses if varied[k]]
    return {
        "ap_medium": float(np.mean(precisions)) if precisions else None,
        "spearman": float(np.mean(correlations)) if correlations else None,
    }


def _text(document: dict[str, Any]) -> str:
    """Return all figures as Markdown."""
    facts, machine = document["facts"], document["machine"]
    rows = [
        [
            each["label"], figure_text(each["articles_per_s"]), f"{figure_text(each['times_slower'])} x",
            _percent(each["share_of_limit"]), figure_text(each["dollars_a_million"]), figure_text(each["peak_mib"]),
            *(f"{each[key]:.3f}" if each[key] is not None else "" for key in ("ap_medium", "spearman")),
            each["reads"],
        ]
        for each in document["results"]
    ]  # fmt: skip
    rows.append([
        "the machine's int8 limit", figure_text(document["limit_articles_per_s"]), "", "100%", "", "", "", "",
        f"{document['int8_peak'] / 1e9:,.0f} G multiply-adds/s",
    ])  # fmt: skip
    compared = f"all {len(facts['lenses'])} are"
    names = ("", "articles/s", compared, "of the limit", "$ a million", "MiB", "AP, medium", "Spearman", "reads")
    left_out = "".join(f"\nLeft out: {key}: {reason}.\n" for key, reason in document["skipped"].items())
    return (
        f"{facts['n']} articles of {facts['tokens']:.0f} tokens, {facts['tokens_read']:.0f} of them read; "
        f"{machine['cpu']}, {machine['threads']} threads, load {machine['load_average_before']} before; "
        f"${document['price']:.2f} an hour. Peers' encoder: {document['encoder']}; their heads are fitted on "
        f"{facts['training']:,} articles of the training split.\n\n{table(names, rows)}{left_out}"
    )


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    main()
