"""What a person sees in the place of a document: when that is wanted, and what it is made of."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Protocol
from urllib.parse import unquote_plus

from etagere.asgi import responses
from etagere.asgi.negotiation import Wanted, negotiate
from etagere.asgi.responses import Response
from etagere.core import media
from etagere.core.canonical import encode, model_key
from etagere.core.conditions import Conditions
from etagere.core.credentials import covered
from etagere.core.etag import ANY
from etagere.core.representation import Representation
from etagere.errors import NotAcceptable, PreconditionFailed, Problem
from etagere.locator import Address
from etagere.logs import get_logger
from etagere.model import Model, Registry
from etagere.service import Seen, Service

log = get_logger("etagere.http")

# To a client that takes either of these, a page would be the worse answer.
_DOCUMENTS = ("application/problem+json", "application/json")


@dataclass(frozen=True, slots=True)
class Link:
    """A format of a result, and the way to it."""

    name: str
    media_type: str
    href: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A ready result as a page shows it.

    `found` is what the run wrote, `readable` the form of it whose first bytes are the `beginning`;
    `query` is the canonical query string, or None where that is forgotten; `source` leads to the
    bytes themselves, `base` from the page to the root.
    """

    found: Representation
    model: str
    readable: Representation
    beginning: bytes
    query: str | None
    formats: tuple[Link, ...]
    source: str
    base: str

    @property
    def whole(self) -> bool:
        """Whether the beginning is all there is."""
        return len(self.beginning) == self.readable.size


class PeoplePages(Protocol):
    """The pages of a resource."""

    def waiting(self, status: dict[str, Any], base: str, result: str) -> bytes:
        """The page that follows a run: from the status document, the way to the root and that to the result."""
        ...

    def result(self, shown: Shown) -> bytes:
        """The page of a result."""
        ...

    def problem(self, document: dict[str, Any], base: str, form: str | None) -> bytes:
        """The page of a problem document; `form` leads to the form with the inputs, where there is one."""
        ...


async def result_page(
    service: Service, pages: PeoplePages, found: Representation, address: Address, conditions: Conditions
) -> Response | None:
    """The page of a result, of a large one its beginning; None where its file is lost. It is made outside the loop.

    Raises:
        PreconditionFailed: If-Match names a tag, and a page has none.
    """
    if conditions.if_match is not None and ANY not in conditions.if_match:
        raise PreconditionFailed("If-Match names a tag, and a page has none.")
    try:
        readable = await _readable(service, found, address)
        async with aclosing(service.cache.stream(readable)) as stream:  # type: ignore[type-var]
            beginning = await anext(stream, b"")
    except FileNotFoundError:
        log.error("stored result lost", id=found.key)
        await service.cache.discard(found.key)
        return None
    page = await asyncio.to_thread(pages.result, _shown(service, found, address, readable, beginning))
    return responses.page_response(page, control=b"private, no-cache" if address.guarded else b"no-cache")


async def _readable(service: Service, found: Representation, address: Address) -> Representation:
    """A result, or the form of it that a page can read: of an Arrow stream its CSV, whose beginning is enough."""
    csv = next((format for format in address.formats if format.name == "csv"), None)
    if found.media_type != media.ARROW or csv is None:
        return found
    wanted = replace(address, format=csv.name, media_type=csv.media_type, codings=())
    try:
        given = (await service.present(wanted, Seen(None, found))).found
    except NotAcceptable:
        return found
    return given if isinstance(given, Representation) else found


def wants_problem_page(accept: bytes | None) -> bool:
    """Whether a problem is to be a page: `text/html` is named and preferred to every kind of JSON."""
    return all(negotiate(accept, document) is Wanted.page for document in _DOCUMENTS)


def explain(
    service: Service, registry: Registry | None, pages: PeoplePages, response: Response, path: str, query: str
) -> None:
    """Put a page in the place of the problem document that a response to this path and query has.

    `registry` has the models that the client may ask for, None where nobody knows who it is.
    """
    document = response.problem or {}
    form = _form(service, registry, path, query, document.get("id")) if registry else None
    page = pages.problem(document, "../" * (path.count("/") - 1), form)
    ours = (b"content-type", b"content-length", b"x-content-type-options")
    response.headers = [field for field in response.headers if field[0] not in ours] + responses.html_headers(page)
    response.body = page


def _form(service: Service, registry: Registry, path: str, query: str, id: str | None) -> str | None:
    """The way from the root to the form that holds the inputs of a request, or of the resource `id`."""
    if ghost := service.cache.ghost(id) if id else None:
        path, query = f"/{model_key(ghost.uri)}", ghost.uri.partition("?")[2]
    try:
        model, _, _ = registry.find(path.removeprefix("/"))
    except Problem:
        return None
    # Only what the form has a place for: what else was sent may be a key.
    kept = "&".join(pair for pair in query.split("&") if unquote_plus(pair.partition("=")[0]) in model.parameters.names)
    return f"-/models/{model.name}" + (f"?{covered(kept)}" if kept else "")


def _shown(
    service: Service, found: Representation, address: Address, readable: Representation, beginning: bytes
) -> Shown:
    base, ghost = address.base, service.cache.ghost(found.id)
    path, query = (model_key(ghost.uri), ghost.uri.partition("?")[2]) if ghost else ("", "")
    model = service.registry.models.get(address.model)
    links = _links(model, base + path, query) if model and ghost else ()
    source = f"{base}r/{found.id}"
    return Shown(found, address.model, readable, beginning, query if ghost else None, links, source, base)


def _links(model: Model, path: str, query: str) -> tuple[Link, ...]:
    behind = f"?{query}" if query else ""
    return tuple(Link(*given, f"{path}.{encode(given.name)}{behind}") for given in model.formats)
