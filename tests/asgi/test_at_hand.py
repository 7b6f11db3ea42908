"""What is answered without awaiting anything: the same as otherwise, and it holds nothing that the cache lets go."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from etagere.config import Settings
from etagere.core.etag import pending_field
from etagere.core.representation import Representation
from etagere.factory import start
from etagere.factory.running import Running
from etagere.model import Registry
from etagere.testing.samples import representation

pytestmark = pytest.mark.anyio
KIB = 1024


def text(x: int) -> str:
    """Never run here."""
    return str(x)


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    registry = Registry()
    registry.model(version="1", media_type="application/octet-stream")(text)
    running = await start(registry, Settings(data=tmp_path / "data", runs=1, memory_cache_size=64 * KIB))
    await running.service._engine.stop()
    yield running
    await running.stop()


async def got(running: Running, x: int, **fields: str) -> dict[str, Any]:
    """The start of the answer, and its body."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is received")

    named = [(name.replace("_", "-").lower().encode(), value.encode()) for name, value in fields.items()]
    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "path": "/text", "raw_path": b"/text",
        "query_string": b"x=%d" % x, "headers": [(b"host", b"localhost"), *named], "root_path": "",
    }  # fmt: skip
    await running.application(scope, receive, send)
    return {**sent[0], "body": sent[1]["body"]}


async def stored(running: Running, x: int, body: bytes) -> str:
    """Have this result without a run; its id."""
    resource, _ = running.service.registry.models["text@1"].bind(b"x=%d" % x)
    await running.service.cache.put(resource, representation(resource.id, body))
    return resource.id


async def test_the_second_answer_is_the_first_again_also_to_the_pending_tag(running: Running) -> None:
    id = await stored(running, 1, b"result")
    first, second = await got(running, 1), await got(running, 1)
    pinged = await got(running, 1, If_None_Match=pending_field(id).decode())
    assert first["status"] == 200
    assert first == second == pinged


async def test_another_result_has_its_own_fields(running: Running) -> None:
    id = await stored(running, 1, b"one")
    before = [await got(running, 1) for _ in range(2)]
    await running.service.cache.discard(id)
    await stored(running, 1, b"two")
    after = [await got(running, 1) for _ in range(2)]
    assert [answer["body"] for answer in (*before, *after)] == [b"one", b"one", b"two", b"two"]
    tags = [dict(answer["headers"])[b"etag"] for answer in (*before, *after)]
    assert tags[0] == tags[1] != tags[2] == tags[3]


async def test_bodies_that_the_cache_let_go_are_held_by_nobody(running: Running) -> None:
    for x in range(40):
        await stored(running, x, b"%d" % x + b" " * (16 * KIB))
        assert [(await got(running, x))["status"] for _ in range(2)] == [200, 200]
    gc.collect()
    held = [one for one in gc.get_objects() if isinstance(one, Representation) and one.body]
    assert len(held) <= 4
