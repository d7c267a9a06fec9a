"""What goes over the wire, typed: the service documents these, the client reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from distilled_filters.result import Provenance, Status, TokenUse
from distilled_filters.spec import Dimension, Tier

__all__ = [
    "EXAMPLE_ARTICLE",
    "Analysis",
    "Feedback",
    "FeedbackReceipt",
    "FilterRow",
    "FilterTable",
    "Health",
    "Limits",
    "NexusMindRows",
    "Problem",
    "ScoreRequest",
    "ScoreRow",
    "Scores",
]

EXAMPLE_ARTICLE = {
    "id": "clinic-1",
    "title": "Clinic reaches the last valley",
    "content": "Since the district opened the clinic in 2019, deaths among newborns have fallen from 31 to 12 in a "
    "thousand, the health ministry's yearly count shows. Nurses from four villages run it, and care is free.",
}

_RECORD = WithJsonSchema(
    {
        "title": "Record",
        "description": "An article, or a text alone. Anything else gets the status `invalid`, and its neighbours "
        "are scored all the same.",
        "anyOf": [
            {
                "type": "object",
                "description": "`headline` stands in for `title`, `text` or `body` for `content`.",
                "properties": {"id": {}, "title": {}, "content": {}},
            },
            {"type": "string"},
            {},
        ],
        "examples": [EXAMPLE_ARTICLE],
    }
)


class _Wire(BaseModel):
    # What a newer service says beyond this is no error to an older client.
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Request(BaseModel):
    # A misspelt key would else be ignored in silence.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ScoreRequest(_Request):
    """Articles to score, and by which filters; all that are served where none is named."""

    articles: list[Annotated[Any, _RECORD]]
    filters: Annotated[list[str], Field(min_length=1)] | None = None


def _encodable(text: str) -> str:
    """Replace halves of surrogate pairs, which JSON can hold and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()


Text = Annotated[str, AfterValidator(_encodable)]


class Feedback(_Request):
    """What a reader or editor says of one score."""

    filter: str
    id: Annotated[Text, Field(min_length=1, max_length=512, description="The article's own id.")]
    tier: Annotated[str, Field(description="The tier it should have got.")]
    version: Annotated[
        Text | None,
        Field(max_length=64, description="The filter version that was judged; by default the one served now."),
    ] = None
    comment: Annotated[Text | None, Field(max_length=4000)] = None


class Problem(_Wire):
    """Why there is no answer: one sentence with the value and the remedy."""

    detail: str


class ScoreRow(_Wire):
    """One article through one filter, 0-10; where `status` is not `ok`, `detail` says why and numbers are null."""

    id: str | None = None
    filter: str
    version: str | None = None
    status: Status
    tier: str | None = None
    weighted_average: float | None = None
    raw_weighted_average: float | None = None
    dimensions: Mapping[str, float] | None = None
    gate_applied: bool | None = None
    percentile: float | None = None
    interval: tuple[float, float] | None = None
    disagreement: float | None = None
    stage: str | None = None
    tokens: TokenUse | None = None
    detail: str | None = None
    provenance: Provenance | None = None


class Scores(_Wire):
    """A result an article, in the order of the request; in each a score a filter."""

    results: list[dict[str, ScoreRow]]


class FilterRow(_Wire):
    """A filter that is served; `problem` says why it cannot score, if so."""

    name: str
    version: str | None
    lens: str | None
    languages: tuple[str, ...]
    dimensions: tuple[Dimension, ...]
    tiers: tuple[Tier, ...]
    provenance: Provenance | None
    problem: str | None


class Limits(_Wire):
    """What one request may hold: bytes of body, articles, seconds."""

    max_body: int
    max_articles: int
    timeout: float


class FilterTable(_Wire):
    """The filters of this service, and the limits of a request."""

    filters: list[FilterRow]
    limits: Limits


class FeedbackReceipt(_Wire):
    """What was written down, and when (UTC)."""

    received: str
    filter: str
    version: str | None
    id: str
    tier: str
    comment: str | None


class Health(_Wire):
    """`status`: `ok`, or `degraded` where some filters cannot score; `ready`: the queue has room."""

    status: str
    ready: bool
    version: str
    filters: dict[str, str]
    waiting: int
    queue: int


class Analysis(_Wire):
    """One filter's analysis, with the keys that NexusMind stores."""

    version: str | None
    scores: Mapping[str, float] | None
    weighted_average: float | None
    raw_weighted_average: float | None
    normalization_method: str | None
    tier: str | None
    gatekeeper_applied: bool
    passed_prefilter: bool
    prefilter_reason: str | None


class NexusMindRows(_Wire):
    """A row an article, in the order of the request: its `id`, and `<filter>_analysis` for each filter."""

    rows: list[dict[str, Analysis | str | None]]
