"""Cleaning, refusals and windows: what of an article the student reads (AC8, AC9)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distilled_filters.article import Article
from distilled_filters.errors import RecordError
from distilled_filters.filter import Filter
from distilled_filters.preprocess import Preprocessor, clean
from distilled_filters.status import Status
from tests.conftest import (
    DATA,
    FILTERS,
    LANGUAGES,
    SHIPPED,
    SNIPPET,
    UNREADABLE,
    Document,
    rows,
    run_python,
    student,
)

WALLS, NOT_WALLS = rows(DATA / "walls.jsonl"), rows(DATA / "not_walls.jsonl")
REFUSALS = {Status.NO_CONTENT, Status.TOO_SHORT, Status.TOO_LONG, Status.UNSUPPORTED_SCRIPT}


def refusal(preprocessor: Preprocessor, **article: str) -> RecordError:
    with pytest.raises(RecordError) as caught:
        preprocessor(Article(**article))
    return caught.value


def encode(preprocessor: Preprocessor, text: str) -> list[int]:
    ids: list[int] = preprocessor._tokenizer.encode(text, add_special_tokens=False).ids
    return ids


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("  two \n\n words\t", "two words"),
        ("a\u00a0b", "a b"),
        ("Neuf ans aprÃ¨s, lâ€™eau", "Neuf ans après, l’eau"),  # noqa: RUF001
        ("“So,” she said", "“So,” she said"),
        ("bread &amp; butter", "bread & butter"),
        ("3 < 5 and 7 > 2", "3 < 5 and 7 > 2"),
        ("<p>One.</p><p>Two.</p>", "One. Two."),
        ("<p>Ärzte &amp; &Auml;rzte</p>", "Ärzte & Ärzte"),
        ("<script>alert(1)</script><style>p{}</style>", ""),
        ("<p>kept</p><!-- a comment -->", "kept"),
        ("a\x00b\x07c", "abc"),
        ("e\u0301", "é"),
        ("", ""),
    ],
)
def test_cleaning(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


def test_mojibake_of_a_whole_article_is_repaired(examples: list[Document]) -> None:
    (broken,) = [row for row in examples if "Ã©" in row["content"]]
    title, content = clean(broken["title"]), clean(broken["content"])
    assert "après" in title
    assert "étaient onze" in content
    assert not any(sign in title + content for sign in ("Ã", "â€", "Â"))


def test_an_html_page_keeps_its_article_and_loses_its_furniture(examples: list[Document]) -> None:
    (page,) = [row for row in examples if "<!DOCTYPE" in row["content"]]
    content = clean(page["content"])
    assert 1500 < len(content) < len(page["content"])
    assert not any(sign in content for sign in ("<", "dataLayer", "position:fixed", "&nbsp;", "{"))
    assert "cookie" not in content.lower()


@pytest.mark.parametrize("row", WALLS, ids=lambda row: str(row["id"]))
@pytest.mark.parametrize("shape", ["plain", "html"])
def test_a_consent_wall_is_no_content(preprocessor: Preprocessor, row: Document, shape: str) -> None:
    content = row["content"] if shape == "plain" else f"<html><body><div><p>{row['content']}</p></div></body></html>"
    assert refusal(preprocessor, content=content).status is Status.NO_CONTENT


@pytest.mark.parametrize("row", NOT_WALLS, ids=lambda row: str(row["id"]))
def test_an_article_on_cookies_is_no_wall(preprocessor: Preprocessor, row: Document) -> None:
    assert preprocessor(Article(content=row["content"])).tokens.read > 30


def test_every_example_can_be_read(preprocessor: Preprocessor, examples: list[Document]) -> None:
    assert len(examples) == 12
    for row in examples:
        assert preprocessor(Article.parse(row)).tokens.total > 40, row["id"]


def test_a_wire_snippet_of_forty_words_can_be_read_in_every_language(preprocessor: Preprocessor) -> None:
    golden = rows(FILTERS / "uplifting" / "v1" / "golden.jsonl")
    assert {row["language"] for row in golden} == LANGUAGES
    for row in golden:
        words = row["content"].split()[:40]
        window = preprocessor(Article(content=" ".join(words)))
        assert not window.tokens.truncated
        assert window.tokens.total >= len(words), row["language"]


@pytest.mark.parametrize("script", sorted(UNREADABLE))
def test_ac08_a_script_outside_the_vocabulary_is_said(preprocessor: Preprocessor, script: str) -> None:
    """Runs of unknown characters become one token, so counting tokens would let them all through."""
    assert refusal(preprocessor, content=UNREADABLE[script]).status is Status.UNSUPPORTED_SCRIPT


@pytest.mark.parametrize("script", sorted(UNREADABLE))
def test_a_quotation_in_another_script_does_not_stop_an_article(preprocessor: Preprocessor, script: str) -> None:
    article = Article(content=f"{SNIPPET} The sign on its door reads “{UNREADABLE[script][:30]}”. {SNIPPET}")
    assert preprocessor(article).tokens.total > 50


@pytest.mark.parametrize(
    "content",
    ["", "   \n", "<p></p>", "<img src='a.jpg'>", "\ufeff" * 200, "\u200b" * 200, "\u00ad" * 200, "\x00" * 200,
     "\ud800" * 300, "\ufffd" * 200, "\ufffd\ufffd. " * 100, "\u200e" * 200, "- " * 100, "😀" * 100],
    ids=["empty", "blank", "markup", "image", "byte order marks", "zero-width", "soft hyphens", "NUL",
         "surrogates", "undecodable", "undecodable sentences", "direction marks", "dashes", "emoji"],
)  # fmt: skip
def test_ac08_text_with_nothing_to_see_is_no_content(preprocessor: Preprocessor, content: str) -> None:
    error = refusal(preprocessor, title="A title long enough to be an article of its own " * 3, content=content)
    assert error.status is Status.NO_CONTENT


def test_ac08_undecodable_characters_make_no_article_longer(preprocessor: Preprocessor) -> None:
    assert refusal(preprocessor, content="A café" + "\ufffd" * 300).status is Status.TOO_SHORT
    assert refusal(preprocessor, content="A café" + "\ud83d " * 300).status is Status.TOO_SHORT
    bare, torn = (preprocessor(Article(content=f"{SNIPPET}{end}")).tokens for end in ("", "\ufffd" * 300))
    assert torn == bare


def test_ac08_the_shortest_article_counts_title_and_body(preprocessor: Preprocessor) -> None:
    least = preprocessor.settings.min_characters
    title, body = "Bees return", "x" * (least - len("Bees return\n"))
    assert preprocessor(Article(title, body)).tokens.read > 0
    error = refusal(preprocessor, title=title, content=body[1:])
    assert error.status is Status.TOO_SHORT
    assert f"{least - 1} characters" in str(error)
    assert str(least) in str(error)


def test_ac08_the_longest_article_is_refused_unread(
    preprocessor: Preprocessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = preprocessor.settings.max_characters
    assert preprocessor(Article(content="word " * (most // 5))).tokens.truncated
    monkeypatch.setattr("distilled_filters.preprocess.clean", lambda text: pytest.fail("too long a text was cleaned"))
    error = refusal(preprocessor, title="x", content="y" * most)
    assert error.status is Status.TOO_LONG
    assert f"{most + 1:,}" in str(error)


def test_ac08_ten_megabytes_are_refused_at_once(preprocessor: Preprocessor) -> None:
    assert refusal(preprocessor, content="<p>spam</p>" * 900_000).status is Status.TOO_LONG


def test_ac08_deeply_nested_markup_does_not_hold_up_the_stream() -> None:
    """A 200 kB page of nested elements; main content extraction takes quadratic time there."""
    code = f"from distilled_filters.preprocess import clean\nprint('clinic' in clean('<div>' * 40_000 + {SNIPPET!r}))"
    assert run_python(code, timeout=12).strip() == "True"


@pytest.mark.parametrize("code", [0xD800, 0xDFFF, 0xD83D], ids=hex)
def test_ac08_half_a_character_in_markup_is_no_crash(preprocessor: Preprocessor, code: int) -> None:
    """Scrapers cut emoji in half; JSON lets the halves through."""
    article = json.loads(f'{{"content": "<p>{SNIPPET} \\u{code:04x}</p>"}}')
    window = preprocessor(Article.parse(article))
    assert window.tokens.total > 20


@pytest.mark.parametrize("token", ["<s>", "</s>", "<pad>", "<unk>", "<mask>"])
def test_no_article_can_forge_the_window_s_frame(preprocessor: Preprocessor, token: str) -> None:
    special = preprocessor._tokenizer.token_to_id(token)
    assert special is not None
    escaped = token.replace("<", "&lt;").replace(">", "&gt;")
    for content in (f"{SNIPPET} {escaped} {SNIPPET}", f"<p>{SNIPPET} {escaped} {SNIPPET}</p>"):
        assert special not in preprocessor(Article(content=content)).ids[1:-1].tolist()


MARKUP = ["<p>", "</div>", "<div class='a'>", "<!-- ", "-->", "&lt;b&gt;", "&#0;"]
LETTERS = ["😀", "👩\u200d👧", "汉字", "ภาษาไทย", "e\u0301", "Ã©", "\ufdfa"]
CONTROLS = ["\u202e", "\ud800", "\x00", "\x1b[0m", " ", "\n\n"]
WORDS = ["cookie ", SNIPPET, "wordword" * 40, "supercalifragilistic" * 20]
PIECES = st.sampled_from([*MARKUP, *LETTERS, *CONTROLS, *WORDS])
ANY_TEXT = st.text(st.characters(), max_size=300) | st.lists(PIECES | st.text(max_size=20), max_size=40).map("".join)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(title=ANY_TEXT, content=ANY_TEXT)
def test_ac09_every_window_is_the_article_s_head_and_tail(preprocessor: Preprocessor, title: str, content: str) -> None:
    """Any Unicode: a `RecordError`, or a window of bounded length whose token use is true."""
    try:
        window = preprocessor(Article(title, content))
    except RecordError as error:
        status = error.status
    else:
        status = Status.OK
        check_window(preprocessor, Article(title, content), window)
    assert status in {Status.OK, *REFUSALS}


def test_ac09_windows_at_every_length_around_the_budget(preprocessor: Preprocessor) -> None:
    settings = preprocessor.settings
    budget = settings.head_tokens + len(encode(preprocessor, settings.separator)) + settings.tail_tokens
    totals = set()
    for count in (45, *range(budget - 2, budget + 4), 3 * budget):
        article = Article(content="a " * count)
        window = preprocessor(article)
        check_window(preprocessor, article, window)
        totals.add(window.tokens.total)
    assert totals >= {budget - 1, budget, budget + 1}


def check_window(preprocessor: Preprocessor, article: Article, window: Any) -> None:
    settings = preprocessor.settings
    start, end = (preprocessor._tokenizer.token_to_id(token) for token in ("<s>", "</s>"))
    opening = [start, *encode(preprocessor, settings.prefix)]
    separator = encode(preprocessor, settings.separator)
    title, body = clean(article.title), clean(article.content)
    whole = encode(preprocessor, f"{title}\n{body}" if title else body)
    budget = settings.head_tokens + len(separator) + settings.tail_tokens
    truncated = len(whole) > budget
    read = whole[: settings.head_tokens] + separator + whole[-settings.tail_tokens :] if truncated else whole
    assert window.ids.tolist() == [*opening, *read, end]
    assert window.ids.dtype == "int64"
    assert len(window.ids) <= preprocessor.window_tokens == len(opening) + budget + 1
    assert window.tokens.truncated is truncated
    assert window.tokens.total == len(whole) > 0
    assert window.tokens.read == (settings.head_tokens + settings.tail_tokens if truncated else len(whole))


def test_ac24_all_shipped_filters_read_alike(preprocessor: Preprocessor) -> None:
    """Equal settings over one tokenizer are what lets filters share a window."""
    settings = {Filter(FILTERS / name / "v1").spec.preprocessing for name in SHIPPED}
    assert settings == {preprocessor.settings}
    twin = Preprocessor(preprocessor.settings, preprocessor._tokenizer)
    article = Article(content=SNIPPET * 20)
    assert twin(article).ids.tolist() == preprocessor(article).ids.tolist()


def test_the_window_fits_the_backbone(uplifting: Filter, preprocessor: Preprocessor) -> None:
    assert preprocessor.window_tokens <= student(uplifting).backbone.spec.max_tokens
