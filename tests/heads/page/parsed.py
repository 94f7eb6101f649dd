"""What a browser would make of a page, as far as `html.parser` knows."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser

_EMPTY = {"meta", "img", "input", "br", "link", "use", "path", "circle"}


@dataclasses.dataclass
class Element:
    """An element, and the text in it and in those within it."""

    tag: str
    attributes: dict[str, str]
    text: str = ""


class Page(HTMLParser):
    """A page's elements in their order.

    Attributes:
        elements: all of them.
        unclosed: those that were never closed.
    """

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self.unclosed: list[Element] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        if tag not in _EMPTY:
            self.unclosed.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.unclosed and self.unclosed[-1].tag == tag, f"</{tag}> closes {self.unclosed[-1:]}"
        self.unclosed.pop()

    def handle_data(self, data: str) -> None:
        for element in self.unclosed:
            element.text += data

    def all(self, *tags: str) -> list[Element]:
        return [element for element in self.elements if element.tag in tags]

    def by_id(self, id: str) -> Element:
        (found,) = [element for element in self.elements if element.attributes.get("id") == id]
        return found

    @property
    def text(self) -> str:
        """What is to be read: neither scripts nor styles."""
        return self.all("body")[0].text
