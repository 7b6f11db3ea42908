from __future__ import annotations

import asyncio
import gc
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from etagere.caches.sqlite import SqliteCache
from etagere.core.lifecycle import LOSSES_ALLOWED, Event, Run, State
from etagere.core.representation import Resource
from etagere.database import Database
from etagere.errors import InternalError, OverCapacity, StorageFull
from etagere.runs import admission, journal
from etagere.runs.memory import MemoryRunTable
from etagere.runs.outbox import Outbox
from etagere.testing import RunTableContract, SharesContract
from etagere.testing.samples import ManualClock, failure, outcome, representation, resource

pytestmark = pytest.mark.anyio


@pytest.fixture
async def table(database: Database, clock: ManualClock) -> MemoryRunTable:
    table = MemoryRunTable(database, clock, 20_000, lambda model: None, lambda model: None)
    await table.load()
    return table


class TestMemoryRunTable(RunTableContract):
    @pytest.fixture
    async def table(self, database: Database, clock: ManualClock) -> MemoryRunTable:
        table = MemoryRunTable(database, clock, self.MAX_PENDING, self.concurrency, lambda model: "default")
        await table.load()
        return table


class TestShares(SharesContract):
    @pytest.fixture
    async def table(self, database: Database, clock: ManualClock) -> MemoryRunTable:
        concurrency = RunTableContract.concurrency
        table = MemoryRunTable(database, clock, self.MAX_PENDING, concurrency, lambda model: "default")
        await table.load()
        return table


class Service:
    """A table over a directory, to be killed (the database left open, as far as its file tells) or stopped."""

    def __init__(self, directory: Path, clock: ManualClock) -> None:
        self.directory = directory
        self.clock = clock
        self.queues: dict[str, str] = {"heat@1": "default"}

    async def start(self) -> MemoryRunTable:
        self.database = Database(self.directory)
        self.outbox = Outbox(self.database)
        self.table = MemoryRunTable(self.database, self.clock, 1000, lambda model: None, self.queues.get)
        self.poisoned = await self.table.load()
        return self.table

    async def stop(self) -> None:
        await self.database.close()

    async def kill(self) -> None:
        await self.database.close()
        # What the lock file of a killed service looks like.
        (self.directory / "lock").write_text('{"pid": 1, "started": "then"}')


@pytest.fixture
async def service(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Service]:
    service = Service(tmp_path / "data", clock)
    await service.start()
    yield service
    await service.stop()


async def claimed(table: MemoryRunTable) -> str | None:
    found = await table.claim(["default"])
    return None if found is None else found[0].id


async def full(database: Database) -> None:
    """Leave no room for anything large."""
    (pages,) = database.read("PRAGMA page_count") or (0,)
    await database.write(lambda connection: connection.pragma("max_page_count", pages))


async def room(database: Database) -> None:
    await database.write(lambda connection: connection.pragma("max_page_count", 1_000_000))


async def failing(database: Database, commits: int) -> None:
    """Let as many commits fail after this one."""
    results = [False] + [True] * commits
    await database.write(lambda connection: connection.set_commit_hook(lambda: results.pop(0) if results else False))


async def test_pending_runs_survive_a_kill_in_their_order(service: Service, clock: ManualClock) -> None:
    for name in "abcd":
        await service.table.submit(resource(name))
    await claimed(service.table)
    await service.table.advance("c", Event.cancel)
    await service.kill()
    table = await service.start()
    lost = table.get("a")
    assert lost is not None
    assert (lost.state, lost.attempt, lost.losses) == (State.queued, 1, 1)
    assert table.counts() == {State.queued: 3, State.running: 0}
    assert [await claimed(table) for _ in range(3)] == ["b", "d", None]
    clock.advance(lost.delay)
    found = await table.claim(["default"])
    assert found is not None
    assert found[0].attempt == 2
    assert found[1] == resource("a")


async def test_a_clean_stop_costs_nothing(service: Service) -> None:
    await service.table.submit(resource("a"))
    await claimed(service.table)
    await service.stop()
    table = await service.start()
    run = table.get("a")
    assert run is not None
    assert (run.state, run.attempt, run.losses, run.delay) == (State.queued, 1, 0, 0.0)


