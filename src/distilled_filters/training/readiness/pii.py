"""Personal data in articles: found by pattern, kept only where a check digit or a numbering plan agrees, and masked.

Names are left alone: who is in the news is public. What no checksum or plan can confirm
(addresses) needs a house number; ids that are bare digits need a word beside them.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from phonenumbers import Leniency, PhoneNumberMatcher
from stdnum import iban, luhn
from stdnum.be import nn
from stdnum.br import cpf
from stdnum.de import idnr
from stdnum.es import dni, nie
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.it import codicefiscale
from stdnum.nl import bsn
from stdnum.pt import nif
from stdnum.us import ssn

__all__ = ["Finding", "Kind", "find", "mask"]


class Kind(StrEnum):
    """What was found; masked text has it in brackets."""

    EMAIL = "EMAIL"
    IBAN = "IBAN"
    CARD = "CARD"
    NATIONAL_ID = "NATIONAL_ID"
    IP = "IP"
    PHONE = "PHONE"
    ADDRESS = "ADDRESS"


@dataclass(frozen=True, slots=True)
class Finding:
    """A span of a text, in characters."""

    kind: Kind
    start: int
    end: int


# Whose numbering plans a number without a country code may follow, by the article's language.
_REGIONS = {
    "en": ("GB", "US"), "nl": ("NL", "BE"), "es": ("ES",), "pt": ("PT", "BR"), "de": ("DE",), "fr": ("FR",),
    "it": ("IT",),
}  # fmt: skip
# The search for phone numbers is slow; it needs seven digits close together.
_DIGITS = re.compile(r"(?:\d[\s().\-/]{0,3}){7}")
# Amounts that a numbering plan would take for a phone number.
_THOUSANDS = re.compile(r"\d{1,3}(?:\.\d{3})+")
_CURRENCY = re.compile(r"\s?(?:€|\$|R\$|US\$|euros?\b|dollars?\b|d[oó]lares\b|reais\b)", re.IGNORECASE)
_CONTEXT = 40


@dataclass(frozen=True, slots=True)
class _Pattern:
    """Candidates of a kind, and what confirms one.

    `beside` must match close by where digits alone say little; `language` is the only one
    that the pattern is for.
    """

    kind: Kind
    candidates: re.Pattern[str]
    valid: Callable[[str], bool] | None = None
    beside: re.Pattern[str] | None = None
    language: str | None = None

    def confirms(self, match: re.Match[str]) -> bool:
        if self.valid is not None and not self.valid(match[0]):
            return False
        if self.beside is None:
            return True
        text, (start, end) = match.string, match.span()
        around = f"{text[max(0, start - _CONTEXT) : start]} {text[end : end + _CONTEXT]}"
        return self.beside.search(" ".join(around.split())) is not None


def _is_card(digits: str) -> bool:
    return bool(luhn.is_valid(re.sub(r"[ -]", "", digits)))


def _is_public_ip(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False


def _id(candidates: str, valid: Callable[[str], bool], beside: str | None = None) -> _Pattern:
    words = re.compile(beside, re.IGNORECASE) if beside else None
    return _Pattern(Kind.NATIONAL_ID, re.compile(candidates), valid, words)


_NATIONAL_IDS = (
    _id(r"\b[A-Z]{6}\d\d[A-Z]\d\d[A-Z]\d{3}[A-Z]\b", codicefiscale.is_valid),
    _id(r"\b\d{8}-?[A-Z]\b", dni.is_valid),
    _id(r"\b[XYZ]-?\d{7}-?[A-Z]\b", nie.is_valid),
    _id(r"(?<!\d)\d{3}\.\d{3}\.\d{3}-\d\d(?!\d)", cpf.is_valid),
    _id(r"(?<!\d)\d{11}(?!\d)", cpf.is_valid, r"\bcpf\b"),
    _id(r"(?<!\d)[12] ?\d\d ?\d\d ?(?:\d\d|2[AB]) ?\d{3} ?\d{3} ?\d\d(?!\d)", nir.is_valid),
    _id(r"(?<!\d)\d\d\.\d\d\.\d\d-\d{3}\.\d\d(?!\d)", nn.is_valid),
    _id(r"(?<![\d-])\d{3}-\d\d-\d{4}(?![\d-])", ssn.is_valid),
    _id(r"(?<!\d)\d{4}\.?\d\d\.?\d{3}(?!\d)", bsn.is_valid, r"\bbsn\b|burgerservice|sofi-?nummer"),
    _id(r"(?<!\d)\d{3} ?\d{3} ?\d{3}(?!\d)", nif.is_valid, r"\bnif\b|contribuinte"),
    _id(
        r"(?<!\d)\d\d ?\d{3} ?\d{3} ?\d{3}(?!\d)", idnr.is_valid, r"steuer-?id|steuer(?:liche )?-?identifikation|\bidnr"
    ),
    _id(r"(?<!\d)\d{3}[ -]?\d{3}[ -]?\d{4}(?!\d)", nhs.is_valid, r"\bnhs\b"),
)

_NAME = r"[A-ZÀ-ÖØ-Þ][\w'-]*"
_SMALL = r"(?:(?:de|del|da|das|do|dos|dei|della|delle|degli|du|des|la|las|le|les|los|y|e)\s|[dl]')"
_NAMES = rf"{_SMALL}{{0,2}}{_NAME}(?:\s{_SMALL}{{0,2}}{_NAME}){{0,3}}"
_HOUSE = r"\d{1,4}(?:\s?[a-zA-Z])?\b(?![.,]\d)"
_NUMBERED = rf"\s{_NAMES},?\s(?:n[.º°]{{1,2}}\s?)?{_HOUSE}"
_STREETS = {
    "en": rf"(?<!\d)(?!(?:19|20)\d\d\s)\d{{1,5}}[A-Z]?\s(?:{_NAME}\s){{1,3}}"
    r"(?:Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Boulevard|Blvd|Close|Crescent|Terrace|Square)\b",
    "nl": rf"\b[A-Z][\w-]+(?:straat|laan|weg|plein|gracht|kade|steeg|singel)\s{_HOUSE}",
    "de": rf"\b[A-ZÄÖÜ][\w-]+(?:straße|strasse|str\.|weg|platz|allee|gasse|ufer|damm)\s{_HOUSE}",
    "es": rf"\b(?:[Cc]alle|C/|[Aa]venida|Avda\.|Av\.|[Pp]laza|[Pp]aseo){_NUMBERED}",
    "pt": rf"\b(?:[Rr]ua|[Aa]venida|Av\.|[Pp]raça|[Tt]ravessa|[Aa]lameda|[Ll]argo){_NUMBERED}",
    "it": rf"\b(?:[Vv]ia|[Vv]iale|[Pp]iazza|[Cc]orso|[Vv]icolo){_NUMBERED}",
    "fr": rf"(?<!\d)\d{{1,4}}(?:\s?(?:bis|ter))?,?\s(?:rue|avenue|boulevard|place|chemin|allée|impasse|quai)\s{_NAMES}",
}

# In the order in which they claim a span; phone numbers come after all of them.
_PATTERNS = (
    _Pattern(
        Kind.EMAIL,
        re.compile(
            r"(?<![\w.+-])\w[\w.+-]{0,63}(?:@|\s?[(\[](?:at|arroba)[)\]]\s?)(?:[\w-]{1,63}\.){1,5}"
            r"(?!png|jpg|gif|svg)[a-zA-Z]{2,24}\b"
        ),
    ),
    _Pattern(Kind.IBAN, re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z\d]{4}){2,7}(?: ?[A-Z\d]{1,3})?\b"), iban.is_valid),
    # Visa, Mastercard, American Express, Discover: 15 or 16 digits, whole or in their usual groups.
    _Pattern(
        Kind.CARD,
        re.compile(
            r"(?<![\d.,-])(?:(?:4\d{3}|5[1-5]\d\d|2[2-7]\d\d|6011)(?:[ -]?\d{4}){3}|3[47]\d\d[ -]?\d{6}[ -]?\d{5})"
            r"(?![.,-]?\d)"
        ),
        _is_card,
    ),
    *_NATIONAL_IDS,
    # A version number has four parts too.
    _Pattern(
        Kind.IP,
        re.compile(
            r"(?<!version )(?<!versie )(?<!versão )(?<!versión )(?<!versione )(?<![\d.v])"
            r"(?:\d{1,3}\.){3}\d{1,3}(?!\.?\d)",
            re.IGNORECASE,
        ),
        _is_public_ip,
    ),
    _Pattern(Kind.IP, re.compile(r"(?<![\w:])[23][\da-f]{3}:[\da-f:]{4,34}(?![\w:])"), _is_public_ip),
    *(_Pattern(Kind.ADDRESS, re.compile(each), language=language) for language, each in _STREETS.items()),
)


def find(text: str, language: str | None = None) -> list[Finding]:
    """Return what was found, in the text's order, without overlaps.

    Args:
        text: An article's title or body as delivered.
        language: Decides whose phone numbers need no country code, and what a street is called; all of
            the streets where it is None.
    """
    taken: list[Finding] = []
    for finding in _candidates(text, (language or "")[:2].lower()):
        if all(finding.end <= each.start or each.end <= finding.start for each in taken):
            taken.append(finding)
    return sorted(taken, key=lambda each: each.start)


def mask(text: str, language: str | None = None) -> tuple[str, Counter[Kind]]:
    """Return the text with each finding replaced by its kind in brackets, and how many there were of each."""
    parts, position, counts = [], 0, Counter[Kind]()
    for each in find(text, language):
        parts += [text[position : each.start], f"[{each.kind}]"]
        position = each.end
        counts[each.kind] += 1
    return "".join([*parts, text[position:]]), counts


def _candidates(text: str, language: str) -> Iterator[Finding]:
    for pattern in _PATTERNS:
        if language and pattern.language not in {None, language}:
            continue
        for match in pattern.candidates.finditer(text):
            if pattern.confirms(match):
                yield Finding(pattern.kind, *match.span())
    if _DIGITS.search(text):
        matches = [
            match
            for region in _REGIONS.get(language, (None,))
            for match in PhoneNumberMatcher(text, region, leniency=Leniency.VALID)
            if not _THOUSANDS.fullmatch(match.raw_string) and not _CURRENCY.match(text, match.end)
        ]
        # What is a whole number in one country can be a part of another's.
        for phone in sorted(matches, key=lambda each: each.start - each.end):
            yield Finding(Kind.PHONE, phone.start, phone.end)
