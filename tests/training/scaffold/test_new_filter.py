"""`distillery new-filter`: what it writes is a lens that labelling, preparing and training take as it is."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

import pytest
from typer.testing import CliRunner, Result

from distilled_filters.cli.app import app
from distilled_filters.spec import read_lens_spec
from distilled_filters.training.oracle.templates import read_template
from tests.conftest import FILTERS

LENS = ("--lens", "Culture found anew: crafts, tongues and songs that people take up again.")
DIMENSIONS = ("-d", "depth:0.5:How much of it is alive again", "-d", "evidence:0.5:How well it is proven: by whom")


def new(folder: Path, *options: str, keys: str | None = None) -> Result:
    return CliRunner().invoke(app, ["new-filter", *options, "--filters", str(folder)], input=keys)


def test_flags_alone_write_a_lens_with_its_prompt(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    done = new(folder, "revival", *LENS, *DIMENSIONS, "--gate", "evidence:3:2.5", "--look-alike", "festivals: 2")
    assert done.exit_code == 0, done.stderr
    lens, prompt = read_template(folder / "revival" / "v1")
    assert lens.dimension_names == ("depth", "evidence")
    assert lens.dimensions[1].question == "How well it is proven: by whom"
    assert lens.gate is not None
    assert lens.preprocessing == read_lens_spec(FILTERS / "uplifting" / "v1" / "filter.toml").preprocessing
    for part in (
        LENS[1], "**In scope.**", "**Out of scope", "- festivals: at most 2.0", "### depth (weight 0.50)", "- 9-10:",
        "Where evidence is under 3, the weighted average counts as 2.5 at most", '"depth": {', "Title: {title}",
    ):  # fmt: skip
        assert part in prompt
    checklist = (folder / "revival" / "v1" / "CHECKLIST.md").read_text(encoding="utf-8")
    assert f"--filter revival --filters {folder}" in checklist


def test_it_has_the_parts_of_the_shipped_prompts(tmp_path: Path) -> None:
    new(tmp_path, "revival", *LENS, *DIMENSIONS)
    written = (tmp_path / "revival" / "v1" / "prompt.md").read_text(encoding="utf-8")
    shipped = (FILTERS / "uplifting" / "v1" / "prompt.md").read_text(encoding="utf-8")
    for level in ("## ", "```"):
        found = [[line for line in text.splitlines() if line.startswith(level)] for text in (written, shipped)]
        assert found[0] == found[1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("Bad-Name", *LENS, *DIMENSIONS), "name: must be lower-case letters, digits and _, a letter first, not 'Bad-"),
        (("revival", *LENS, "-d", "a:2:A"), "weight: must be 1 or less, not 2.0"),
        (("revival", *LENS, "-d", "a:1:"), "question: must not be empty"),
        (("panel", *LENS, *DIMENSIONS), "'panel' is a part of distilled_filters"),
        (("revival", *LENS, "-d", "a:0.5:A", "-d", "b:0.4:B"), "the weights sum to 0.9, not 1"),
        (("revival", *LENS, "-d", "a:0.5:A", "-d", "a:0.5:B"), "dimension 'a' stands twice"),
        (("revival", *LENS, "-d", "a:much:A"), "the weight of a 'much' is no number"),
        (("revival", *LENS, "-d", "a=1"), "NAME:WEIGHT:QUESTION"),
        (("revival", *LENS, *DIMENSIONS, "--gate", "proof:3:3"), "gate.dimension 'proof' is none of"),
        (("revival", *LENS, *DIMENSIONS, "--gate", "evidence:30:3"), "below: must be 10 or less, not 30.0"),
        (
            ("revival", *LENS, *DIMENSIONS, "--language", "English"),
            "must be two or three lower-case letters such as en",
        ),
        (("revival", *LENS, *DIMENSIONS, "--look-alike", "festivals: 99"), "scores are 0 to 10"),
        (("revival", *DIMENSIONS), "--lens must be given"),
        (("revival", "--json"), "--lens and --dimension must be given"),
    ],
)
def test_what_breaks_a_rule_is_told_and_writes_nothing(options: tuple[str, ...], words: str, tmp_path: Path) -> None:
    done = new(tmp_path, *options)
    assert done.exit_code == 2
    assert words in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_dimensions_without_weights_weigh_alike(tmp_path: Path) -> None:
    assert new(tmp_path, "revival", *LENS, *(part for name in "abc" for part in ("-d", f"{name}::Q"))).exit_code == 0
    lens = read_lens_spec(tmp_path / "revival" / "v1" / "filter.toml")
    assert {each.weight for each in lens.dimensions} == {1 / 3}


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    new(tmp_path, "revival", *LENS, *DIMENSIONS)
    before = (tmp_path / "revival" / "v1" / "filter.toml").read_bytes()
    done = new(tmp_path, "revival", "--lens", "Another.", *DIMENSIONS)
    assert done.exit_code == 2
    assert "left as it is" in done.stderr
    assert (tmp_path / "revival" / "v1" / "filter.toml").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["revival"]


def test_a_person_is_asked_until_the_rules_are_kept(tmp_path: Path) -> None:
    keys = [
        "Crafts that live again.", "Depth: how", "depth: how much", "depth: again", "evidence: how proven", "",
        "0.5", "0.4", "0.6", "0.4", "proof:3:3", "evidence:3:3",
    ]  # fmt: skip
    with patch("distilled_filters.cli.new_filter._is_asking", return_value=True):
        done = new(tmp_path, "revival", keys="\n".join(keys) + "\n")
    assert done.exit_code == 0, done.stderr
    lens = read_lens_spec(tmp_path / "revival" / "v1" / "filter.toml")
    assert [(each.name, each.weight) for each in lens.dimensions] == [("depth", 0.6), ("evidence", 0.4)]
    assert lens.gate is not None
    for refused in ("stands twice", "sum to 0.9", "'proof' is none of"):
        assert refused in done.stderr


def test_it_ends_with_the_command_that_seals_the_prompt(tmp_path: Path) -> None:
    folder = tmp_path / "my filters"
    done = new(folder, "revival", *LENS, *DIMENSIONS)
    (said,) = [line for line in done.stdout.splitlines() if "--seal" in line]
    command = shlex.split(said.partition("then: distillery ")[2])
    with (folder / "revival" / "v1" / "prompt.md").open("a", encoding="utf-8") as file:
        file.write("Weigh people over plans.")
    sealed = CliRunner().invoke(app, command)
    assert sealed.exit_code == 0, sealed.stderr
    read_template(folder / "revival" / "v1")


@pytest.mark.skipif(not shutil.which("setsid"), reason="needs setsid of util-linux")
def test_an_interrupted_question_ends_without_a_word_too_many(tmp_path: Path) -> None:
    import pty

    here, there = pty.openpty()
    command = [sys.executable, "-m", "distilled_filters", "new-filter", "revival", "--filters", str(tmp_path)]
    # A session of its own, whose terminal turns the key into a signal.
    process = subprocess.Popen(["setsid", "--ctty", "--wait", *command], stdin=there, stdout=there, stderr=there)
    os.close(there)
    said = b""
    while b"sentence?" not in said:
        said += os.read(here, 1024)
    # A key that comes between the question and the reading of its answer is only seen at the next one.
    for _ in range(4):
        os.write(here, b"\x03")
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
            break
    assert process.returncode == 130
    said += os.read(here, 1024)
    os.close(here)
    assert b"interrupted" in said
    assert b"Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def test_a_changed_prompt_is_sealed_before_training_and_never_after(tmp_path: Path) -> None:
    new(tmp_path, "revival", *LENS, *DIMENSIONS)
    folder = tmp_path / "revival" / "v1"
    prompt = folder / "prompt.md"
    prompt.write_text(prompt.read_text(encoding="utf-8") + "\nBe brief.\n", encoding="utf-8")
    done = new(tmp_path, "revival", "--seal", "--json")
    assert json.loads(done.stdout)["prompt_sha256"] == read_template(folder)[0].prompt_sha256
    prompt.write_text(prompt.read_text(encoding="utf-8").replace("{content}", ""), encoding="utf-8")
    assert "it has no {content}" in new(tmp_path, "revival", "--seal").stderr

    shutil.copytree(FILTERS / "uplifting", tmp_path / "uplifting")
    trained = tmp_path / "uplifting" / "v1" / "prompt.md"
    trained.write_text(trained.read_text(encoding="utf-8") + "x", encoding="utf-8")
    assert "new MAJOR version" in new(tmp_path, "uplifting", "--seal").stderr


def test_the_newest_version_is_sealed(tmp_path: Path) -> None:
    new(tmp_path, "revival", *LENS, *DIMENSIONS)
    first, second = tmp_path / "revival" / "v1", tmp_path / "revival" / "v2"
    shutil.copytree(first, second)
    spec = (second / "filter.toml").read_text(encoding="utf-8")
    (second / "filter.toml").write_text(spec.replace('version = "1.0.0"', 'version = "2.0.0"'), encoding="utf-8")
    (second / "prompt.md").write_text((second / "prompt.md").read_text("utf-8") + "\nBe brief.\n", encoding="utf-8")
    before = (first / "filter.toml").read_bytes()
    done = new(tmp_path, "revival", "--seal")
    assert done.exit_code == 0, done.stderr
    assert read_template(second)[0].version == "2.0.0"
    assert (first / "filter.toml").read_bytes() == before
    assert "there are: revival" in new(tmp_path, "revivel", "--seal").stderr


def test_label_and_prepare_take_it_as_it_is(tmp_path: Path) -> None:
    pytest.importorskip("openai")
    pytest.importorskip("datasketch")
    from examples.walkthrough.server import Ask, ScriptedOracle
    from tests.training.oracle.conftest import articles, write

    filters = tmp_path / "filters"
    new(filters, "revival", *LENS, *DIMENSIONS)

    def judge(ask: Ask) -> dict[str, object]:
        marks = {"score": 0.0, "evidence": ""}
        return {"in_scope": False, "dimensions": {"depth": marks, "evidence": marks}}

    source, output = write(tmp_path / "articles.jsonl", articles(20)), tmp_path / "labels"
    common = ["--filter", "revival", "--filters", str(filters), "--output"]
    with ScriptedOracle(judge) as server:
        line = ["label", *common, str(output), "--source", str(source), "--base-url", server.url, "--model", "one"]
        done = CliRunner().invoke(app, line)
    assert done.exit_code == 0, done.stderr
    base = FILTERS / "backbones" / "me5_small" / "v1"
    line = ["prepare", str(source), "-l", str(output / "labels.jsonl"), *common, str(tmp_path / "data")]
    done = CliRunner().invoke(app, [*line, "--base", str(base)])
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "data" / "DATA.md").is_file()