async def test_a_run_whose_outcome_waits_is_not_lost(service: Service) -> None:
    await service.table.submit(resource("a"))
    await claimed(service.table)
    await service.outbox.put(outcome(resource("a")))
    await service.kill()
    table = await service.start()
    run = table.get("a")
    assert run is not None
    assert (run.state, run.losses) == (State.running, 0)
    await table.advance("a", Event.succeed)
    await service.kill()
    assert (await service.start()).get("a") is None


async def test_a_run_whose_end_was_answered_is_not_pending_again(service: Service, clock: ManualClock) -> None:
    cache = SqliteCache(service.database, clock, service.directory / "blobs", 1 << 20, 1 << 20)
    for name in "abc":
        await service.table.submit(resource(name))
        await claimed(service.table)
    await cache.put(resource("a"), representation("a", b"result"))
    await cache.put(resource("b"), failure("b", clock.now() + 60))
    await cache.put(resource("c"), failure("c", clock.now() - 1))
    await service.outbox.put(outcome(resource("a")))
    await service.kill()
    table = await service.start()
    assert [table.get(name) is None for name in "abc"] == [True, True, False]


async def test_a_run_that_every_service_dies_of_is_poison(service: Service, clock: ManualClock) -> None:
    await service.table.submit(resource("a"))
    for _ in range(LOSSES_ALLOWED):
        assert service.poisoned == []
        clock.advance(60)
        assert await claimed(service.table) == "a"
        await service.kill()
        await service.start()
    for _ in range(2):
        ((run, found),) = service.poisoned
        assert (run.state, run.losses >= LOSSES_ALLOWED, found) == (State.failed, True, resource("a"))
        assert service.table.get("a") is not None
        assert await claimed(service.table) is None
        await service.kill()
        await service.start()
    await service.table.advance("a", Event.fail)
    await service.kill()
    assert (await service.start()).get("a") is None


async def test_runs_move_to_the_queue_that_their_model_has_now(service: Service) -> None:
    for name in "ab":
        await service.table.submit(resource(name, queue="slow"))
    assert await service.table.claim(["slow"]) is not None
    await service.stop()
    service.queues = {"heat@1": "fast"}
    table = await service.start()
    assert await table.claim(["slow"]) is None
    found = [await table.claim(["fast"]) for _ in range(2)]
    assert [(each[1].id, each[1].queue) for each in found if each] == [("a", "fast"), ("b", "fast")]
    assert [each[0].queue for each in found if each] == ["fast", "fast"]


@pytest.mark.parametrize("ending", ["stop", "kill"])
async def test_runs_whose_model_is_gone_are_cancelled(service: Service, ending: str) -> None:
    for name in "abc":
        await service.table.submit(resource(name, model="old@1"))
    await service.table.submit(resource("d"))
    for _ in range(2):
        await claimed(service.table)
    await service.outbox.put(outcome(resource("b", model="old@1")))
    await getattr(service, ending)()
    table = await service.start()
    assert [table.get(name) for name in "ac"] == [None, None]
    assert table.get("b") is not None, "its outcome waits for the collector"
    assert await claimed(table) == "d"
    assert await claimed(table) is None
    assert service.database.rows("SELECT id FROM run ORDER BY id") == [("b",), ("d",)]


async def test_nobody_is_told_before_it_is_durable(database: Database, table: MemoryRunTable) -> None:
    hold = threading.Event()
    database.post(lambda _: hold.wait(10))
    submits = [asyncio.ensure_future(table.submit(resource("a"))) for _ in range(3)]
    done, _ = await asyncio.wait(submits, timeout=0.05)
    assert not done
    assert table.get("a") is None
    hold.set()
    assert len({id(run) for run in await asyncio.gather(*submits)}) == 1
    assert table.get("a") is not None


