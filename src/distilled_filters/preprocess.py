"""From an `Article` to token ids: cleaning, then a head+tail window.

Training and scoring both read articles through this module, so that student
and production see the same tokens.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ftfy
import numpy as np
import numpy.typing as npt
from ftfy.fixes import fix_surrogates
from resiliparse.extract.html2text import extract_plain_text

from distilled_filters.errors import CheckpointError, RecordError
from distilled_filters.result import TokenUse
from distilled_filters.status import Status

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer

    from distilled_filters.article import Article
    from distilled_filters.spec import Preprocessing

__all__ = ["Preprocessor", "SpecialTokens", "Window", "clean", "open_tokenizer", "readable"]

_MARKUP = re.compile(r"</?[a-zA-Z][a-zA-Z0-9-]*(\s[^<>]*)?/?>|<!--|<!DOCTYPE", re.IGNORECASE)
_FIXES = ftfy.TextFixerConfig(uncurl_quotes=False, fix_latin_ligatures=False, unescape_html=True)
# Soft hyphens, zero-width characters, and the tokenizer's own special tokens.
_UNREAD = re.compile(r"[\u00ad\u200b\u2060\ufeff]|</?s>|<(?:unk|pad|mask)>")
_NESTING = re.compile(r"<(/?)(?:div|article)\b", re.IGNORECASE)
# Finding the main content takes time quadratic in the depth of the page; no article lies so deep.
_MAIN_CONTENT_DEPTH = 500
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\s*[|•\n]\s*")
# What consent walls speak of, and what they ask for, in the seven languages the filters read.
_WALL_TOPIC = re.compile(
    r"cookie|consent|toestemming|einwilligung|consentimiento|consentimento|consentement|consenso"
    r"|privacy|privacidad|privacidade|datenschutz|confidentialité",
    re.IGNORECASE,
)
_WALL_REQUEST = re.compile(
    r"(accept|reject|allow|agree to) all|manage (choices|options|preferences)|we use cookies|accept cookies"
    r"|alles (accepteren|weigeren|toestaan)|(wij|we) gebruiken cookies|cookies (accepteren|toestaan|weigeren)"
    r"|(accepteer|weiger) (je )?(alle )?cookies|privacy-instellingen|klikt? (je|u) op .{0,3}akkoord"
    r"|alle[ns]? (cookies )?(akzeptieren|ablehnen|zustimmen)|wir (verwenden|nutzen) cookies"
    r"|cookies (akzeptieren|zulassen)|akzeptieren und weiter"
    r"|(aceptar|rechazar|acepta) (todo|todas|(el uso de )?(las )?cookies|y continuar)|(utilizamos|usamos) cookies"
    r"|(aceitar|rejeitar|aceite) (todos|tudo|todas|os cookies|cookies)"
    r"|(tout|toutes) (accepter|refuser)|(accepter|refuser) (tout|les cookies)|utilisons des cookies"
    r"|(accetta|rifiuta|accettare) (tutti|tutto|i cookie)|utilizziamo (i )?cookie|usiamo (i )?cookie",
    re.IGNORECASE,
)
# What only a wall says to its reader; an article about walls does not.
_WALL_ADDRESS = re.compile(
    r"we value your privacy|we and our (\d+ )?partners|enable javascript|javascript is (disabled|required)"
    r"|wij en onze (\d+ )?partners|uw privacy is belangrijk|schakel javascript in|javascript in te schakelen"
    r"|wir und unsere (bis zu )?(\d+ )?partner|privatsphäre ist uns wichtig"
    r"|aktivieren sie (bitte )?javascript|javascript aktivieren"
    r"|nosotros y nuestros (\d+ )?socios|valoramos (tu|su) privacidad|(active|activa|habilite|habilita) javascript"
    r"|nós e (os )?nossos (\d+ )?parceiros|valorizamos (a )?sua privacidade|(ative|habilite) (o )?javascript"
    r"|nous et nos (\d+ )?partenaires|nous respectons votre vie privée|activ(er|ez) javascript"
    r"|noi e i nostri (\d+ )?partner|la tua privacy è importante|(attiva|abilita)(re)? javascript",
    re.IGNORECASE,
)
# A page of more than this many characters is an article that may speak of cookies, not a banner.
_WALL_CHARACTERS = 1500


@dataclass(frozen=True, slots=True)
class Window:
    """The token ids the backbone reads, shape (n,), those of the whole text (m,), and what the window leaves out."""

    ids: npt.NDArray[np.int64]
    tokens: TokenUse
    text: npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """The tokens around a window, and the one for what the vocabulary lacks; None where a model has none."""

    start: str | None = "<s>"
    end: str | None = "</s>"
    unknown: str | None = "<unk>"


_ENCODER = SpecialTokens()


def open_tokenizer(path: Path) -> Tokenizer:
    """Open a language model's tokenizer so that no text can become one of its special tokens."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    return tokenizer


