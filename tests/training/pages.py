"""Reading a report back, to see that it is whole and asks for nothing."""

from __future__ import annotations

from html.parser import HTMLParser

__all__ = ["Page"]


class Page(HTMLParser):
    """Collects what a page would load, and what its pictures and tables say."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.alternatives: list[str | None] = []
        self.targets: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.loads += [value for key in ("src", "srcset") if (value := values.get(key))]
        if tag in {"script", "link", "iframe"}:
            self.loads.append(tag)
        if tag == "img":
            self.alternatives.append(values.get("alt"))
        self.targets += [href for href in [values.get("href")] if href]
        self.ids += [id_ for id_ in [values.get("id")] if id_]
        if tag not in {"meta", "img", "source", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
