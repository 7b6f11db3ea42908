"""What becomes of runs that nobody asks for any more."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from etagere.core.lifecycle import Event, Run, State
from etagere.core.tally import Waiting
from etagere.database import Database
from etagere.runs.memory import MemoryRunTable
from etagere.runs.ordering import Entry, Lines, rank
from etagere.runs.patience import LOOKED_AT, Patience
from etagere.runs.shares import Shares
from etagere.testing.interest import InterestContract, claimed
from etagere.testing.samples import ManualClock, resource

pytestmark = pytest.mark.anyio
PATIENCE = InterestContract.PATIENCE


@pytest.fixture
def dropped() -> list[str]:
    return []


async def started(database: Database, clock: ManualClock, dropped: list[str]) -> MemoryRunTable:
    table = MemoryRunTable(
        database, clock, InterestContract.MAX_PENDING, lambda model: None, lambda model: "default",
        patience=PATIENCE, needless=InterestContract.needless, dropped=dropped.append,
    )  # fmt: skip
    await table.load()
    return table


@pytest.fixture
async def table(database: Database, clock: ManualClock, dropped: list[str]) -> MemoryRunTable:
    return await started(database, clock, dropped)


class TestMemoryRunTable(InterestContract):
    pass


async def test_a_drop_is_journalled(
    tmp_path: Path, database: Database, table: MemoryRunTable, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "etagere")
    for name in "abc":
        await table.submit(resource(name))
    clock.advance(PATIENCE)
    await table.note({"b": 1.0, "c": 1.0})
    await table.submit(resource("d"))
    assert "run dropped" in caplog.text
    await database.close()
    found = Database(tmp_path)
    assert found.rows("SELECT id FROM run ORDER BY rowid") == [("b",), ("c",), ("d",)]
    await found.close()


async def test_simultaneous_submits_drop_one_each(
    table: MemoryRunTable, clock: ManualClock, dropped: list[str]
) -> None:
    for name in "abc":
        await table.submit(resource(name))
    clock.advance(PATIENCE)
    await table.note({"c": 1.0})
    await asyncio.gather(*(table.submit(resource(name)) for name in "ddee"))
    assert dropped == ["a", "b"]
    assert table.counts() == {State.queued: 3, State.running: 0}


async def test_after_a_restart_each_run_counts_as_asked_for(
    tmp_path: Path, database: Database, table: MemoryRunTable, clock: ManualClock, dropped: list[str]
) -> None:
    for name in "ab":
        await table.submit(resource(name))
    clock.advance(PATIENCE)
    await table.note({"b": 1.0})
    await database.close()
    again = Database(tmp_path)
    table = await started(again, clock, dropped)
    await table.note({})
    assert [table.position(name) for name in "ab"] == [1, 2]
    clock.advance(PATIENCE)
    await table.note({"b": 1.0})
    assert [table.position(name) for name in "ab"] == [2, 1]
    await again.close()


async def test_the_oldest_that_waits_is_one_that_somebody_wants(table: MemoryRunTable, clock: ManualClock) -> None:
    assert table.overview().queues == {}
    accepted = clock.now()
    for name in "abc":
        await table.submit(resource(name))
        clock.advance(1)
    assert await claimed(table) == "a"
    model = resource("a").model
    seen = table.overview()
    assert seen.runs == {(model, State.running): 1, (model, State.queued): 2}
    assert seen.queues == {"default": Waiting(2, accepted + 1)}
    clock.advance(PATIENCE)
    await table.note({"c": 1.0})
    assert table.overview().queues == {"default": Waiting(2, accepted + 2)}
    clock.advance(PATIENCE)
    await table.note({})
    assert table.overview().queues == {"default": Waiting(2, None)}


@pytest.mark.parametrize("asked_again", [False, True])
async def test_a_delay_is_kept_by_abandoned_runs_too(
    table: MemoryRunTable, clock: ManualClock, asked_again: bool
) -> None:
    for name in "ab":
        await table.submit(resource(name))
    assert await claimed(table) == "a"
    clock.advance(PATIENCE)
    run = await table.advance("a", Event.lose, 1)
    assert run is not None
    await table.note({"b": 1.0})
    if asked_again:
        await table.note({"a": 1.0})
    assert [table.position(name) for name in "ab"] == ([1, 2] if asked_again else [2, 1])
    clock.advance(run.delay)
    expected = ["a", "b"] if asked_again else ["b", "a"]
    assert [await claimed(table) for _ in range(3)] == [*expected, None]


async def test_an_abandoned_run_is_no_further_for_its_models_limit(database: Database, clock: ManualClock) -> None:
    table = MemoryRunTable(database, clock, 10, lambda model: 1, lambda model: "default", patience=PATIENCE)
    await table.load()
    for name in "abc":
        await table.submit(resource(name, model="other@1" if name == "c" else "heat@1"))
    clock.advance(PATIENCE)
    await table.note({"b": 1.0})
    assert [await claimed(table) for _ in range(3)] == ["b", "c", None]
    await table.advance("b", Event.succeed, 1)
    assert [await claimed(table) for _ in range(2)] == ["a", None]


async def test_poison_is_not_dropped_before_its_outcome_is_there(
    table: MemoryRunTable, clock: ManualClock, dropped: list[str]
) -> None:
    await table.submit(resource("a", model="needless@1"))
    for attempt in (1, 2, 3):
        assert await claimed(table) == "a"
        await table.advance("a", Event.crash, attempt)
    clock.advance(PATIENCE)
    await table.note({})
    assert table.get("a") is not None
    await table.advance("a", Event.fail)
    assert (table.get("a"), dropped) == (None, [])


class Watching(RuleBasedStateMachine):
    """Patience against the list of all that was asked; an early end would be a promise broken."""

    LEAST = 10.0

    def __init__(self) -> None:
        super().__init__()
        self.patience = Patience(self.LEAST)
        self.now = 0.0
        self.until: dict[str, float] = {}

    @rule(id=st.sampled_from("abcde"), retry_after=st.sampled_from([0.0, 1.0, 3.0, 50.0]))
    def ask(self, id: str, retry_after: float) -> None:
        self.patience.asked(id, self.now, retry_after)
        self.until[id] = max(self.until.get(id, 0.0), self.now + max(self.LEAST, 10 * retry_after))

    @rule(id=st.sampled_from("abcde"))
    def end(self, id: str) -> None:
        self.patience.forget(id)
        self.until.pop(id, None)

    @rule(seconds=st.sampled_from([0.0, 1.0, 9.0, 10.0, 31.0]))
    def look(self, seconds: float) -> None:
        self.now += seconds
        found = self.patience.exhausted(self.now)
        assert len(found) == len(set(found))
        for id in found:
            assert self.until.pop(id) <= self.now
        assert all(until > self.now for until in self.until.values())

    @rule()
    def all_are_found_in_the_end(self) -> None:
        found: set[str] = set()
        for _ in range(100):
            self.now += self.LEAST
            found.update(self.patience.exhausted(self.now))
        assert found == set(self.until)
        self.until.clear()


def test_many_that_are_left_at_once_are_found_in_portions() -> None:
    patience = Patience(10.0)
    for n in range(2500):
        patience.asked(str(n), 0.0)
    found = [patience.exhausted(10.0) for _ in range(4)]
    assert [len(portion) for portion in found] == [LOOKED_AT, LOOKED_AT, 500, 0]
    assert [id for portion in found for id in portion] == [str(n) for n in range(2500)]


def test_a_longer_patience_ends_when_it_ends() -> None:
    patience = Patience(9.0)
    patience.asked("a", 0.0, retry_after=1.0)
    patience.asked("b", 0.0, retry_after=5.0)
    patience.asked("c", 0.0, retry_after=5.0)
    patience.forget("c")
    assert [patience.exhausted(now) for now in (9.0, 9.9, 10.0, 49.9, 50.0, 1000.0)] == [[], [], ["a"], [], ["b"], []]
    patience.asked("a", 1000.0)
    patience.asked("a", 1005.0)
    assert [patience.exhausted(now) for now in (1009.0, 1013.9, 1014.0)] == [[], [], ["a"]]


class Queueing(RuleBasedStateMachine):
    """Lines against a plain list in the order of turns."""

    def __init__(self) -> None:
        super().__init__()
        self.lines = Lines(Shares())
        self.waiting: list[Entry] = []
        self.orders = iter(range(10**9))

    @rule(queue=st.sampled_from(["default", "gpu"]), model=st.sampled_from(["a@1", "b@1"]))
    def join(self, queue: str, model: str) -> None:
        order = next(self.orders)
        run = Run(str(order), model, queue, 0.0)
        self.waiting.append(Entry(run, order))
        self.lines.join(self.waiting[-1])

    @rule(number=st.integers(0, 5))
    def leave(self, number: int) -> None:
        if number < len(self.waiting):
            entry = self.waiting.pop(number)
            assert self.lines.leave(entry)
            assert not self.lines.leave(entry)

    @rule(busy=st.sampled_from(["a@1", "b@1", ""]), queues=st.sampled_from([["default"], ["gpu"], ["default", "gpu"]]))
    def take(self, busy: str, queues: list[str]) -> None:
        expected = [each for each in self.waiting if each.run.queue in queues and each.run.model != busy]
        turn = self.lines.next(queues, lambda model: model != busy)
        assert (turn and turn[0]) is (expected[0] if expected else None)
        if turn is not None:
            found = turn[0]
            self.lines.leave(found)
            self.waiting.remove(found)
            found.order = -1
            self.lines.join(found, first=True)
            self.waiting.insert(0, found)
            self.leave(0)

    @invariant()
    def the_oldest_is_the_first(self) -> None:
        assert self.lines.oldest() is (self.waiting[0] if self.waiting else None)


TestWatching = Watching.TestCase
TestQueueing = Queueing.TestCase
TestWatching.settings = TestQueueing.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_ranks_are_those_of_a_queue_and_the_abandoned_come_last() -> None:
    entries = [Entry(Run(str(n), "a@1", "gpu" if n == 4 else "default", 0.0), n) for n in range(6)]
    entries[0].abandoned = entries[2].abandoned = entries[4].abandoned = True
    entries[1].held = True
    assert rank(entries, Shares()) == {"default": 2}
    assert [entry.rank for entry in entries] == [3, 0, 4, 1, 1, 2]
