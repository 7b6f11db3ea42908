"""The kinds of response of a resource, named as in docs/conversation.md."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from etagere.core.etag import EntityTag, pending_field, ready_tag
from etagere.core.lifecycle import Run, State
from etagere.core.media import IDENTITY, compresses
from etagere.core.pacing import LONGEST, Pace
from etagere.core.representation import Representation
from etagere.core.tally import Answered
from etagere.locator import Address
from etagere.variants import LEAST_CODED

Headers = list[tuple[bytes, bytes]]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

STATUS_MEDIA_TYPE = b"application/vnd.etagere.status+json"
ANSWER = "etagere.response"
"""Where a scope has the response, for those around the application."""
TRACE = "etagere.trace"
"""Where a scope has the traceparent of its request, if requests are traced."""
CLIENT = "etagere.client"
"""Where a scope has the client, once that is known."""
_PENDING = Answered.pending
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
    """Status, fields and content; for the body of a large representation stands `stream`, or `path`, the whole file.

    A response with a `path` is for servers that send files by themselves. `pending` is the id of the
    run that has yet to bring what was asked for, `started` whether it was this request that started it,
    `problem` the document that the body is made of; `answer` is what is counted.
    """

    status: int
    headers: Headers
    body: bytes = b""
    stream: AsyncIterator[bytes] | None = None
    pending: str | None = None
    started: bool = False
    path: Path | None = None
    problem: dict[str, Any] | None = None
    answer: Answered = Answered.other

    async def send(self, send: Send, *, head: bool) -> None:
        """Send it, without its content for HEAD."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        if self.path is not None and not head:
            await send({"type": "http.response.pathsend", "path": str(self.path)})
            return
        if self.stream is not None and not head:
            async for chunk in self.stream:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            return
        await send({"type": "http.response.body", "body": b"" if head else self.body})


async def disconnected(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def run_status(run: Run, position: int | None, eta: float | None) -> bytes:
    """The Run-Status field: a dictionary of structured fields (RFC 9651)."""
    if position is None and eta is None and run.progress is None:
        return b"state=running" if run.state is State.running else b"state=queued"
    status = "state=running" if run.state is State.running else "state=queued"
    if run.progress is not None:
        status += f", progress={round(run.progress, 3)}"
    if eta is not None:
        status += f", eta={round(eta)}"
    if position is not None:
        status += f", position={position}"
    return status.encode("ascii")


def away(url: str) -> Response:
    """Where a client is to fetch the result by itself, for a while (§15.4.8)."""
    return Response(307, [(b"location", url.encode("ascii")), NO_STORE], answer=Answered.hit)


def still_pending(run: Run, position: int | None, pace: Pace) -> Response:
    """R304p: the pending tag matched, nothing is there yet."""
    response = Response(304, _pending_headers(run, position, pace))
    response.pending, response.answer = run.id, _PENDING
    return response


def accepted(run: Run, position: int | None, pace: Pace, base: str, document: dict[str, Any]) -> Response:
    """R202: the run is recorded; `document` is the status document, `base` leads from this URI to the root."""
    body = orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)
    headers = [*_pending_headers(run, position, pace), *_links(run.id, base), *_content(STATUS_MEDIA_TYPE, body)]
    return Response(202, headers, body, pending=run.id, answer=Answered.joined)


def accepted_page(run: Run, position: int | None, pace: Pace, base: str, page: bytes) -> Response:
    """R202 for a person: the waiting page instead of the status document."""
    headers = [*_pending_headers(run, position, pace), *_links(run.id, base), *html_headers(page)]
    return Response(202, headers, page, pending=run.id, answer=Answered.joined)


def still_ready(tag: EntityTag, address: Address, *, dev: bool, found: Representation | None = None) -> Response:
    """R304r: the client has the result; nothing else may be said, for caches merge it into their stored 200."""
    headers = [(b"etag", str(tag).encode("ascii")), *_freshness(address, found, dev=dev)]
    return Response(304, headers, answer=Answered.revalidated)


def ready(found: Representation, address: Address, base: str, *, dev: bool) -> Response:
    """R200: the representation, without its content where that is a file."""
    about = _about(found.id, found.digest, found.name, found.media_type, found.size, found.seconds, base)
    coding = () if found.coding == IDENTITY else ((b"content-encoding", found.coding.encode("ascii")),)
    headers = [*about, *coding, *_freshness(address, found, dev=dev)]
    return Response(200, headers, found.body or b"", answer=Answered.hit)


def missed(headers: Headers, *, collapsed: bool) -> Headers:
    """The fields of a result that was not there when it was asked for (RFC 9211 §2.2), nor its run, unless `collapsed`.

    A `collapsed` request has joined the run of another (§2.6).
    """
    status = b"etagere; fwd=miss; collapsed" if collapsed else b"etagere; fwd=miss"
    return [(name, status if name == b"cache-status" else value) for name, value in headers]


@lru_cache(maxsize=1024)
def _about(
    id: str, digest: bytes, name: str, media_type: str, size: int, seconds: float, base: str
) -> tuple[tuple[bytes, bytes], ...]:
    return (
        (b"etag", str(ready_tag(id, digest, name)).encode("ascii")),
        (b"content-type", media_type.encode("latin-1")),
        (b"content-length", b"%d" % size),
        (b"accept-ranges", b"bytes"),
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


_RETRY_AFTER = [(b"retry-after", b"%d" % seconds) for seconds in range(LONGEST + 1)]


def _pending_headers(run: Run, position: int | None, pace: Pace) -> Headers:
    return [
        (b"etag", pending_field(run.id)),
        NO_STORE,
        _RETRY_AFTER[pace.retry_after],
        PENDING_VARY,
        (b"run-status", run_status(run, position, pace.eta)),
    ]


def _freshness(address: Address, found: Representation | None, *, dev: bool) -> Headers:
    if dev:
        control = b"no-cache"
    elif address.immutable:
        control = b"max-age=%d, immutable" % YEAR
    else:
        control = b"max-age=%d" % address.max_age
    if address.guarded:
        # Else a shared cache would give it to anybody.
        control = b"private, " + control
    # Of what is not there any more, nobody knows whether it was large enough to be coded.
    large = found is None or found.coding != IDENTITY or found.size >= LEAST_CODED
    return [(b"cache-control", control), *_vary(address.media_type, address.fixed, large)]


@lru_cache(maxsize=1024)
def _vary(media_type: str, fixed: bool, large: bool) -> tuple[tuple[bytes, bytes], ...]:
    names = [*([] if fixed else [b"Accept"]), *([b"Accept-Encoding"] if large and compresses(media_type) else [])]
    return ((b"vary", b", ".join(names)),) if names else ()


def _links(id: str, base: str) -> Headers:
    return [(b"link", f'<{base}r/{id}>; rel="alternate", <{base}r/{id}/status>; rel="monitor"'.encode("ascii"))]


def _content(media_type: bytes, body: bytes) -> Headers:
    return [(b"content-type", media_type), (b"content-length", b"%d" % len(body)), NOSNIFF]
