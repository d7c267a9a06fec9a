"""docs/walkthrough.md from its first command to its last, with a tiny encoder instead of a real one."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("openai")

from examples.walkthrough.articles import DIMENSIONS, LANGUAGES, SENTENCES, articles
from examples.walkthrough.oracle import answer
from examples.walkthrough.server import Ask
from tests.training.encoders import write_base

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "walkthrough.md").read_text(encoding="utf-8")
# What a person does by hand stands under this mark: installing, and asking an oracle that costs money.
BY_HAND = "<!-- by hand -->\n"


def blocks() -> list[str]:
    return re.findall(rf"(?<!{BY_HAND})^```bash\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def words() -> list[str]:
    """Every word of the example's articles, or a tokenizer of words would refuse them."""
    texts = [
        (ROOT / "examples" / "walkthrough" / name).read_text(encoding="utf-8")
        for name in ("sentences.toml", "golden.jsonl")
    ]
    found = chain.from_iterable(re.findall(r"\w+|[^\w\s]+", text) for text in texts)
    return [*found, *map(str, chain(range(100), range(1931, 2020)))]


def test_the_page_and_the_pool_speak_of_the_same_dimensions() -> None:
    for language in LANGUAGES:
        for name in re.findall(r'--dimension "(\w+):', PAGE):
            assert len(SENTENCES[language][name]["levels"]) == 4


def test_the_oracle_judges_by_the_pools_sentences_and_quotes_them() -> None:
    said = {}
    for row in articles(60, seed=1):
        question = f"# Rules\n\n## Article\n\nTitle: {row['title']}\n\n{row['content']}\n"
        said[row["id"]] = judged = answer(Ask(0, "key", {"messages": [{"content": question}]}, {}, 0))
        marks = judged["dimensions"]
        assert tuple(marks) == DIMENSIONS
        assert all(mark["evidence"] in row["content"] for mark in marks.values())
        assert judged["in_scope"] == any(mark["score"] for mark in marks.values())
    assert {judged["in_scope"] for judged in said.values()} == {True, False}
    assert len({mark["score"] for judged in said.values() for mark in judged["dimensions"].values()}) > 8


@pytest.mark.slow
def test_the_walkthrough_ends_in_a_filter_that_scores(tmp_path: Path) -> None:
    from tokenizers import pre_tokenizers

    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    write_base(tmp_path / "base", words(), split=pre_tokenizers.Whitespace(), layers=6)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "page.sh").write_text("\n".join(["set -euxo pipefail", *blocks()]), encoding="utf-8")
    environment = os.environ | {
        "BASE": str(tmp_path / "base"),
        "ARTICLES": "360",
        "PRECISION": "int8",
        "PORT": str(port),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT / "src"),
        "HF_HUB_OFFLINE": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "COLUMNS": "160",
    }
    with (tmp_path / "page.log").open("w") as log:
        run = subprocess.Popen(
            ["bash", "page.sh"], cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, stdout=log,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            code = run.wait(timeout=400)
        finally:  # the oracle too, which the page starts in the background
            if run.poll() is None or code:
                os.killpg(run.pid, signal.SIGKILL)
    said = (tmp_path / "page.log").read_text(encoding="utf-8", errors="replace")
    assert code == 0, said[-4000:]

    folder = tmp_path / "walk" / "filters" / "cultural_discovery" / "v1"
    made = {path.name for path in folder.iterdir()}
    assert {"head.safetensors", "calibration.json", "percentiles.json", "metrics.json", "CARD.md"} <= made
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["n"] > 30
    assert {"student", "teacher", "tfidf_ridge", "mean_predictor"} <= set(metrics["methods"])
    scored = [
        json.loads(line) for line in (tmp_path / "walk" / "scores.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert {row["scores"][name]["status"] for row in scored for name in ("cultural_discovery", "uplifting")} == {"ok"}
    second = (tmp_path / "walk" / "second" / "articles.jsonl").read_text(encoding="utf-8")
    assert {json.loads(line)["stratum"] for line in second.splitlines()} == {"natural", "selected", "synthetic"}
