from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.dataset
import pyarrow.parquet
import pytest
from typer.testing import Result

from tests.cli.conftest import BROKEN, EXAMPLES, Run

ONE = ("-f", "uplifting")


def _rows(done: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def _statuses(rows: list[dict[str, Any]]) -> list[str]:
    return [row["scores"]["uplifting"]["status"] for row in rows]


def test_every_record_gets_a_row_in_order(distillery: Run) -> None:
    done = distillery("score", BROKEN, EXAMPLES, *ONE)
    rows = _rows(done)
    records = Path(BROKEN).read_bytes().splitlines() + Path(EXAMPLES).read_bytes().splitlines()
    assert done.exit_code == 0
    assert [row["row"] for row in rows] == list(range(len(records)))
    assert set(_statuses(rows)[:12]) == {"invalid", "no_content"}
    assert set(_statuses(rows)[12:]) == {"ok"}
    assert rows[12]["id"] == "example-01"
    assert "line 12" in rows[11]["scores"]["uplifting"]["detail"]
    assert "24 articles in" in done.stderr


def test_all_installed_filters_score_by_default(distillery: Run, articles: Path) -> None:
    (row, *_) = _rows(distillery("score", str(articles)))
    assert {"uplifting", "belonging"} <= set(row["scores"])
    score = row["scores"]["uplifting"]
    assert set(score) == {
        "version", "status", "tier", "weighted_average", "raw_weighted_average", "dimensions", "gate_applied",
        "percentile", "interval", "disagreement", "stage", "tokens", "detail",
    }  # fmt: skip


def test_filters_by_requirement_keep_their_order(distillery: Run, articles: Path) -> None:
    (row, *_) = _rows(distillery("score", str(articles), "-f", "uplifting==1.*", "-f", "belonging"))
    assert list(row["scores"]) == ["uplifting", "belonging"]


def test_standard_input_by_name_and_by_default(distillery: Run, articles: Path) -> None:
    from_file = distillery("score", str(articles), *ONE).stdout.replace(str(articles), "standard input")
    assert distillery("score", "-", *ONE, stdin=articles.read_bytes()).stdout == from_file
    assert distillery("score", *ONE, stdin=articles.read_bytes()).stdout == from_file


def test_formats_in_and_out_agree(distillery: Run, tmp_path: Path) -> None:
    """JSON lines to Parquet and CSV; those with the same articles as input give the same scores."""
    done = distillery("score", EXAMPLES, *ONE)
    expected = [(row["title"], row["scores"]["uplifting"]["weighted_average"]) for row in _rows(done)]
    articles = [json.loads(line) for line in Path(EXAMPLES).read_text(encoding="utf-8").splitlines()]
    (tmp_path / "in.json").write_text(json.dumps(articles))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(articles), tmp_path / "in.parquet")
    with (tmp_path / "in.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(articles[0]))
        writer.writeheader()
        writer.writerows(articles)

    for source, target in (("in.json", "out.csv"), ("in.csv", "out.parquet"), ("in.parquet", "out.jsonl")):
        done = distillery("score", str(tmp_path / source), *ONE, "-o", str(tmp_path / target))
        assert done.exit_code == 0, done.output
        assert done.stdout == ""
        assert f"wrote {tmp_path / target}" in done.stderr

    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        from_csv = [(row["title"], float(row["uplifting_weighted_average"])) for row in csv.DictReader(file)]
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pylist()
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert from_csv == expected
    assert [(row["title"], row["uplifting_weighted_average"]) for row in table] == expected
    assert [(row["title"], row["scores"]["uplifting"]["weighted_average"]) for row in lines] == expected


def test_csv_to_standard_output(distillery: Run, articles: Path) -> None:
    rows = list(csv.DictReader(distillery("score", str(articles), *ONE, "--format", "csv").stdout.splitlines()))
    assert [row["uplifting_status"] for row in rows] == ["ok", "invalid", "ok", "invalid", "ok"]


def test_strict_exits_1_after_writing_everything(distillery: Run, articles: Path, tmp_path: Path) -> None:
    done = distillery("score", str(articles), *ONE, "--strict")
    assert done.exit_code == 1
    assert len(_rows(done)) == 5
    output = tmp_path / "out.jsonl"
    assert distillery("score", str(articles), *ONE, "--strict", "-o", str(output)).exit_code == 1
    assert len(output.read_text(encoding="utf-8").splitlines()) == 5
    assert distillery("score", EXAMPLES, *ONE, "--strict").exit_code == 0


def test_a_damaged_input_is_told_and_costs_only_its_own_rows(distillery: Run, articles: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl.gz").write_bytes(b"this was never compressed")
    done = distillery("score", str(tmp_path / "bad.jsonl.gz"), str(articles), *ONE)
    assert done.exit_code == 1
    assert len(_rows(done)) == 5
    assert f"warning: {tmp_path}/bad.jsonl.gz is damaged" in done.stderr
    alone = distillery("score", str(tmp_path / "bad.jsonl.gz"), *ONE)
    assert alone.exit_code == 2
    assert "error: " in alone.stderr


def test_statistics_for_people_and_for_programs(distillery: Run, articles: Path, tmp_path: Path) -> None:
    output = str(tmp_path / "out.csv")
    shown = distillery("score", str(articles), *ONE, "-o", output).stderr
    header, line, summary = shown.splitlines()
    assert header.split() == ["filter", "high", "medium", "low", "no", "score", "screened"]
    assert line.split()[0] == "uplifting"
    assert "5 articles in" in summary
    assert "of those scored were truncated" in summary
    printed = json.loads(distillery("score", str(articles), *ONE, "-o", output, "--force", "--json").stdout)
    counts = printed["statistics"]
    assert (counts["rows"], counts["statuses"]) == (5, {"ok": 3, "invalid": 2})
    assert sum(counts["filters"]["uplifting"]["tiers"].values()) == 3
    assert 0 <= counts["truncated_share"] <= 1
    recorded = json.loads(Path(f"{output}.run.json").read_text(encoding="utf-8"))
    assert recorded["statistics"] == counts
    assert recorded["settings"]["inputs"][0]["path"] == str(articles)
    assert printed["articles_per_second"] > 0


def test_a_folder_in_and_a_folder_out(distillery: Run, articles: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    done = distillery("score", str(tmp_path / "*.jsonl"), *ONE, "-o", str(tmp_path / "out"), "--format", "parquet")
    assert done.exit_code == 0, done.output
    assert pyarrow.parquet.read_table(tmp_path / "out" / "articles.parquet").num_rows == 5
    assert pyarrow.dataset.dataset(tmp_path / "out").count_rows() == 5, "what is no table is hidden from readers"


def test_an_existing_output_is_safe(distillery: Run, articles: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    output.write_text("precious")
    done = distillery("score", str(articles), *ONE, "-o", str(output))
    assert done.exit_code == 2
    assert "--force" in done.stderr
    assert output.read_text() == "precious"
    assert distillery("score", str(articles), *ONE, "-o", str(output), "--force").exit_code == 0
    assert len(output.read_text(encoding="utf-8").splitlines()) == 5
    done = distillery("score", str(articles), *ONE, "-o", str(articles), "--force")
    assert done.exit_code == 2
    assert "is an input too" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("-o", "out.txt"), "--format"),
        (("-o", "absent/out.csv"), "no folder absent"),
        (("--format", "parquet"), "standard output"),
        (("--resume",), "--output"),
        (("--force",), "--output"),
        (("-o", "out.csv", "--resume", "--force"), "choose one"),
        (("--format", "csv", "--json"), "--json"),
        (("--threads", "2", "--workers", "2"), "one thread each"),
        (("--shard-rows", "5"), "--output"),
        (("-", "-o", "out.csv", "--resume"), "save it to a file"),
    ],
)
def test_options_that_make_no_sense_exit_2(
    arguments: tuple[str, ...], text: str, distillery: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = distillery("score", EXAMPLES, *ONE, *arguments)
    assert done.exit_code == 2
    assert text in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_filter_that_does_not_open_costs_a_warning(distillery: Run, own_filters: Path, articles: Path) -> None:
    (own_filters / "uplifting" / "v1" / "head.safetensors").write_bytes(b"")
    done = distillery("score", str(articles))
    assert done.exit_code == 0
    assert "warning: uplifting cannot score" in done.stderr
    row = _rows(done)[0]
    assert row["scores"]["uplifting"]["status"] == "error"
    assert row["scores"]["belonging"]["status"] == "ok"


def _on_a_terminal(*arguments: str, columns: int) -> str:
    """Return what a command shows on a terminal of its own."""
    import pty

    parent, child = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "dumb"}
    process = subprocess.Popen(
        [sys.executable, "-m", "distilled_filters", *arguments],
        stdin=child, stdout=child, stderr=subprocess.DEVNULL, env=environment,
    )  # fmt: skip
    os.close(child)
    shown = b""
    while True:
        try:
            chunk = os.read(parent, 65536)
        except OSError:  # how Linux says that the other end is closed
            break
        if not chunk:
            break
        shown += chunk
    os.close(parent)
    assert process.wait() == 0
    return shown.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")
def test_a_terminal_gets_a_table_that_fits(articles: Path) -> None:
    shown = _on_a_terminal("score", str(articles), columns=100)
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 100
    assert "example-01" in shown
    assert "5 articles in" in lines[-1]
    assert "3 ok, 2 invalid" in lines[-1]
    assert "#1 " in shown
    assert json.loads(_on_a_terminal("score", str(articles), *ONE, "--json", columns=100).splitlines()[0])["row"] == 0
