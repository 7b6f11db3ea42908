from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from tests.caches.sharing import connected
from tests.cluster.processes import until
from tests.valkey import Store

from etagere.asked import Asked
from etagere.caches.shared import SharedCache
from etagere.core.clients import NOBODY, Asker
from etagere.core.lifecycle import CRASHES_ALLOWED, Event, State
from etagere.core.quota import Quota
from etagere.errors import OverCapacity, StorageFull, StoreLost
from etagere.factory import SystemClock
from etagere.pacer import Pacer
from etagere.runs.feed import Feed
from etagere.runs.mirror import Mirror, Mirrored
from etagere.runs.rules import Rules
from etagere.runs.valkey import ValkeyRunTable
from etagere.tasks import cancel
from etagere.testing import InterestContract, PendingContract, RunTableContract, SharesContract
from etagere.testing.samples import ManualClock, failure, representation, resource
from etagere.valkey import Valkey, read_scripts
from etagere.waiters import Waiters

pytestmark = pytest.mark.anyio

SCRIPTS = read_scripts("etagere.runs")
FOREVER = 1e9


@pytest.fixture
def dropped() -> list[str]:
    return []


@asynccontextmanager
async def a_table(
    server: Store,
    clock: ManualClock,
    rules: Rules,
    heard: Callable[[str, Mirrored], None],
    worker: str = "worker",
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
        yield ValkeyRunTable(store, SCRIPTS, mirror, feed, clock, rules, lease=FOREVER, worker=worker)
    finally:
        await cancel([following], again=1.0)
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


async def test_a_store_without_room_starts_nothing_and_lets_what_goes_on_go_on(
    server: Store, clock: ManualClock
) -> None:
    limits = {"limited@1": 1}
    async with a_table(server, clock, Rules(100, limits.get, quota=Quota.parse("10/hour")), lambda *_: None) as table:
        for name in ("a", "b", "c"):
            await table.submit(resource(name))
        assert await table.claim(["default"]) is not None
        assert await table.claim(["default"]) is not None
        server.command("CONFIG", "SET", "maxmemory", "1")
        try:
            for name, model in (("d", "heat@1"), ("e", "limited@1")):
                for asker in (NOBODY, Asker("client")):
                    with pytest.raises(StorageFull):
                        await table.submit(resource(name, model), asker)
            assert await table._store.do("ZRANGE", table._store.key("runs"), "0", "-1") == [b"a", b"b", b"c"]
            assert await table._store.do("HGET", table._store.key("started"), "client") is None
            before = await leases(table)
            clock.advance(10)
            table.report("a", 1, 0.5, "half")
            await table.renew()
            assert [later - earlier for earlier, later in zip(before, await leases(table), strict=True)] == [10, 10]
            for _ in range(CRASHES_ALLOWED):
                await table.advance("a", Event.crash, getattr(table.get("a"), "attempt", None))
                await table.claim(["default"])
            await table.advance("b", Event.release, 1)
            assert table._feed.fresh
        finally:
            server.command("CONFIG", "SET", "maxmemory", "0")


async def leases(table: ValkeyRunTable) -> list[float]:
    found = await table._store.do("ZRANGE", table._store.key("leases"), "0", "-1", "WITHSCORES")
    return [float(moment) for moment in found[1::2]]


async def test_a_store_that_keeps_nothing_is_as_good_as_lost(tmp_path: Path, clock: ManualClock) -> None:
    """As where the disk is full that it saves to."""
    server = Store(tmp_path / "store").start()
    try:
        async with a_table(server, clock, Rules(100, lambda _: None), lambda *_: None) as table:
            await table.submit(resource("a"))
            server.command("CONFIG", "SET", "save", "3600 1")
            shutil.rmtree(server.directory)
            server.command("BGSAVE")
            await asyncio.to_thread(until, lambda: b"MISCONF" in server.command("SET", "probe", "1"))
            for asked in (table.submit(resource("b")), table.claim(["default"]), table._store.do("SET", "x", "y")):
                with pytest.raises(StoreLost):
                    await asked
    finally:
        # It would not stop without having saved.
        server.kill()


async def test_who_had_a_run_before_the_store_was_emptied_says_nothing_of_the_next(
    server: Store, clock: ManualClock
) -> None:
    rules = Rules(100, lambda _: None)
    async with a_table(server, clock, rules, lambda *_: None) as table:
        await table.submit(resource("a"))
        await table.claim(["default"])
        async with a_table(server, clock, rules, lambda *_: None, worker="another") as other:
            # That has emptied it.
            await other.submit(resource("a"))
            claimed = await other.claim(["default"])
            assert claimed is not None
            assert claimed[0].attempt == 1
            for event in (Event.cancel, Event.crash, Event.lose, Event.release, Event.postpone):
                assert await table.advance("a", event, 1) is None
            assert other.report("a", 1)
            after = await other.advance("a", Event.release, 1)
            assert after is not None
            assert (after.state, after.crashes, after.losses) == (State.queued, 0, 0)


async def test_of_a_quota_that_is_whole_again_nothing_is_kept(server: Store, clock: ManualClock) -> None:
    async with a_table(server, clock, Rules(1000, lambda _: None, quota=Quota.parse("2/s")), lambda *_: None) as table:
        for number in range(20):
            await table.submit(resource(f"a{number}"), Asker(f"2001:db8::{number}"))
        clock.advance(2)
        await table.submit(resource("b"), Asker("2001:db8::"))
        assert await table._store.do("ZRANGE", table._store.key("quota"), "0", "-1") == [b"2001:db8::"]


async def test_a_progress_that_is_none_is_not_told(server: Store, clock: ManualClock) -> None:
    """As a worker of somebody else's may send."""
    async with a_table(server, clock, Rules(100, lambda _: None), lambda *_: None) as table:
        await table.submit(resource("a"))
        await table.claim(["default"])
        for progress in ("soon", "nan", "2", "-1", "0x", "0.25"):
            told = json.dumps([["a", 1, progress, "so far"]])
            assert await table._call("renew", 10, told, "{}", "worker") == [[b"ok"]]
        run = table.get("a")
        assert run is not None
        assert run.progress == 0.25