async def test_a_submit_that_is_cancelled_leaves_the_others(database: Database, table: MemoryRunTable) -> None:
    hold = threading.Event()
    database.post(lambda _: hold.wait(10))
    first, second = (asyncio.ensure_future(table.submit(resource("a"))) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    hold.set()
    assert (await second).id == "a"


async def test_a_submit_that_cannot_be_recorded_leaves_nothing(database: Database, table: MemoryRunTable) -> None:
    await full(database)
    large = Resource("a", "/" + "x" * 1_000_000, "heat@1")
    results = await asyncio.gather(*(table.submit(large) for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [StorageFull] * 3
    assert table.get("a") is None
    assert table.counts() == {State.queued: 0, State.running: 0}
    await room(database)
    assert (await table.submit(large)).id == "a"
    assert (await table.claim(["default"]) or (None, None))[1] == large


async def test_a_claim_that_cannot_be_recorded_is_made_again_after_a_crash(service: Service) -> None:
    await service.table.submit(resource("a"))
    await failing(service.database, commits=1)
    assert await claimed(service.table) == "a"
    await service.kill()
    run = (await service.start()).get("a")
    assert run is not None
    assert (run.state, run.attempt, run.losses) == (State.queued, 0, 0)


async def test_a_run_ends_even_if_that_cannot_be_recorded(service: Service, clock: ManualClock) -> None:
    await service.table.submit(resource("a"))
    await claimed(service.table)
    await failing(service.database, commits=1)
    await service.table.advance("a", Event.succeed)
    assert service.table.get("a") is None
    assert (await service.table.submit(resource("a"))).attempt == 0
    assert await claimed(service.table) == "a"


async def test_a_claim_waits_for_no_commit(service: Service) -> None:
    await service.table.submit(resource("a"))
    hold = threading.Event()
    service.database.post(lambda _: hold.wait(10))
    assert await claimed(service.table) == "a"
    assert service.table.position("a") is None
    assert not hold.is_set()
    hold.set()
    await service.kill()
    run = (await service.start()).get("a")
    assert run is not None
    assert (run.state, run.attempt, run.losses) == (State.queued, 1, 1)


async def test_one_id_is_one_canonical_uri(database: Database, table: MemoryRunTable) -> None:
    other = Resource("a", "/another", "heat@1")
    first = asyncio.ensure_future(table.submit(resource("a")))
    await asyncio.sleep(0)
    with pytest.raises(InternalError):
        await table.submit(other)
    await first
    with pytest.raises(InternalError):
        await table.submit(other)
    await database.write(lambda connection: connection.execute("UPDATE run SET id = 'b'"))
    with pytest.raises(InternalError):
        await table.submit(resource("b"))


def many(start: int, stop: int) -> list[Resource]:
    return [Resource(f"{n:032d}", f"/heat@1?x={n}&pad={'p' * 2000}", f"m{n % 10}@1") for n in range(start, stop)]


async def test_a_pending_run_takes_less_than_a_kibibyte(table: MemoryRunTable) -> None:
    await asyncio.gather(*(table.submit(each) for each in many(0, 100)))
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    await asyncio.gather(*(table.submit(each) for each in many(100, 1100)))
    # Until the loop turns, the last futures are on its stack.
    await asyncio.sleep(0)
    assert table.position(f"{1000:032d}") == 1001
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / 1000 < 1024


async def test_claims_and_positions_are_fast_with_ten_thousand_queued(database: Database, clock: ManualClock) -> None:
    runs = [(Run(each.id, each.model, each.queue, 0.0), each.uri) for each in many(0, 10_000)]
    await database.write(lambda connection: [journal.insert(connection, run, uri) for run, uri in runs] and None)
    table = MemoryRunTable(database, clock, 20_000, lambda model: None, lambda model: "default")
    await table.load()
    started = time.perf_counter()
    for n in range(100):
        assert await claimed(table) == f"{n:032d}"
    for n in range(100, 10_000):
        assert table.position(f"{n:032d}") == n - 99
    # A scan of the queue for each would take a hundred times as long.
    assert time.perf_counter() - started < 2


async def test_pending_uris_are_bounded_in_bytes_too(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "LARGEST_BACKLOG", 1000)
    long = [Resource(name, f"/heat@1?{name}={'0' * 390}", "heat@1") for name in "abcd"]
    service = Service(tmp_path, clock)
    table = await service.start()
    accepted = await asyncio.gather(*map(table.submit, long), return_exceptions=True)
    assert [isinstance(each, OverCapacity) for each in accepted] == [False, False, True, True]
    await service.kill()
    table = await service.start()
    with pytest.raises(OverCapacity):
        await table.submit(long[2])
    assert await table.submit(resource("e"))
    await table.advance("a", Event.cancel)
    assert await table.submit(long[2])
    await service.stop()


async def test_one_that_is_larger_than_all_that_may_be_pending_is_accepted_alone(
    table: MemoryRunTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "LARGEST_BACKLOG", 10)
    assert await table.submit(resource("a"))
    with pytest.raises(OverCapacity):
        await table.submit(resource("b"))
