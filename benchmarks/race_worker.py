"""A process of the race, `python race_worker.py FOLDER KEY`: prepares the data, finds the limit, or is a contestant."""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
from contextlib import suppress
from multiprocessing import active_children
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from race_contestants import Settings

__all__: list[str] = []


def main() -> None:
    """Run as the key says; replies go to standard output, whatever libraries print to standard error."""
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    folder, key = Path(sys.argv[1]), sys.argv[2]
    settings: Settings = json.loads((folder / "settings.json").read_text("utf-8"))
    if key == "prepare":
        from race_data import prepare

        print(json.dumps(prepare(folder, settings)), file=channel)
    elif key == "limit":
        from race_limit import int8_peak

        print(json.dumps(int8_peak(settings["threads"])), file=channel)
    elif key == "versions":
        print(json.dumps(_versions()), file=channel)
    else:
        _serve(folder, key, settings, channel)


def _versions() -> dict[str, str]:
    """Return what this interpreter has of the peers' distributions."""
    from race_contestants import CONTESTANTS

    versions = {}
    for name in sorted({name for each in CONTESTANTS for name in each.needs}):
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _serve(folder: Path, key: str, settings: Settings, channel: Any) -> None:
    from race_contestants import CONTESTANTS

    texts = json.loads((folder / "articles.json").read_text("utf-8"))
    racer = next(each for each in CONTESTANTS if each.key == key).make(settings, folder)
    racer(texts[:1])
    for line in sys.stdin:
        request = json.loads(line)
        if not request:
            print(json.dumps({"ready": True}), file=channel)
            continue
        part = texts[request["start"] : request["stop"]]
        started = perf_counter()
        scores = racer(part)
        seconds = perf_counter() - started
        reply = {
            "seconds": seconds,
            "scores": None if scores is None else scores.tolist(),
            "peak_kib": sum(map(_peak_kib, (os.getpid(), *(child.pid for child in active_children())))),
        }
        print(json.dumps(reply), file=channel)


def _peak_kib(process: int | None) -> int:
    lines = Path(f"/proc/{process}/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main()
