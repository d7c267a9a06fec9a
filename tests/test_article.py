"""AC8: whatever comes in is an article, or a typed refusal."""

from __future__ import annotations

from collections import UserDict
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilled_filters.article import Article, record_id
from distilled_filters.errors import RecordError
from distilled_filters.status import Status

NAN = float("nan")


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("a body", Article(content="a body")),
        ({"content": "b"}, Article(content="b")),
        ({"title": "t", "content": "b"}, Article("t", "b")),
        ({"headline": "t", "text": "b"}, Article("t", "b")),
        ({"title": "t", "headline": "other", "body": "b"}, Article("t", "b")),
        ({"content": None, "text": "b"}, Article(content="b")),
        ({"title": None, "content": "b"}, Article(content="b")),
        ({"title": NAN, "content": "b"}, Article(content="b")),
        ({"content": "b", "id": 7}, Article(content="b", id="7")),
        ({"content": "b", "id": None}, Article(content="b")),
        ({"content": "b", "id": NAN}, Article(content="b")),
        ({"content": ""}, Article()),
        (UserDict({"content": "b"}), Article(content="b")),
        (MappingProxyType({"content": "b"}), Article(content="b")),
        (Article("t", "b", "1"), Article("t", "b", "1")),
    ],
)
def test_what_an_article_may_be(record: object, expected: Article) -> None:
    assert Article.parse(record) == expected


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (None, "NoneType"),
        (b"a body", "bytes"),
        (NAN, "float"),
        (42, "int"),
        (["a body"], "list"),
        (object(), "object"),
        ({}, "keys: none"),
        ({"titel": "t", "inhoud": "b"}, "'titel', 'inhoud'"),
        ({"content": b"b"}, "decode it first"),
        ({"content": NAN}, "NaN"),
        ({"content": 1.5}, "float"),
        ({"content": ["a", "b"]}, "list"),
        ({"content": {"html": "b"}}, "dict"),
        ({"title": 7, "content": "b"}, "'title' must be a str, not int"),
        ({"title": b"t", "content": "b"}, "'title' must be a str, not bytes"),
        (Article("t", b"b"), "'content' must be a str, not bytes"),  # type: ignore[arg-type]
        (Article(None, "b"), "'title' must be a str"),  # type: ignore[arg-type]
    ],
)
def test_ac08_what_is_no_article_is_refused_with_a_reason(record: object, said: str) -> None:
    with pytest.raises(RecordError) as caught:
        Article.parse(record)
    assert caught.value.status is Status.INVALID
    assert said in str(caught.value)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["title", "headline", "content", "text", "body", "id"]) | st.text(), inner)
    ),
    max_leaves=8,
)


@given(anything)
def test_ac08_no_value_breaks_the_parser(record: Any) -> None:
    try:
        article = Article.parse(record)
    except RecordError as error:
        status = error.status
    else:
        status = Status.OK
        assert isinstance(article.title, str)
        assert isinstance(article.content, str)
        assert article.id is None or isinstance(article.id, str)
    assert status in {Status.OK, Status.INVALID}


@pytest.mark.parametrize(
    ("record", "expected"),
    [({"id": 3}, "3"), ({"id": "x", "content": 5}, "x"), (Article(id="a"), "a"), (None, None), ("text", None)],
)
def test_ac08_a_refused_record_keeps_its_id(record: object, expected: str | None) -> None:
    assert record_id(record) == expected
