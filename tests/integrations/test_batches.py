"""What all adapters share: columns in and out, and jobs that their workers can trust."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pyarrow
import pytest

from distilled_filters.columns import score_columns
from distilled_filters.errors import CheckpointError, MissingExtraError, SettingError
from distilled_filters.filter import Filter
from distilled_filters.integrations import batches
from distilled_filters.integrations.batches import BATCH_ROWS, Scoring
from tests.conftest import SNIPPET, House, edited, flip_byte

ARTICLE = {"title": "Clinic", "content": SNIPPET}


@pytest.fixture
def scoring(monkeypatch: pytest.MonkeyPatch) -> Scoring:
    monkeypatch.setattr(batches, "_panels", {})
    return Scoring(["uplifting"], threads=1)


def test_columns_are_typed_and_named_after_filter_and_dimension(uplifting: Filter) -> None:
    columns = score_columns([uplifting])
    assert list(columns)[:4] == [f"uplifting_{what}" for what in ("status", "tier", "weighted_average", "percentile")]
    assert list(columns)[4:] == [f"uplifting_{name}" for name in uplifting.spec.dimension_names]
    assert [column for column, kind in columns.items() if kind is str] == ["uplifting_status", "uplifting_tier"]


def test_two_columns_of_one_name_are_refused(house: House) -> None:
    """A filter `a` with a dimension `b_status` beside a filter `a_b`, or a dimension that is called `tier`."""
    folder = house.add()
    with edited(folder / "filter.toml") as spec:
        first = spec["dimensions"][0]
        if spec["gate"]["dimension"] == first["name"]:
            spec["gate"]["dimension"] = "tier"
        first["name"] = "tier"
    with pytest.raises(SettingError, match="'uplifting_tier'"):
        score_columns([Filter(folder)])


@pytest.mark.parametrize("title", ["title", "headline"])
@pytest.mark.parametrize("content", ["content", "text", "body"])
def test_the_usual_columns_are_found(scoring: Scoring, title: str, content: str) -> None:
    assert scoring.inputs(["url", title, content]) == {title: title, content: content}


def test_other_columns_can_be_named_and_then_stand_alone() -> None:
    scoring = Scoring(["uplifting"], title="kop", content="lichaam")
    assert scoring.inputs(["kop", "lichaam", "title", "text"]) == {"kop": "title", "lichaam": "content"}
    table = pyarrow.table({"kop": ["Clinic"], "lichaam": [SNIPPET], "text": ["another matter entirely, and long"]})
    expected = Scoring(["uplifting"]).score([ARTICLE])
    assert (
        scoring.score_arrow(table)["uplifting_weighted_average"].to_pylist() == expected["uplifting_weighted_average"]
    )


@pytest.mark.parametrize(
    ("columns", "content", "said"),
    [
        (["title", "url"], None, r"no texts in 'content', 'text', 'body', but \['title', 'url'\].*content="),
        (["text"], "corps", r"no column 'corps', but \['text'\]"),
        (["text", "uplifting_tier"], None, "'uplifting_tier' already"),
    ],
)
def test_a_table_without_its_columns_is_refused(columns: list[str], content: str | None, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        Scoring(["uplifting"], content=content).inputs(columns)


@pytest.mark.parametrize("make", [pyarrow.table, pyarrow.record_batch])
@pytest.mark.parametrize("contents", [[SNIPPET, None], [None, ""], []])
def test_ac25_every_batch_has_the_schema(scoring: Scoring, make: type, contents: list[str | None]) -> None:
    batch = make({"content": pyarrow.array(contents, pyarrow.string()), "other": pyarrow.array([[1]] * len(contents))})
    scored = scoring.score_arrow(batch)
    assert type(scored) is type(batch)
    assert scored.schema.names == ["content", "other", *scoring.columns]
    types = {str: pyarrow.string(), float: pyarrow.float64()}
    assert [field.type for field in scored.schema][2:] == [types[kind] for kind in scoring.columns.values()]
    assert scored["uplifting_status"].null_count == 0


def test_columns_that_are_no_text_make_bad_records(scoring: Scoring) -> None:
    table = pyarrow.table({"content": pyarrow.array([b"bytes", None]), "title": pyarrow.nulls(2)})
    assert scoring.score_arrow(table)["uplifting_status"].to_pylist() == ["invalid", "invalid"]


def test_large_batches_come_out_in_pieces(scoring: Scoring) -> None:
    batch = pyarrow.record_batch({"id": range(2 * BATCH_ROWS + 1), "content": ["short"] * (2 * BATCH_ROWS + 1)})
    pieces = list(scoring.score_arrow_batches([batch, batch.slice(0, 0)]))
    assert [piece.num_rows for piece in pieces] == [BATCH_ROWS, BATCH_ROWS, 1]
    assert pyarrow.Table.from_batches(pieces)["id"].to_pylist() == batch["id"].to_pylist()


def test_ac11_a_job_is_small_to_pickle_and_opens_one_panel_a_process(scoring: Scoring) -> None:
    content = pickle.dumps(scoring)
    assert len(content) < 2_000
    first, second = pickle.loads(content), pickle.loads(content)
    assert first.open() is second.open() is scoring.open()
    assert Scoring(["uplifting"], threads=2).open() is not scoring.open()


def test_a_worker_with_another_build_stops_the_job(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where one machine of a cluster still has last week's release."""
    monkeypatch.setattr(batches, "_panels", {})
    folder = house.add()
    sent = pickle.dumps(Scoring([Filter(folder)]))
    with edited(folder / "filter.toml") as spec:
        spec["tiers"][0]["at_least"] = 9.0
    with pytest.raises(SettingError, match=r"this worker has uplifting 1\.0\.0.*the job began with uplifting 1"):
        pickle.loads(sent).score([ARTICLE])


