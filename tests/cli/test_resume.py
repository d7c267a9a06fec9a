from __future__ import annotations

import gzip
import json
import lzma
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.cli.conftest import EXAMPLES

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")

# The command line with small parts, so that a few dozen articles make several.
_SMALL_PARTS = """
import distilled_filters.corpus.run as run
from distilled_filters.cli import main
run.PART_ROWS = 6
main()
"""


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", _SMALL_PARTS, "score", *arguments, "-f", "uplifting"]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    lines = Path(EXAMPLES).read_text(encoding="utf-8").splitlines()
    path = tmp_path / "corpus.jsonl"
    path.write_text("\n".join([*lines, "null", "{broken"] * 3) + "\n", encoding="utf-8")
    return path


def _begun(corpus: Path, output: Path) -> subprocess.Popen[str]:
    """Begin a run and return once its second part is there."""
    process = subprocess.Popen(
        _command(str(corpus), "-o", str(output), "--threads", "1"), stderr=subprocess.PIPE, text=True
    )
    second = output.with_name(f"{output.name}.parts") / f"000001{output.suffix}"
    deadline = time.monotonic() + 60
    while not second.exists():
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return process


def _stopped(corpus: Path, output: Path, by: signal.Signals) -> subprocess.CompletedProcess[str]:
    """Begin a run and stop it once its second part is there."""
    process = _begun(corpus, output)
    process.send_signal(by)
    _, errors = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, "", errors)


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(_command(*arguments), capture_output=True, text=True, check=False)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_ac23_resume_after_sigkill_gives_the_same_bytes(suffix: str, corpus: Path, tmp_path: Path) -> None:
    output, undisturbed = tmp_path / f"out{suffix}", tmp_path / f"undisturbed{suffix}"
    assert _stopped(corpus, output, signal.SIGKILL).returncode == -signal.SIGKILL
    assert not output.exists()
    kept = {path.name: path.stat().st_mtime_ns for path in output.with_name(f"{output.name}.parts").glob(f"*{suffix}")}
    assert len(kept) >= 2

    resumed = _run(str(corpus), "-o", str(output), "--resume", "--strict")
    assert resumed.returncode == 1  # broken records of the killed run count too
    assert f"({6 * len(kept)} of them by an earlier run)" in resumed.stderr
    assert _run(str(corpus), "-o", str(undisturbed)).returncode == 0
    assert output.read_bytes() == undisturbed.read_bytes()
    assert not output.with_name(f"{output.name}.parts").exists()


def test_ac23_shards_by_workers_from_compressed_files_survive_sigkill(corpus: Path, tmp_path: Path) -> None:
    """And the workers of the run that was killed end too."""
    news = tmp_path / "news"
    news.mkdir()
    (news / "n2.jsonl.gz").write_bytes(gzip.compress(corpus.read_bytes()))
    (news / "n10.jsonl.xz").write_bytes(lzma.compress(b"".join(corpus.read_bytes().splitlines(keepends=True)[:6])))
    (news / "n11.jsonl").touch()
    output, undisturbed = tmp_path / "out", tmp_path / "undisturbed"
    how = ("--format", "csv", "--shard-rows", "12")
    process = subprocess.Popen(_command(str(news), "-o", f"{output}/", *how, "--workers", "2"))
    workers = []
    while not (output / "part-00000.csv").exists():
        assert process.poll() is None
        workers = psutil.Process(process.pid).children()
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert len(workers) >= 2
    assert not (output / "_run.json").exists()
    assert _run(str(news), "-o", str(output), *how).returncode == 2

    assert _run(str(news), "-o", str(output), *how, "--resume").returncode == 0
    assert _run(str(news), "-o", str(undisturbed), *how).returncode == 0
    names = [f"part-{number:05d}.csv" for number in range(4)]
    assert sorted(path.name for path in output.iterdir()) == ["_run.json", *names]
    assert [(output / name).read_bytes() for name in names] == [(undisturbed / name).read_bytes() for name in names]
    assert psutil.wait_procs(workers, timeout=20)[1] == []


def test_ac23_a_second_run_fails_at_once_and_a_killed_one_blocks_nobody(corpus: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    first = _begun(corpus, output)
    first.send_signal(signal.SIGSTOP)
    for how in ("--resume", "--force"):
        second = _run(str(corpus), "-o", str(output), how)
        assert second.returncode == 2
        assert f"error: {output} is being written by another run" in second.stderr
        assert f"{output}.parts/lock; wait for its end, or name another output" in second.stderr
    first.kill()
    first.communicate()
    assert _run(str(corpus), "-o", str(output), "--resume").returncode == 0
    assert len(output.read_text(encoding="utf-8").splitlines()) == 42
    assert sorted(path.name for path in tmp_path.glob("out*")) == ["out.jsonl", "out.jsonl.run.json"]


def test_ac23_parts_stay_and_are_refused_when_anything_differs(corpus: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    interrupted = _stopped(corpus, output, signal.SIGINT)
    assert interrupted.returncode == 130
    assert interrupted.stderr.count("\n") == 1
    assert "go on with --resume" in interrupted.stderr

    leftovers = _run(str(corpus), "-o", str(output))
    assert leftovers.returncode == 2
    assert "go on with --resume" in leftovers.stderr
    corpus.write_text(corpus.read_text(encoding="utf-8") + "null\n", encoding="utf-8")
    other = _run(str(corpus), "-o", str(output), "--resume")
    assert other.returncode == 2
    assert "inputs.0.size was" in other.stderr

    assert _run(str(corpus), "-o", str(output), "--force").returncode == 0
    rows = [json.loads(line)["row"] for line in output.read_text(encoding="utf-8").splitlines()]
    assert rows == list(range(43))


def test_resume_with_nothing_to_resume_begins(corpus: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    assert _run(str(corpus), "-o", str(output), "--resume").returncode == 0
    again = _run(str(corpus), "-o", str(output), "--resume")
    assert again.returncode == 2
    assert "nothing to resume" in again.stderr
