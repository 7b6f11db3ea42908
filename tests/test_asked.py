"""Who asks, from the request to the run table: over a service in this process, and a clock that is set."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from etagere import asked
from etagere.config import Settings
from etagere.core.etag import pending_field
from etagere.core.representation import Resource
from etagere.database import Database
from etagere.factory import alone
from etagere.factory.running import Ground, Running
from etagere.model import Registry
from etagere.pacer import Pacer
from etagere.runs.memory import MemoryRunTable
from etagere.testing.samples import ManualClock, resource
from etagere.waiters import Waiters

pytestmark = pytest.mark.anyio
PATIENCE = 600.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(tmp_path)
    yield database
    await database.close()


class Place:
    """A run table and who asks for its runs."""

    def __init__(self, database: Database, clock: ManualClock, **table: Any) -> None:
        rules = {"patience": PATIENCE} | table
        self.table = MemoryRunTable(database, clock, 100, lambda model: None, lambda model: "default", **rules)
        self.waiters = Waiters(10)
        self.pacer = Pacer({}, partial(self.table.places, 1), lambda *_: None, clock.now())
        self.asked = asked.Asked(self.table, self.table, self.waiters, self.pacer)

    def ask(self, name: str, now: float) -> None:
        """Somebody asks, and is told when to ask again."""
        run = self.table.get(name)
        assert run is not None
        self.pacer.tell(run, None, now)
        self.asked.note(name)

    def order(self, names: str) -> list[int | None]:
        return [self.table.position(name) for name in names]


async def submitted(place: Place, names: str) -> Place:
    await place.table.load()
    for name in names:
        await place.table.submit(resource(name))
    return place


async def eventually(holds: Callable[[], bool]) -> None:
    for _ in range(6000):
        if holds():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("not within half a minute")


async def test_what_was_noted_is_told_once(database: Database, clock: ManualClock) -> None:
    place = await submitted(Place(database, clock), "ab")
    clock.advance(PATIENCE)
    place.asked.note("a")
    place.asked.note("unknown")
    await place.asked.tell()
    assert place.order("ab") == [1, 2]
    await place.asked.tell()
    clock.advance(PATIENCE)
    place.asked.note("b")
    await place.asked.tell()
    assert place.order("ab") == [2, 1]


async def test_the_longer_a_client_is_told_to_wait_the_longer_it_is_waited_for(
    database: Database, clock: ManualClock
) -> None:
    place = await submitted(Place(database, clock, patience=5.0), "a")
    clock.advance(300)
    await place.table.submit(resource("b"))
    for name in "ab":
        place.ask(name, clock.now())
    await place.asked.tell()
    for _ in range(29):
        clock.advance(10)
        place.asked.note("b")
        await place.asked.tell()
    assert place.order("ab") == [1, 2], "a was told 30 s"
    for _ in range(2):
        clock.advance(10)
        place.asked.note("b")
        await place.asked.tell()
    assert place.order("ab") == [2, 1]


async def test_who_waits_asks_all_the_time(
    database: Database, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked, "BATCH_SECONDS", 0.005)
    place = await submitted(Place(database, clock), "ab")
    seat = place.waiters.enter("b")
    assert seat is not None
    telling = asyncio.create_task(place.asked.keep_telling())
    clock.advance(PATIENCE)
    await eventually(lambda: place.order("ab") == [2, 1])
    place.waiters.leave("b", seat)
    clock.advance(PATIENCE)
    place.asked.note("a")
    await eventually(lambda: place.order("ab") == [1, 2])
    telling.cancel()


async def test_a_batch_that_fails_is_not_the_last(
    database: Database, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(asked, "BATCH_SECONDS", 0.005)
    dropped: list[str] = []

    def drop(id: str) -> None:
        dropped.append(id)
        if id == "a":
            raise RuntimeError("what was told of it is broken")

    place = await submitted(Place(database, clock, needless=lambda model: True, dropped=drop), "a")
    telling = asyncio.create_task(place.asked.keep_telling())
    clock.advance(PATIENCE)
    await eventually(lambda: "not told who asks" in caplog.text)
    await place.table.submit(resource("b"))
    clock.advance(PATIENCE)
    await eventually(lambda: dropped == ["a", "b"])
    telling.cancel()


def sleeping(x: int) -> int:
    """Takes an hour."""
    time.sleep(3600)
    return x


@pytest.fixture
async def running(database: Database, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Running]:
    registry = Registry()
    registry.model(version="1")(sleeping)
    settings = Settings(data=tmp_path, runs=1, max_pending=6)
    running = await alone.begin(Ground(registry, settings, database, clock, AsyncExitStack()))
    yield running
    await running.stop()


async def ask(running: Running, method: str, target: str, content: bytes = b"", **fields: str) -> int:
    """One request; its status."""
    path, _, query = target.partition("?")
    headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode(),
        "headers": [(b"host", b"localhost"), *headers], "server": ("127.0.0.1", 80), "root_path": "",
    }  # fmt: skip
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await running.application(scope, receive, send)
    status: int = sent[0]["status"]
    return status


KINDS: dict[str, tuple[str, str, bytes, dict[str, str]]] = {
    "a ping": ("GET", "/sleeping?x=1", b"", {"if_none_match": "{tag}"}),
    "a ping by the alias": ("GET", "/r/{id}", b"", {"if_none_match": "{tag}"}),
    "a ping for the fields": ("HEAD", "/sleeping?x=1", b"", {"if_none_match": "{tag}"}),
    "another spelling": ("GET", "/sleeping@1?x=01", b"", {}),
    "a page": ("GET", "/sleeping?x=1", b"", {"accept": "text/html"}),
    "a query": ("QUERY", "/sleeping", b"x=1", {"content_type": "application/x-www-form-urlencoded"}),
    "the status": ("GET", "/r/{id}/status", b"", {}),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_every_request_for_a_run_keeps_it(running: Running, clock: ManualClock, kind: str) -> None:
    """A full share drops the other one, told of the request just before."""
    for x in (0, 1, 2):
        assert await ask(running, "GET", f"/sleeping?x={x}") == 202
    ids = [_resource(running, x).id for x in (0, 1, 2)]
    await eventually(lambda: running.service.runs.position(ids[0]) is None)
    await running.service.asked.tell()
    clock.advance(PATIENCE)
    await running.service.asked.tell()
    method, target, content, fields = KINDS[kind]
    told = {"id": ids[1], "tag": pending_field(ids[1]).decode()}
    await ask(running, method, target.format(**told), content, **{n: v.format(**told) for n, v in fields.items()})
    assert await ask(running, "GET", "/sleeping?x=3") == 202
    assert [running.service.runs.get(id) is not None for id in ids] == [True, True, False]
    assert await ask(running, "GET", "/sleeping?x=2", if_none_match=pending_field(ids[2]).decode()) == 429


def _resource(running: Running, x: int) -> Resource:
    return running.service.registry.models["sleeping@1"].bind(b"x=%d" % x)[0]
