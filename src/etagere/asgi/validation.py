"""Entity tags for documents of our own, which are the digest of their content."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace

from etagere.asgi.responses import Response
from etagere.core.etag import ANY, EntityTag, parse, uncoded

_STORABLE = ((b"cache-control", b"no-cache"), (b"cache-control", b"private, no-cache"))
_KEPT = (b"cache-control", b"vary")


def validated(response: Response, if_none_match: bytes | None) -> Response:
    """What must be validated before each use, with the tag that this needs; 304 where the client has it.

    Args:
        response: A service resource or page; untouched unless caches may store it, that is, with `no-cache`.
        if_none_match: The field of the request (RFC 9110 §13.1.2).
    """
    if response.status != 200 or not any(storable in response.headers for storable in _STORABLE):
        return response
    tag = _tag(response.body)
    field = (b"etag", str(tag).encode())
    if if_none_match is not None and _names(if_none_match, tag):
        return Response(304, [*(kept for kept in response.headers if kept[0] in _KEPT), field])
    return replace(response, headers=[*response.headers, field])


def _tag(body: bytes) -> EntityTag:
    return EntityTag(base64.b32encode(hashlib.sha256(body).digest()[:15]).decode().lower())


def _names(field: bytes, tag: EntityTag) -> bool:
    return any(other == ANY or uncoded(other).matches_weakly(tag) for other in parse(field.decode("latin-1")))
