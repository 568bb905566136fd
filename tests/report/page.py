"""A page as a browser would read it."""

import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

from saltus.report.html.page import write_report
from saltus.report.sections import Records, describe

HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2), alert(3)">'


class Page(HTMLParser):
    """Elements with their attributes, the text of each script, and all other text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self._text: list[str] = []
        self._inside = ""
        self.feed(path.read_text())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self._text.append(data)

    @property
    def text(self) -> str:
        """All that can be read, on one line."""
        return re.sub(r"\s+", " ", " ".join(self._text))

    @property
    def sections(self) -> list[dict[str, Any]]:
        """What the script of the page reads."""
        return json.loads(self.scripts[1])

    @property
    def plots(self) -> list[dict[str, str | None]]:
        """Attributes of the places for figures."""
        return [attributes for attributes in self.find("div") if attributes.get("class") == "plot"]

    def find(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of all elements of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    def check(self) -> None:
        """Headings are in order, figures have names and data, and nothing is loaded from anywhere."""
        levels = [int(tag[1]) for tag, _ in self.elements if re.fullmatch(r"h[1-6]", tag)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))
        assert self.find("html") == [{"lang": "en"}]
        assert all(plot["role"] == "img" and plot["aria-label"] for plot in self.plots)
        assert {plot["data-figure"] for plot in self.plots} == {key for s in self.sections for key in s["figures"]}
        for tag, attributes in self.elements:
            assert not {"src", "srcset", "action", "data", "poster"} & set(attributes), tag
            assert (attributes.get("href") or "#").startswith("#")
            assert tag not in {"link", "iframe", "object", "embed", "base"}
        policies = [attributes["content"] for attributes in self.find("meta") if "http-equiv" in attributes]
        assert "default-src 'none'" in (policies[0] or "")
        assert not re.search(r"https?:|\bfetch\b|XMLHttpRequest|\bimport\b|WebSocket", "".join(self.scripts[1:]))
        assert len(self.scripts) == 3
        assert "<" not in self.scripts[1]
        assert "url(" not in self.text


def render(path: Path, *records: Records) -> Page:
    """The page about some records."""
    write_report(describe(records), path / "report.html")
    page = Page(path / "report.html")
    page.check()
    return page
