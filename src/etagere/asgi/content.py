"""The content of a ready answer: the whole or ranges of it (RFC 9110 §14), from memory or from a file."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing

from etagere.asgi.responses import Receive, Response, Scope, disconnected
from etagere.core import ranges
from etagere.core.etag import ready_tag
from etagere.core.ranges import Span
from etagere.core.representation import INLINE_BYTES, Representation
from etagere.core.tally import Answered
from etagere.errors import RangeNotSatisfiable
from etagere.ports import Cache

LONGEST_RANGE = 8192


async def filled(
    response: Response, found: Representation, cache: Cache, scope: Scope, fields: Mapping[bytes, bytes]
) -> Response:
    """R200 with its content, or the 206 that the request asks for instead.

    Raises:
        FileNotFoundError: the file of the representation is lost.
        RangeNotSatisfiable: 416 (§15.5.17).
    """
    spans = _asked(scope["method"], fields, found)
    if spans is None:
        return await _whole(response, found, cache, scope)
    if len(spans) == 1:
        return await _part(response, found, cache, spans[0])
    coded = any(name == b"content-encoding" for name, _ in response.headers)
    # A client would take the boundaries for coded, too.
    if coded or sum(span.length for span in spans) > INLINE_BYTES:
        return await _whole(response, found, cache, scope)
    return await _parts(response, found, cache, spans)


def _asked(method: str, fields: Mapping[bytes, bytes], found: Representation) -> tuple[Span, ...] | None:
    """The ranges to send; None for the whole. Range is defined for GET alone (§14.2)."""
    field = fields.get(b"range")
    if field is None or method != "GET" or len(field) > LONGEST_RANGE or not _unchanged(fields, found):
        return None
    spans = ranges.spans(field.decode("latin-1"), found.size)
    if spans == ():
        raise RangeNotSatisfiable(
            f"It has {found.size} bytes.", headers={"content-range": ranges.unsatisfied(found.size)}
        )
    return spans


def _unchanged(fields: Mapping[bytes, bytes], found: Representation) -> bool:
    """If-Range (§13.1.5): a strong comparison, and no date can match what has no Last-Modified."""
    shown = fields.get(b"if-range")
    return shown is None or shown.strip() == str(ready_tag(found.id, found.digest, found.name)).encode("ascii")


async def _whole(response: Response, found: Representation, cache: Cache, scope: Scope) -> Response:
    if found.body is not None:
        response.body = found.body
        return response
    head = scope["method"] == "HEAD"
    if not head and "http.response.pathsend" not in (scope.get("extensions") or {}):
        response.stream = await _begun(cache.stream(found))
        return response
    async for _ in cache.stream(found, 0, 0):
        pass
    response.path = None if head else found.path
    return response


async def _part(response: Response, found: Representation, cache: Cache, span: Span) -> Response:
    about = {b"content-length": b"%d" % span.length, b"content-range": _content_range(span, found)}
    part = _partial(response, about)
    if found.body is not None:
        part.body = found.body[span.start : span.stop]
    else:
        part.stream = await _begun(cache.stream(found, *span))
    return part


async def _parts(response: Response, found: Representation, cache: Cache, spans: tuple[Span, ...]) -> Response:
    # Nobody can write a result that contains its own hash.
    boundary = hashlib.sha256(b"%b%r" % (found.digest, spans)).hexdigest()[:32].encode("ascii")
    body = b""
    for span in spans:
        head = (boundary, found.media_type.encode("latin-1"), _content_range(span, found))
        body += b"--%b\r\nContent-Type: %b\r\nContent-Range: %b\r\n\r\n" % head
        body += b"".join([chunk async for chunk in cache.stream(found, *span)]) + b"\r\n"
    body += b"--%b--\r\n" % boundary
    media_type = b"multipart/byteranges; boundary=" + boundary
    parts = _partial(response, {b"content-length": b"%d" % len(body), b"content-type": media_type})
    parts.body = body
    return parts


def _partial(response: Response, about: dict[bytes, bytes]) -> Response:
    headers = [*(field for field in response.headers if field[0] not in about), *about.items()]
    return Response(206, headers, answer=Answered.partial)


def _content_range(span: Span, found: Representation) -> bytes:
    return ranges.content_range(span, found.size).encode("ascii")


async def _begun(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """A stream whose first chunk is read already, so that what is lost shows before the answer begins."""
    return _resumed(await anext(stream), stream)


async def _resumed(first: bytes, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async with aclosing(stream):  # type: ignore[type-var]
        yield first
        async for chunk in stream:
            yield chunk


async def until_gone(stream: AsyncIterator[bytes], receive: Receive) -> AsyncIterator[bytes]:
    """The stream as long as there is a client: servers take what is sent to nobody, at any speed."""
    gone = asyncio.ensure_future(disconnected(receive))
    try:
        async with aclosing(stream):  # type: ignore[type-var]
            async for chunk in stream:
                yield chunk
                if gone.done():
                    return
    finally:
        gone.cancel()
