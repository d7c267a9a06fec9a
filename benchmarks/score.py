"""Measure this library beside its peers: `python benchmarks/score.py [--quick] [--json OUT] [--plot OUT.png]`."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import tempfile
from pathlib import Path

from measure import SCRIPT, measure
from plan import VARIANTS, Settings, Variant, installed_gigabytes
from processes import WorkerError, run_worker
from report import Report, machine_of
from rich.console import Console

from distilled_filters.threads import thread_count


def main() -> None:
    options = _options()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="distilled-filters-benchmark-") as name:
        report = _run(options, Path(name), Console(stderr=True))
    report.show(console)
    if options.json:
        options.json.write_text(json.dumps(report.to_dict(), indent=2) + "\n", encoding="utf-8")
    if options.plot:
        # Only now: what this process imports counts in the memory of those it starts.
        from plot import draw

        draw(report, options.plot)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds: to see that it works, not to quote")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write all figures here")
    parser.add_argument("--plot", type=Path, metavar="OUT.png", help="draw the figures here (needs matplotlib)")
    parser.add_argument(
        "--encoder",
        default="intfloat/multilingual-e5-small",
        help="the encoder for sentence-transformers: a Hugging Face folder or a Hub id",
    )
    peers = [variant.key for variant in VARIANTS if variant.needs]
    parser.add_argument("--without", choices=peers, action="append", default=[], help="leave a peer out")
    parser.add_argument("--threads", type=int, help="threads for all; default: what this process may use")
    return parser.parse_args()


def _run(options: argparse.Namespace, folder: Path, log: Console) -> Report:
    threads = thread_count(options.threads)
    machine = machine_of(threads)
    with log.status("preparing articles") as status:
        settings: Settings = run_worker(SCRIPT, folder, "prepare")
        settings["threads"] = threads
        skipped = {variant.key: reason for variant in VARIANTS if (reason := _obstacle(variant, options.without))}
        for key in ("sentence_transformers", "decoder"):
            if key not in skipped:
                status.update(f"preparing {key}")
                skipped |= _prepare(key, folder, options.encoder, settings)
        (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
        variants = [variant for variant in VARIANTS if variant.key not in skipped]
        results = measure(variants, folder, settings, quick=options.quick, say=status.update)
    results.skipped |= skipped
    return Report(results, settings, machine)


def _obstacle(variant: Variant, without: list[str]) -> str | None:
    """Return why a variant cannot be measured here, None where it can."""
    if variant.key in without:
        return "left out as asked"
    missing = [name for name in variant.needs if not is_installed(name)]
    if missing:
        return f"{', '.join(missing)} not installed; pip install {' '.join(missing)}"
    if variant.gigabytes > installed_gigabytes():
        return f"it needs {variant.gigabytes} GiB of memory; this machine has {installed_gigabytes():.0f}"
    return None


def is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _prepare(key: str, folder: Path, encoder: str, settings: Settings) -> dict[str, str]:
    """Bring what a peer loads; return it with the reason where that fails."""
    try:
        if key == "decoder":
            run_worker(SCRIPT, folder, "save_decoder")
        else:
            settings["encoder"] = _local(encoder)
    except (OSError, WorkerError) as error:
        return {key: str(error).strip().splitlines()[0]}
    return {}


def _local(encoder: str) -> str:
    """Return a folder with the encoder, downloaded where need be, so that no cold start waits for a network."""
    if Path(encoder).is_dir():
        return str(Path(encoder).resolve())
    from huggingface_hub import snapshot_download

    wanted, unwanted = ["*.json", "*.safetensors", "*.model"], ["onnx/*", "openvino/*"]
    try:
        return snapshot_download(encoder, allow_patterns=wanted, ignore_patterns=unwanted)
    except (OSError, ValueError) as error:
        raise OSError(f"no folder {encoder}, and the Hub did not send it ({type(error).__name__})") from error


if __name__ == "__main__":
    main()
