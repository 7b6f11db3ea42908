"""Pages as a parser sees them."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "img", "input", "br", "path"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    text: str = ""
    children: list[Element] = field(default_factory=list)


class Page(HTMLParser):
    """A parsed page; every element that is opened is closed again."""

    def __init__(self, body: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(body.decode())
        self.close()
        assert not self._open, [element.tag for element in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute of {tag} is there twice"
        element = Element(tag, dict(attrs))
        if self._open:
            self._open[-1].children.append(element)
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        # In HTML these may end by themselves.
        while self._open and self._open[-1].tag != tag and self._open[-1].tag in ("option", "li", "dt", "dd"):
            self._open.pop()
        assert self._open, f"a stray </{tag}>"
        closed = self._open.pop()
        assert closed.tag == tag
        if tag == "textarea":
            # The line break behind its tag is none of its text.
            closed.text = closed.text.removeprefix("\n")

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data

    def all(self, tag: str, **attributes: str) -> list[Element]:
        named = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [e for e in self.elements if e.tag == tag and all(e.attributes.get(n) == v for n, v in named.items())]

    def one(self, tag: str, **attributes: str) -> Element:
        (element,) = self.all(tag, **attributes)
        return element

    def check(self) -> Page:
        """What every page of ours is: nothing inline, nothing from elsewhere, each control with its label."""
        for element in self.elements:
            names = element.attributes.keys()
            assert not [name for name in names if name.startswith("on") or name == "style"], element
            assert element.tag not in ("style", "iframe", "object", "embed", "base"), element
            for name in ("src", "href", "action"):
                value = element.attributes.get(name) or "./"
                assert value.startswith((".", "-", "r/")) or ":" not in value.partition("/")[0], element
                assert not value.startswith("/"), "a proxy that strips a prefix"
        assert not [script for script in self.all("script") if script.text.strip()]
        labelled = {label.attributes["for"] for label in self.all("label")}
        for control in self.all("input") + self.all("select") + self.all("textarea"):
            assert control.attributes["id"] in labelled
            for described in (control.attributes["aria-describedby"] or "").split():
                assert [e for e in self.elements if e.attributes.get("id") == described]
        ids = [e.attributes["id"] for e in self.elements if "id" in e.attributes]
        assert len(set(ids)) == len(ids)
        assert self.one("html").attributes["lang"] == "en"
        assert len(self.all("h1")) == len(self.all("main")) == 1
        return self
