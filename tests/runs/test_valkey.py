from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
from tests.caches.sharing import connected
from tests.valkey import Store

from etagere.asked import Asked
from etagere.caches.shared import SharedCache
from etagere.core.clients import NOBODY
from etagere.errors import OverCapacity, StorageFull, StoreLost
from etagere.factory import SystemClock
from etagere.pacer import Pacer
from etagere.runs.feed import Feed
from etagere.runs.mirror import Mirror, Mirrored
from etagere.runs.rules import Rules
from etagere.runs.valkey import ValkeyRunTable
from etagere.testing import InterestContract, PendingContract, RunTableContract, SharesContract
from etagere.testing.samples import ManualClock, failure, representation, resource
from etagere.valkey import Valkey, read_scripts
from etagere.waiters import Waiters

pytestmark = pytest.mark.anyio

SCRIPTS = read_scripts("etagere.runs")
FOREVER = 1e9


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store(tmp_path_factory.mktemp("store")).start()
    yield store
    store.stop()


@pytest.fixture
def dropped() -> list[str]:
    return []


@asynccontextmanager
async def a_table(
    server: Store, clock: ManualClock, rules: Rules, heard: Callable[[str, Mirrored], None]
) -> AsyncIterator[ValkeyRunTable]:
    """A table in an empty store whose time is the clock's."""
    server.wipe()
    store = Valkey(server.url, "test", lambda: (repr(clock.now()), repr(clock.monotonic())))
    await store.open()
    mirror = Mirror(heard)
    feed = Feed(store, SCRIPTS, mirror, SystemClock(), "node", dict)
    ready = asyncio.Event()
    following = asyncio.create_task(feed.follow(ready.set))
    await ready.wait()
    try:
        yield ValkeyRunTable(store, SCRIPTS, mirror, feed, clock, rules, lease=FOREVER, worker="worker")
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await store.close()


class TestValkeyRunTable(RunTableContract):
    @pytest.fixture
    async def table(self, server: Store, clock: ManualClock) -> AsyncIterator[ValkeyRunTable]:
        async with a_table(server, clock, Rules(self.MAX_PENDING, self.concurrency), lambda *_: None) as table:
            yield table


class TestShares(SharesContract):
    @pytest.fixture
    async def table(self, server: Store, clock: ManualClock) -> AsyncIterator[ValkeyRunTable]:
        rules = Rules(self.MAX_PENDING, RunTableContract.concurrency)
        async with a_table(server, clock, rules, lambda *_: None) as table:
            yield table


class TestInterest(InterestContract):
    @pytest.fixture
    async def table(self, server: Store, clock: ManualClock, dropped: list[str]) -> AsyncIterator[ValkeyRunTable]:
        rules = Rules(self.MAX_PENDING, lambda _: None, patience=self.PATIENCE, needless={"needless@1"})
        async with a_table(server, clock, rules, note_dropped(dropped)) as table:
            yield table


class TestPending(PendingContract):
    @pytest.fixture
    async def table(self, server: Store, clock: ManualClock, dropped: list[str]) -> AsyncIterator[ValkeyRunTable]:
        async with a_table(server, clock, Rules(100, lambda _: None), note_dropped(dropped)) as table:
            yield table


@pytest.mark.parametrize("ended", ["result", "failure"])
async def test_what_has_ended_is_not_begun_again(server: Store, clock: ManualClock, ended: str) -> None:
    """Whether or not there were room for it; what was looked at before can be begun all the same."""
    finished = representation("a", b"result") if ended == "result" else failure("a", clock.now() + 60)
    async with a_table(server, clock, Rules(1, lambda _: None), lambda *_: None) as table, connected(server) as store:
        await SharedCache(store, None, clock, 60).put(resource("a"), finished)
        assert await table.submit_unless_finished(resource("b"), NOBODY) is not None
        assert await table.submit_unless_finished(resource("a"), NOBODY) is None
        assert table.get("a") is None
        with pytest.raises(OverCapacity):
            await table.submit(resource("a"))


async def test_a_store_without_room_keeps_nobody_from_what_has_ended(server: Store, clock: ManualClock) -> None:
    rules = Rules(100, lambda _: None, patience=600.0)
    async with a_table(server, clock, rules, lambda *_: None) as table, connected(server) as store:
        await SharedCache(store, None, clock, 60).put(resource("a"), representation("a", b"result"))
        await table.submit(resource("b"))
        clock.advance(600)
        await table.note({})
        asked = Asked(table, table, Waiters(1), Pacer({}, partial(table.places, 1), lambda *_: None, clock.now()))
        asked.note("b")
        server.command("CONFIG", "SET", "maxmemory", "1")
        try:
            with pytest.raises(StorageFull):
                await table.note({"b": 1.0})
            await asked.tell_before_a_start()
            assert await table.submit_unless_finished(resource("a"), NOBODY) is None
        finally:
            server.command("CONFIG", "SET", "maxmemory", "0")


async def test_a_worker_claims_of_the_models_that_it_has_and_no_others(server: Store, clock: ManualClock) -> None:
    rules = Rules(100, lambda _: None, models=["heat@1", "other@1"])
    async with a_table(server, clock, rules, lambda *_: None) as table:
        for id in ("a", "b"):
            await table.submit(resource(id))
        assert await table.claim(["default"]) is not None
        assert table.leave("heat@1") == ["other@1"]
        assert await table.claim(["default"]) is None
        assert table.leave("other@1") == []
        assert await table.claim(["default"]) is None, "none is not any"


async def test_a_store_that_follows_another_is_as_good_as_lost(server: Store, clock: ManualClock) -> None:
    async with a_table(server, clock, Rules(100, lambda _: None), lambda *_: None) as table:
        server.command("REPLICAOF", "127.0.0.1", str(server.port + 1))
        try:
            with pytest.raises(StoreLost):
                await table.submit(resource("a"))
        finally:
            server.command("REPLICAOF", "NO", "ONE")


async def test_who_is_second_joins(server: Store, clock: ManualClock) -> None:
    async with a_table(server, clock, Rules(100, lambda _: None), lambda *_: None) as table:
        first = await table.submit_unless_finished(resource("a"), NOBODY)
        assert first == await table.submit_unless_finished(resource("a"), NOBODY) == table.get("a")


def note_dropped(dropped: list[str]) -> Callable[[str, Mirrored], None]:
    def heard(event: str, entry: Mirrored) -> None:
        if event in ("drop", "cancel"):
            dropped.append(entry.run.id)

    return heard
