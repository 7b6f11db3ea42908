"""Pages for people: plain templates and static files, no build step, nothing loaded from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qsl

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from etagere.asgi.people import Link, Shown
from etagere.core.etag import ready_tag
from etagere.encoding import is_json
from etagere.model import Model
from etagere.web import charts, values
from etagere.web.forms import fields_of

_TYPES = {"css": b"text/css; charset=utf-8", "js": b"text/javascript; charset=utf-8", "svg": b"image/svg+xml"}
_IMAGES = ("image/gif", "image/jpeg", "image/png", "image/svg+xml", "image/webp")
_TEXTS = ("text/", "application/xml", "application/x-ndjson")


class Templates:
    """The project's templates, escaped by default."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=PackageLoader("etagere.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(box=charts, spelt=code_spans)

    def waiting(self, status: Mapping[str, Any], base: str, result: str) -> bytes:
        """The page that shows a run's progress and turns into its result.

        Args:
            status: The status document.
            base: The way from the page's URI to the root.
            result: The way from the page's URI to the result; empty where they are the same.
        """
        return self._render("waiting.html", status=status, base=base, result=result)

    def result(self, shown: Shown) -> bytes:
        """The page of a result: its values or its picture, and the ways to all of it."""
        found = shown.found
        name, _, version = shown.model.partition("@")
        view = _view(shown)
        return self._render(
            "result.html",
            base=shown.base,
            model=name,
            version=version,
            shown=shown,
            inputs=parse_qsl(shown.query or "", keep_blank_values=True),
            view=view,
            links=_links(shown, view),
            is_image=_essence(found.media_type) in _IMAGES,
            tag=str(ready_tag(found.id, found.digest, found.format)),
        )

    def problem(self, document: Mapping[str, Any], base: str, form: str | None) -> bytes:
        """The page of a problem document; `form` leads from the root to the form with the inputs."""
        kind = str(document["type"]).rpartition("/")[2]
        return self._render("problem.html", problem=document, kind=kind, base=base, form=form)

    def model(self, model: Model, versions: list[str], base: str) -> bytes:
        """The form of a model."""
        fields = fields_of(model.parameters.json_schema())
        examples = [model.parameters.parse_values(example).query for example in model.options.examples]
        return self._render(
            "model.html",
            model=model,
            versions=versions,
            paragraphs=_paragraphs(model.doc),
            fields=fields,
            examples=examples,
            base=base,
        )

    def catalogue(self, models: list[dict[str, Any]], base: str) -> bytes:
        """The list of the models."""
        return self._render("catalogue.html", models=models, base=base)

    def page(self, name: str, base: str, **values: Any) -> bytes:
        """Any other page; `base` leads from it to the root."""
        return self._render(name, base=base, **values)

    def _render(self, name: str, **values: Any) -> bytes:
        return self._environment.get_template(name).render(**values).encode("utf-8", "replace")


def code_spans(text: str) -> Markup:
    """The text, escaped, with what stands between backticks, one or two, as code."""
    parts = map(escape, re.split("`+", text))
    return Markup().join(Markup("<code>{}</code>").format(part) if odd % 2 else part for odd, part in enumerate(parts))


def static_files() -> dict[str, tuple[bytes, bytes]]:
    """Name → media type and content of each static file."""
    folder = files("etagere.web") / "static"
    return {file.name: (_TYPES[file.name.rpartition(".")[2]], file.read_bytes()) for file in folder.iterdir()}


def _view(shown: Shown) -> values.Node | None:
    """The values of a result, None where its type has none that a page could show."""
    media_type, beginning, whole = _essence(shown.readable.media_type), shown.beginning, shown.whole
    if is_json(media_type):
        return values.view_of_json(beginning) if whole else values.view_of_text(beginning, whole=False)
    if media_type == "text/csv":
        return values.view_of_csv(beginning, whole=whole)
    return values.view_of_text(beginning, whole=whole) if media_type.startswith(_TEXTS) else None


def _links(shown: Shown, view: values.Node | None) -> tuple[Link, ...]:
    """The formats that the result has: those for tables not where it is certainly none."""
    if shown.whole and is_json(shown.found.media_type) and not (isinstance(view, values.Table) and view.of_columns):
        return tuple(link for link in shown.formats if is_json(link.media_type))
    return shown.formats


def _paragraphs(doc: str) -> list[tuple[str, bool]]:
    """The paragraphs of a docstring, and whether their lines mean something: those of a list or a formula do."""
    paragraphs = [paragraph for paragraph in doc.split("\n\n") if paragraph.strip()]
    return [(text, re.search(r"^(\s|[-*•] |\d+[.)] |>>>)", text, re.MULTILINE) is not None) for text in paragraphs]


def _essence(media_type: str) -> str:
    return media_type.partition(";")[0].strip().lower()
