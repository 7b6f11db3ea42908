"""Pages for people: plain templates and static files, no build step, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

_TYPES = {"css": b"text/css; charset=utf-8", "js": b"text/javascript; charset=utf-8", "svg": b"image/svg+xml"}


class Templates:
    """The project's templates, escaped by default."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=PackageLoader("etagere.web"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )

    def waiting(self, status: Mapping[str, Any], base: str, result: str) -> bytes:
        """The page that shows a run's progress and turns into its result.

        Args:
            status: The status document.
            base: The way from the page's URI to the root.
            result: The way from the page's URI to the result.
        """
        return self._render("waiting.html", status=status, base=base, result=result)

    def catalogue(self, models: list[dict[str, Any]], base: str) -> bytes:
        """The list of the models."""
        return self._render("catalogue.html", models=models, base=base)

    def page(self, name: str, base: str, **values: Any) -> bytes:
        """Any other page; `base` leads from it to the root."""
        return self._render(name, base=base, spelt=code_spans, **values)

    def _render(self, name: str, **values: Any) -> bytes:
        return self._environment.get_template(name).render(**values).encode()


def code_spans(text: str) -> Markup:
    """The text, escaped, with what stands between backticks as code."""
    parts = map(escape, text.split("`"))
    return Markup().join(Markup("<code>{}</code>").format(part) if odd % 2 else part for odd, part in enumerate(parts))


def static_files() -> dict[str, tuple[bytes, bytes]]:
    """Name → media type and content of each static file."""
    folder = files("etagere.web") / "static"
    return {file.name: (_TYPES[file.name.rpartition(".")[2]], file.read_bytes()) for file in folder.iterdir()}
