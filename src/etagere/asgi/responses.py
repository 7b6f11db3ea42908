"""The kinds of response of a resource, named as in docs/conversation.md."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from etagere.core import pacing
from etagere.core.etag import EntityTag, pending_field, ready_tag
from etagere.core.lifecycle import Run, State
from etagere.core.representation import Representation
from etagere.service import Address

Headers = list[tuple[bytes, bytes]]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

STATUS_MEDIA_TYPE = b"application/vnd.etagere.status+json"
YEAR = 365 * 24 * 3600
NO_STORE = (b"cache-control", b"no-store")
PENDING_VARY = (b"vary", b"Accept, Prefer")
NOSNIFF = (b"x-content-type-options", b"nosniff")
PAGE_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@dataclass(slots=True)
class Response:
    """Status, fields and content.

    `stream` stands in for the body of a large representation; `problem` is the document that the body is made of.
    """

    status: int
    headers: Headers
    body: bytes = b""
    stream: AsyncIterator[bytes] | None = None
    problem: dict[str, Any] | None = None

    async def send(self, send: Send, *, head: bool) -> None:
        """Send it, without its content for HEAD."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        if self.stream is not None and not head:
            async for chunk in self.stream:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            return
        await send({"type": "http.response.body", "body": b"" if head else self.body})


def run_status(run: Run, position: int | None, now: float) -> bytes:
    """The Run-Status field: a dictionary of structured fields (RFC 9651)."""
    status = "state=running" if run.state is State.running else "state=queued"
    if run.progress is not None:
        status += f", progress={round(run.progress, 3)}"
        left = pacing.eta(now - run.started if run.started else 0.0, run.progress)
        if left is not None:
            status += f", eta={round(left)}"
    if position is not None:
        status += f", position={position}"
    return status.encode("ascii")


def still_pending(run: Run, position: int | None, now: float) -> Response:
    """R304p: the pending tag matched, nothing is there yet."""
    return Response(304, _pending_headers(run, position, now))


def accepted(run: Run, position: int | None, now: float, base: str, document: dict[str, Any]) -> Response:
    """R202: the run is recorded; `document` is the status document, `base` leads from this URI to the root."""
    body = orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)
    return Response(
        202, [*_pending_headers(run, position, now), *_links(run.id, base), *_content(STATUS_MEDIA_TYPE, body)], body
    )


def accepted_page(run: Run, position: int | None, now: float, base: str, page: bytes) -> Response:
    """R202 for a person: the waiting page instead of the status document."""
    return Response(202, [*_pending_headers(run, position, now), *_links(run.id, base), *html_headers(page)], page)


def still_ready(tag: EntityTag, address: Address, *, dev: bool) -> Response:
    """R304r: the client has the result; nothing else may be said, for caches merge it into their stored 200."""
    return Response(304, [(b"etag", str(tag).encode("ascii")), *_freshness(address, dev=dev)])


def ready(found: Representation, address: Address, base: str, *, dev: bool) -> Response:
    """R200: the representation, without its content where that is a file."""
    about = _about(found.id, found.digest, found.format, found.media_type, found.size, found.seconds, base)
    return Response(200, [*about, *_freshness(address, dev=dev)], found.body or b"")


@lru_cache(maxsize=1024)
def _about(
    id: str, digest: bytes, format: str, media_type: str, size: int, seconds: float, base: str
) -> tuple[tuple[bytes, bytes], ...]:
    return (
        (b"etag", str(ready_tag(id, digest, format)).encode("ascii")),
        (b"content-type", media_type.encode("latin-1")),
        (b"content-length", b"%d" % size),
        (b"repr-digest", b"sha-256=:%b:" % base64.b64encode(digest)),
        NOSNIFF,
        (b"content-security-policy", b"sandbox"),
        (b"link", f'<{base}-/openapi.json>; rel="service-desc"'.encode("ascii")),
        (b"cache-status", b"etagere; hit"),
        (b"server-timing", b"run;dur=%d" % (seconds * 1000)),
    )


def json_response(
    document: Any, *, status: int = 200, media_type: bytes = b"application/json", control: bytes = b"no-cache"
) -> Response:
    """A service resource."""
    body = orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)
    return Response(status, [(b"cache-control", control), *_content(media_type, body)], body)


def page_response(page: bytes, *, control: bytes = b"no-cache") -> Response:
    """A page of ours."""
    return Response(200, [(b"cache-control", control), (b"vary", b"Accept"), *html_headers(page)], page)


def html_headers(page: bytes) -> Headers:
    """What describes a page of ours."""
    return [*_content(b"text/html; charset=utf-8", page), (b"content-security-policy", PAGE_POLICY)]


def _pending_headers(run: Run, position: int | None, now: float) -> Headers:
    return [
        (b"etag", pending_field(run.id)),
        NO_STORE,
        (b"retry-after", b"%d" % pacing.retry_after(now - run.created)),
        PENDING_VARY,
        (b"run-status", run_status(run, position, now)),
    ]


def _freshness(address: Address, *, dev: bool) -> Headers:
    if dev:
        control = b"no-cache"
    elif address.immutable:
        control = b"max-age=%d, immutable" % YEAR
    else:
        control = b"max-age=%d" % address.max_age
    return [(b"cache-control", control)] if address.fixed else [(b"cache-control", control), (b"vary", b"Accept")]


def _links(id: str, base: str) -> Headers:
    return [(b"link", f'<{base}r/{id}>; rel="alternate", <{base}r/{id}/status>; rel="monitor"'.encode("ascii"))]


def _content(media_type: bytes, body: bytes) -> Headers:
    return [(b"content-type", media_type), (b"content-length", b"%d" % len(body)), NOSNIFF]
