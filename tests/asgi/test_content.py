"""How the content of a ready answer is handed to the server."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest

from etagere.asgi.content import filled, until_gone
from etagere.asgi.responses import Response, Scope
from etagere.caches.sqlite import SqliteCache
from etagere.core.representation import Representation
from etagere.database import Database
from etagere.testing.samples import EPOCH, ManualClock, representation, resource

pytestmark = pytest.mark.anyio
BODY = hashlib.shake_128(b"").digest(3 << 20)
PATHSEND: dict[str, Any] = {"extensions": {"http.response.pathsend": {}}}


@pytest.fixture
async def cache(tmp_path: Path) -> AsyncIterator[SqliteCache]:
    database = Database(tmp_path / "data")
    cache = SqliteCache(database, ManualClock(), tmp_path / "data" / "blobs", 1 << 30, 1 << 20)
    yield cache
    await cache.close()
    await database.close()


@pytest.fixture
async def large(cache: SqliteCache) -> Representation:
    kept = await cache.put(resource("large"), representation("large", BODY, EPOCH))
    assert isinstance(kept, Representation)
    return kept


async def answer(cache: SqliteCache, found: Representation, scope: Scope, field: bytes = b"") -> Response:
    plain = Response(200, [(b"content-length", b"%d" % found.size), (b"content-type", b"x/y")])
    return await filled(plain, found, cache, scope, {b"range": field} if field else {})


async def sent(response: Response, *, head: bool = False) -> list[MutableMapping[str, Any]]:
    messages: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        messages.append(message)

    await response.send(send, head=head)
    return messages


async def test_a_whole_file_is_a_path_where_the_server_takes_one(cache: SqliteCache, large: Representation) -> None:
    response = await answer(cache, large, {"method": "GET", **PATHSEND})
    await cache.discard("large")
    start, content = await sent(response)
    assert (start["type"], start["status"]) == ("http.response.start", 200)
    assert content["type"] == "http.response.pathsend"
    assert Path(content["path"]).is_absolute()
    assert await asyncio.to_thread(Path(content["path"]).read_bytes) == BODY


@pytest.mark.parametrize("scope", [{}, {"extensions": None}, {"extensions": {"tls": {}}}])
async def test_elsewhere_it_is_chunks(cache: SqliteCache, large: Representation, scope: Scope) -> None:
    _, *contents = await sent(await answer(cache, large, {"method": "GET", **scope}))
    assert len(contents) > 2
    assert [message["type"] for message in contents] == ["http.response.body"] * len(contents)
    assert [message.get("more_body", False) for message in contents] == [True] * (len(contents) - 1) + [False]
    assert b"".join(message["body"] for message in contents) == BODY


@pytest.mark.parametrize("field", [b"bytes=0-", b"bytes=5-1999999"])
async def test_a_range_is_never_a_path(cache: SqliteCache, large: Representation, field: bytes) -> None:
    start, *contents = await sent(await answer(cache, large, {"method": "GET", **PATHSEND}, field))
    assert start["status"] == 206
    body = b"".join(message["body"] for message in contents)
    assert dict(start["headers"])[b"content-length"] == b"%d" % len(body)
    assert body == (BODY if field == b"bytes=0-" else BODY[5:2_000_000])


async def test_several_ranges_of_a_coded_variant_are_the_whole(cache: SqliteCache, large: Representation) -> None:
    for field, status, length in ((b"bytes=0-1,5-6", 200, len(BODY)), (b"bytes=5-6", 206, 2)):
        coded = Response(200, [(b"content-encoding", b"gzip"), (b"content-length", b"%d" % large.size)])
        response = await filled(coded, large, cache, {"method": "GET"}, {b"range": field})
        start, *contents = await sent(response)
        assert start["status"] == status
        assert dict(start["headers"])[b"content-length"] == b"%d" % length
        assert dict(start["headers"])[b"content-encoding"] == b"gzip"
        assert sum(len(message["body"]) for message in contents) == length


async def test_head_has_no_content(cache: SqliteCache, large: Representation) -> None:
    for scope in ({}, PATHSEND):
        start, content = await sent(await answer(cache, large, {"method": "HEAD", **scope}), head=True)
        assert dict(start["headers"])[b"content-length"] == b"%d" % len(BODY)
        assert content == {"type": "http.response.body", "body": b""}


@pytest.mark.parametrize(
    ("method", "field"), [("GET", b""), ("HEAD", b""), ("GET", b"bytes=1-"), ("GET", b"bytes=1-2,-1")]
)
async def test_a_file_that_is_lost_shows_before_the_answer_begins(
    cache: SqliteCache, large: Representation, method: str, field: bytes
) -> None:
    await cache.discard("large")
    for scope in ({}, PATHSEND):
        with pytest.raises(FileNotFoundError):
            await answer(cache, large, {"method": method, **scope}, field)


async def endless(closed: asyncio.Event) -> AsyncIterator[bytes]:
    try:
        while True:
            yield b"x"
            await asyncio.sleep(0)
    finally:
        closed.set()


async def test_a_stream_ends_when_its_client_is_gone() -> None:
    left, closed, requested = asyncio.Event(), asyncio.Event(), iter([True])

    async def receive() -> MutableMapping[str, Any]:
        if next(requested, False):
            return {"type": "http.request", "body": b"", "more_body": False}
        await left.wait()
        return {"type": "http.disconnect"}

    received = 0
    async for chunk in until_gone(endless(closed), receive):
        received += len(chunk)
        if received == 100:
            left.set()
    assert closed.is_set()


async def test_nobody_waits_for_the_client_when_the_stream_is_over() -> None:
    waiting = asyncio.Event()

    async def receive() -> MutableMapping[str, Any]:
        try:
            await asyncio.Event().wait()
        finally:
            waiting.set()
        raise AssertionError

    async def short() -> AsyncIterator[bytes]:
        yield b"a"
        await asyncio.sleep(0)
        yield b"b"

    assert [chunk async for chunk in until_gone(short(), receive)] == [b"a", b"b"]
    await waiting.wait()