def clean(text: str) -> str:
    """Strip markup and page furniture, repair mojibake, and collapse white space."""
    # Halves of surrogate pairs cannot be encoded for the HTML parser.
    text = fix_surrogates(text)
    if _MARKUP.search(text):
        main_content = _depth(text) <= _MAIN_CONTENT_DEPTH
        text = extract_plain_text(
            text, main_content=main_content, preserve_formatting=False, list_bullets=False, alt_texts=False,
            links=False, form_fields=False, noscript=False,
        )  # fmt: skip
    # The tokenizer reads the mark of an undecodable character as a space; so no length may count it.
    return " ".join(_UNREAD.sub("", ftfy.fix_text(text, _FIXES)).replace("\ufffd", " ").split())


def _depth(html: str) -> int:
    depth = deepest = 0
    for tag in _NESTING.finditer(html):
        depth = max(0, depth - 1) if tag[1] else depth + 1
        deepest = max(deepest, depth)
    return deepest


def readable(article: Article, settings: Preprocessing) -> tuple[str, str]:
    """Return an article's title and body, clean, where they hold something to judge.

    Raises:
        RecordError: `no_content`, `too_short` or `too_long`.
    """
    limit = settings.max_characters
    size = len(article.title) + len(article.content)
    if size > limit:
        raise RecordError(
            Status.TOO_LONG, f"{size:,} characters; at most {limit:,} are read. Send the article, not the archive"
        )
    title, body = clean(article.title), clean(article.content)
    if not any(map(str.isalnum, body)) or _is_wall(body):
        raise RecordError(
            Status.NO_CONTENT, "no article text: empty, markup only, no letter or digit, or a consent wall"
        )
    length = len(_joined(title, body))
    if length < settings.min_characters:
        raise RecordError(
            Status.TOO_SHORT, f"{length} characters of title and body; at least {settings.min_characters}"
        )
    return title, body


class Preprocessor:
    """Turns articles into windows, as one filter spec says.

    Two preprocessors with equal settings over one backbone give equal windows, so
    filters that share both share the work.
    """

    def __init__(self, settings: Preprocessing, tokenizer: Tokenizer, special: SpecialTokens = _ENCODER) -> None:
        """Encode the fixed parts once; padding and truncation stay off for good (AC10)."""
        self.settings = settings
        self.special = special
        self._tokenizer = tokenizer
        start, end, unknown = (_special(tokenizer, each) for each in (special.start, special.end, special.unknown))
        self._unknown = unknown[0] if unknown else None
        self._opening = [*start, *self._encode(settings.prefix)]
        self._separator = self._encode(settings.separator)
        self._closing = end
        # A window costs the same whether it holds a whole article or a head and a tail.
        self._budget = settings.head_tokens + len(self._separator) + settings.tail_tokens

    @property
    def window_tokens(self) -> int:
        """The longest window in tokens: special tokens, prefix, head, separator and tail."""
        return len(self._opening) + self._budget + len(self._closing)

    def __call__(self, article: Article) -> Window:
        """Clean the article and cut its window.

        Raises:
            RecordError: `no_content`, `too_short`, `too_long` or `unsupported_script`.
        """
        title, body = readable(article, self.settings)
        text = _joined(title, body)
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        ids = encoding.ids
        # By characters: a whole run of unknown ones is one token.
        unknown = sum(
            end - start for id_, (start, end) in zip(ids, encoding.offsets, strict=True) if id_ == self._unknown
        )
        if unknown > self.settings.max_unknown * (len(text) - text.count(" ")):
            raise RecordError(
                Status.UNSUPPORTED_SCRIPT,
                f"more than {self.settings.max_unknown:.0%} of the characters are outside the backbone's vocabulary",
            )
        truncated = len(ids) > self._budget
        read = ids
        if truncated:
            head, tail = self.settings.head_tokens, self.settings.tail_tokens
            read = ids[:head] + self._separator + ids[len(ids) - tail :]
        tokens = TokenUse(
            total=len(ids),
            read=len(read) - (len(self._separator) if truncated else 0),
            truncated=truncated,
        )
        return Window(
            ids=np.array(self._opening + read + self._closing, dtype=np.int64),
            text=np.array(ids, dtype=np.int32),
            tokens=tokens,
        )

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids


def _special(tokenizer: Tokenizer, token: str | None) -> list[int]:
    if token is None:
        return []
    identifier = tokenizer.token_to_id(token)
    if identifier is None:
        raise CheckpointError(f"the backbone's tokenizer has no {token!r} token; windows cannot be made with it")
    return [int(identifier)]


def _joined(title: str, body: str) -> str:
    return f"{title}\n{body}" if title else body


def _is_wall(body: str) -> bool:
    """Tell a consent or script wall: a short page that speaks as one, or asks for consent and says little else."""
    if len(body) > _WALL_CHARACTERS:
        return False
    if _WALL_ADDRESS.search(body):
        return True
    if not _WALL_REQUEST.search(body):
        return False
    sentences = [sentence for sentence in _SENTENCE.split(body) if sentence]
    about = sum(len(each) for each in sentences if _WALL_TOPIC.search(each) or _WALL_REQUEST.search(each))
    return about > len(body) / 2