def test_a_filter_that_does_not_open_stops_the_job(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A panel would go on without it; a table of a million errors is no result."""
    monkeypatch.setattr(batches, "_panels", {})
    good, bad = house.add(), house.add("belonging")
    flip_byte(bad / "head.safetensors")
    with pytest.raises(CheckpointError, match=r"belonging==1\.0\.0"):
        Scoring([Filter(good), Filter(bad)]).score([ARTICLE])


@pytest.mark.parametrize("fetch", [True, False])
def test_ac03_only_workers_fetch_and_before_they_score(fetch: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(batches, "_panels", {})
    monkeypatch.setattr(Filter, "prefetch", lambda self: calls.append(self.name))
    job = Scoring.for_workers(["uplifting"], title=None, content=None) if fetch else Scoring(["uplifting"])
    for _ in range(2):
        job.score([ARTICLE])
    assert calls == ["uplifting"] * fetch


@pytest.mark.parametrize("name", ["ray", "spark", "datatrove", "datasets", "pandas", "polars", "sklearn"])
def test_without_its_library_an_adapter_names_the_pip_line(name: str) -> None:
    library = {"spark": "pyspark"}.get(name, name)
    code = (
        f"import sys\nsys.modules[{library!r}] = None\n"
        f"try:\n    import distilled_filters.integrations.{name}\n"
        f"except ImportError as error:\n    print(type(error).__name__, error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.startswith(MissingExtraError.__name__)
    assert f"pip install 'distilled-filters[{name}]'" in said


def test_the_extras_of_the_adapters_exist() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    # `http` is no engine: its extra is [client]. `batches` and `frames` are what adapters share.
    others = {"__init__", "batches", "frames", "http"}
    adapters = {path.stem for path in Path(batches.__file__).parent.glob("*.py")} - others
    assert adapters <= set(extras)
    assert extras["engines"] == [f"distilled-filters[{','.join(name for name in extras if name in adapters)}]"]
