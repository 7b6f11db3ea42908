"""QUERY (RFC 10008): the inputs come as content, and the answer leads to the resource; and which methods there are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from etagere.asgi.responses import NO_STORE, Receive, Response
from etagere.core.tally import Answered
from etagere.errors import ContentTooLarge, Crowded, MalformedRequest, RequestTimeout, UnsupportedContent
from etagere.locator import Address

OWN_PATHS = frozenset({"/", "/robots.txt"})
OPERATIONS = "/-/operations/"
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
ACCEPT_QUERY = f'"{JSON}", "{FORM}"'
HELD_AT_ONCE = 16
"""How many contents of the largest size are held at the same time."""
CONTENT_SECONDS = 60.0
PIECE_SECONDS = 10.0
"""How long a content may take, and how long its sender may be silent."""


def allowed(path: str) -> str:
    """The methods of what a path names, as `Allow` lists them; `path` is below the root."""
    if path.startswith(OPERATIONS):
        return "OPTIONS, POST"
    own = path in OWN_PATHS or path.startswith(("/r/", "/-/"))
    return "GET, HEAD, OPTIONS" if own else "GET, HEAD, OPTIONS, QUERY"


def options(path: str) -> Response:
    """The answer to OPTIONS (RFC 9110 §9.3.7), with `Accept-Query` (RFC 10008 §3) where there is QUERY."""
    allow = allowed(path)
    headers = [(b"allow", allow.encode()), NO_STORE]
    return Response(204, [*headers, (b"accept-query", ACCEPT_QUERY.encode())] if "QUERY" in allow else headers)


def see_other(address: Address, answer: Answered) -> Response:
    """The resource by its alias, in the format that was named. The reference is relative, so any prefix may precede."""
    format = f".{address.format}" if address.fixed else ""
    location = f"{address.base}r/{address.id}{format}".encode("ascii")
    return Response(303, [(b"location", location), NO_STORE, (b"content-length", b"0")], answer=answer)


def is_json(fields: Mapping[bytes, bytes]) -> bool:
    """Whether the content is JSON, and not a form.

    Raises:
        MalformedRequest: it does not say what it is, which QUERY demands.
        UnsupportedContent: it is something else, or is coded.
    """
    given = fields.get(b"content-type", b"").decode("latin-1").lower()
    if not given.strip():
        raise MalformedRequest("A QUERY needs a Content-Type.", headers={"accept-query": ACCEPT_QUERY})
    media_type, *parameters = (part.strip() for part in given.split(";"))
    charset = next((value for name, _, value in (p.partition("=") for p in parameters) if name == "charset"), "utf-8")
    if media_type not in (JSON, FORM) or charset.strip('"') not in ("utf-8", "utf8"):
        raise UnsupportedContent(f"Send {JSON} or {FORM}, in UTF-8.", headers={"accept-query": ACCEPT_QUERY})
    if fields.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        said = {"accept-query": ACCEPT_QUERY, "accept-encoding": "identity"}
        raise UnsupportedContent("Send the content without a coding.", headers=said)
    return media_type == JSON


class Contents:
    """Takes in the contents of requests, each at most `limit` bytes, and a bounded number of bytes at once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._room = HELD_AT_ONCE * limit

    @asynccontextmanager
    async def received(self, receive: Receive, fields: Mapping[bytes, bytes]) -> AsyncIterator[bytes]:
        """The content of one request; its room is taken until the block ends.

        Raises:
            ContentTooLarge: it is larger than the limit; the rest is not read.
            RequestTimeout: it comes too slowly.
            MalformedRequest: it ends before it is whole.
            Crowded: others hold the room.
        """
        declared = fields.get(b"content-length", b"")
        if declared.isdigit() and int(declared[:20]) > self._limit:
            raise self._too_large()
        pieces: list[bytes] = []
        size = 0
        try:
            more, end = True, asyncio.get_running_loop().time() + CONTENT_SECONDS
            while more:
                piece, more = await _piece(receive, end)
                if size + len(piece) > self._limit:
                    raise self._too_large()
                if len(piece) > self._room:
                    raise Crowded("Send it again in a moment.")
                self._room -= len(piece)
                size += len(piece)
                pieces.append(piece)
            yield b"".join(pieces)
        finally:
            self._room += size

    def _too_large(self) -> ContentTooLarge:
        return ContentTooLarge(f"The limit is {self._limit} bytes.")


async def _piece(receive: Receive, end: float) -> tuple[bytes, bool]:
    """The next piece of a content that has to be whole at `end`, and whether there are more."""
    try:
        async with asyncio.timeout_at(min(asyncio.get_running_loop().time() + PIECE_SECONDS, end)):
            message = await receive()
    except TimeoutError:
        raise RequestTimeout(f"Send it within {CONTENT_SECONDS:g} s, and without long pauses.") from None
    if message["type"] != "http.request":
        raise MalformedRequest("The content ended before it was whole.")
    return message.get("body", b""), message.get("more_body", False)
