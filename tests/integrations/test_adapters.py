"""What is each adapter's own, beyond the contract."""

from __future__ import annotations

import pickle

import numpy as np
import pandas
import pytest

from distilled_filters.errors import SettingError
from distilled_filters.filter import Filter
from distilled_filters.integrations.batches import Scoring
from tests.conftest import SNIPPET, House, poison

ARTICLES = [{"title": "Clinic", "content": SNIPPET}, {"title": None, "content": SNIPPET}]


def test_pandas_keeps_an_index_of_any_kind_and_every_kind_of_nothing(uplifting: Filter) -> None:
    import distilled_filters.integrations.pandas  # noqa: F401

    nothings = [None, float("nan"), pandas.NA, pandas.NaT]
    frame = pandas.DataFrame({"title": nothings, "content": [SNIPPET] * 4, "n": range(4)}, index=["a", "a", "b", 7])
    scored = frame.distilled.score([uplifting])
    assert list(scored.index) == ["a", "a", "b", 7]
    assert list(frame.columns) == ["title", "content", "n"]
    assert scored["uplifting_status"].tolist() == ["ok"] * 4
    assert set(scored["uplifting_weighted_average"]) == {uplifting.score(SNIPPET).weighted_average}
    with pytest.raises(SettingError, match="already; drop or rename"):
        scored.distilled.score([uplifting])


def test_pandas_columns_have_their_types_where_nothing_is_scored(uplifting: Filter) -> None:
    import distilled_filters.integrations.pandas  # noqa: F401

    for contents in ([], [None]):
        scored = pandas.DataFrame({"content": pandas.Series(contents, dtype=object)}).distilled.score([uplifting])
        assert scored["uplifting_tier"].dtype == "string"
        assert scored["uplifting_percentile"].dtype == "float64"


def test_datasets_splits_and_streams(uplifting: Filter) -> None:
    datasets = pytest.importorskip("datasets")
    from distilled_filters.integrations.datasets import score_dataset

    expected = [uplifting.score(article).weighted_average for article in ARTICLES]
    plain = datasets.Dataset.from_list(ARTICLES)
    splits = score_dataset(datasets.DatasetDict(train=plain, test=plain.with_format("numpy")), [uplifting])
    for split in ("train", "test"):
        assert splits[split]["uplifting_weighted_average"][:] == expected
    stream = score_dataset(plain.to_iterable_dataset(), [uplifting])
    assert [row["uplifting_weighted_average"] for row in stream] == expected
    with pytest.raises(SettingError, match="num_proc=2"):
        score_dataset(plain.to_iterable_dataset(), [uplifting], num_proc=2)


def test_the_cache_of_datasets_tells_builds_of_a_filter_apart(house: House) -> None:
    """Or another checkpoint under the same name would be answered with the old one's scores."""
    fingerprint = pytest.importorskip("datasets.fingerprint")
    folder = house.add()
    first, same = (fingerprint.Hasher.hash(Scoring([Filter(folder)]).score_arrow) for _ in range(2))
    house.change_head(folder, poison(1.0))
    assert first == same != fingerprint.Hasher.hash(Scoring([Filter(folder)]).score_arrow)


def test_datatrove_keeps_what_reaches_a_tier(uplifting: Filter, examples: list[dict[str, str]]) -> None:
    pytest.importorskip("datatrove")
    from datatrove.data import Document

    from distilled_filters.integrations.datatrove import ScoreArticles, TierFilter

    documents = [Document(row["content"], row["id"], metadata={"title": row["title"]}) for row in examples]
    expected = {row["id"] for row in examples if uplifting.score(row).tier in {"medium", "high"}}
    assert 0 < len(expected) < len(examples)
    step = TierFilter({"uplifting": "medium"})
    assert {document.id for document in step.run(iter(documents))} == expected
    assert all("uplifting_evidence_level" in document.metadata for document in documents)
    documents[0].metadata["uplifting_tier"] = "high"
    assert TierFilter({"uplifting": "high"}).filter(documents[0]) is True
    fresh = Document("short", "x")
    assert TierFilter({"uplifting": "high"}).filter(fresh) == (False, "uplifting_too_short")
    scored = ScoreArticles(["uplifting"])
    assert len(list(scored.run(iter([Document("short", "x"), Document(SNIPPET, "y")])))) == 2
    assert scored.stats["uplifting_too_short"].total == 1
    with pytest.raises(SettingError, match=r"no tier 'best', but \['high', 'medium', 'low'\]"):
        TierFilter({"uplifting": "best"})


@pytest.mark.slow
def test_ray_workers_leave_a_processor_to_read_with() -> None:
    pytest.importorskip("ray")
    from distilled_filters.integrations.ray import _share

    assert [_share(1, [2]), _share(6, [4, 4]), _share(15, [16])] == [1, 1, 1]
    for workers, processors in ((2, [2]), (16, [16]), (8, [4, 4]), (7, [4, 4]), (3, [2, 1])):
        share = _share(workers, [float(count) for count in processors])
        assert 0 < share < 1
        assert sum(processors) - workers * share >= len(processors)
    assert _share(1, [1.0]) == 0.0001
    assert _share(5, [2, 2]) == 1, "the cluster is to grow"


# --- scikit-learn --------------------------------------------------------------------------------------


def test_sklearn_gives_a_matrix_with_names(uplifting: Filter) -> None:
    pytest.importorskip("sklearn")
    from distilled_filters.integrations.sklearn import FilterTransformer

    transformer = FilterTransformer(["uplifting"], threads=1)
    matrix = transformer.fit_transform([*ARTICLES, SNIPPET, None])
    names = transformer.get_feature_names_out()
    assert matrix.shape == (4, len(names)) == (4, 2 + len(uplifting.spec.dimensions))
    score = uplifting.score(ARTICLES[0])
    assert dict(zip(names, matrix[0], strict=True)) == {
        "uplifting_weighted_average": score.weighted_average,
        "uplifting_percentile": score.percentile,
        **{f"uplifting_{name}": value for name, value in (score.dimensions or {}).items()},
    }
    assert (matrix[1] == matrix[2]).all()
    assert np.isnan(matrix[3]).all()
    assert transformer.transform([]).shape == (0, len(names))
    with pytest.raises(ValueError, match="a list such as"):
        transformer.transform(SNIPPET)


def test_sklearn_clones_pickles_and_takes_frames(uplifting: Filter) -> None:
    pytest.importorskip("sklearn")
    from sklearn.base import clone
    from sklearn.compose import ColumnTransformer

    from distilled_filters.integrations.sklearn import FilterTransformer

    original = FilterTransformer([uplifting], threads=1)
    frame = pandas.DataFrame(ARTICLES)
    expected = original.transform(ARTICLES)
    for copy in (clone(original), pickle.loads(pickle.dumps(original))):
        assert (copy.fit(frame).transform(frame) == expected).all()
    polars = pytest.importorskip("polars")
    assert (original.transform(polars.DataFrame(ARTICLES)) == expected).all()
    columns = ColumnTransformer([("lens", original, ["title", "content"])], verbose_feature_names_out=False)
    columns.set_output(transform="pandas")
    table = columns.fit_transform(frame.assign(n=[1, 2]))
    assert (table["uplifting_evidence_level"] == expected[:, list(original.get_feature_names_out()).index(
        "uplifting_evidence_level")]).all()  # fmt: skip


@pytest.mark.parametrize(
    "check",
    [
        "check_estimator_cloneable",
        "check_estimator_repr",
        "check_get_params_invariance",
        "check_no_attributes_set_in_init",
        "check_parameters_default_constructible",
        "check_set_params",
        "check_valid_tag_types",
    ],
)
def test_sklearn_checks_the_estimator(check: str) -> None:
    """The checks of `check_estimator` that put no numbers in; it runs none itself for estimators of texts."""
    estimator_checks = pytest.importorskip("sklearn.utils.estimator_checks")
    from distilled_filters.integrations.sklearn import FilterTransformer

    getattr(estimator_checks, check)("FilterTransformer", FilterTransformer(["uplifting"]))
