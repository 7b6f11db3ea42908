"""The worker over the real parts: what it hands over, what it gives back, and what it says of it."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.supervisor.bench import Watched, load_models

import etagere.worker
from etagere.caches.prints import SqlitePrints
from etagere.core.lifecycle import (
    CRASHES_ALLOWED,
    LONGEST_DELAY,
    LOSSES_ALLOWED,
    POSTPONED_SECONDS,
    Event,
    Run,
    State,
)
from etagere.core.representation import Kind, Outcome, Resource
from etagere.database import Database
from etagere.engines.local import LocalEngine
from etagere.errors import ImportFailed
from etagere.model import Registry
from etagere.runs.memory import MemoryRunTable
from etagere.runs.outbox import Outbox
from etagere.supervisor.program import describe
from etagere.supervisor.supervisor import Supervisor
from etagere.testing.samples import ManualClock
from etagere.worker import Worker

pytestmark = pytest.mark.anyio
QUEUES = ("default",)


class Place:
    """A run table, a result queue and a worker for the models of tests/models/assorted.py."""

    def __init__(self, directory: Path, **interest: Any) -> None:
        self.registry: Registry = load_models("assorted").app
        self.clock = ManualClock()
        self.directory = directory / "runs"
        self.database = Database(directory / "data")
        self.table = MemoryRunTable(
            self.database, self.clock, 100, lambda model: None, lambda model: "default", **interest
        )
        self.outbox = Outbox(self.database)
        self.supervisor = Supervisor(describe(self.registry), self.directory, max_result=1 << 20, clock=self.clock)
        self.cancelled: list[str] = []
        self.worker = Worker(
            self.registry,
            self.table,
            self.outbox,
            self.supervisor,
            self.clock,
            SqlitePrints(self.database),
            cancelled=self.cancelled.append,
        )

    async def submit(self, path: str) -> Resource:
        """Submit what a URI without defaults stands for."""
        name, _, query = path.partition("?")
        found, _ = self.registry.models[f"{name}@1"].bind(query.encode())
        await self.table.submit(found)
        return found

    async def work(self) -> None:
        await asyncio.wait_for(self.worker.work(QUEUES), 60)

    async def outcome(self) -> Outcome:
        return await asyncio.wait_for(self.outbox.take(), 60)

    async def pids(self, of: Resource) -> list[int]:
        """The processes that a run of the model `waiting` has told of."""
        for _ in range(3000):
            if told := self.pending(of).message:
                return [int(pid) for pid in told.split()]
            await asyncio.sleep(0.02)
        raise AssertionError("it has not begun within a minute")

    def pending(self, of: Resource) -> Run:
        run = self.table.get(of.id)
        assert run is not None
        return run


@asynccontextmanager
async def opened(directory: Path, **interest: Any) -> AsyncIterator[Place]:
    place = Place(directory, **interest)
    await place.table.load()
    await place.supervisor.start()
    yield place
    await place.supervisor.close()
    await place.database.close()


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with opened(tmp_path) as place:
        yield place


@contextmanager
def broken_log(error: type[Exception]) -> Iterator[None]:
    """A handler of the host application that fails with every record."""

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise error(errno.EPIPE, "nobody reads this")

    logger, handler = logging.getLogger("etagere"), Broken()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@pytest.mark.parametrize("error", [BrokenPipeError, RuntimeError])
async def test_a_broken_log_costs_no_outcome_and_no_worker(place: Place, error: type[Exception]) -> None:
    submitted = [await place.submit(path) for path in ("double?x=1", "raising", "vanishing?status=3", "double?x=2")]
    engine = LocalEngine(place.worker, QUEUES, 1)
    with broken_log(error):
        await engine.start()
        found = {each.resource.id: each.kind for each in [await place.outcome() for _ in submitted]}
        await engine.stop()
    kinds = [Kind.succeeded, Kind.failed, Kind.poison, Kind.succeeded]
    assert found == dict(zip([each.id for each in submitted], kinds, strict=True))


@pytest.mark.parametrize(
    ("stored", "said"),
    [("x=much", "not valid for the model any more"), ("x=01.50&x=2", "any more"), ("x=01.50", "version")],
)
async def test_a_run_that_its_model_does_not_know_any_more_is_cancelled(
    place: Place, caplog: pytest.LogCaptureFixture, stored: str, said: str
) -> None:
    """As a changed schema under the same version makes it: the stored URI means nothing, or something else."""
    stale = Resource("a" * 32, f"/double@1?{stored}", "double@1")
    await place.table.submit(stale)
    fresh = await place.submit("double?x=1")
    await place.work()
    assert place.table.get(stale.id) is None
    assert place.cancelled == [stale.id]
    assert (await place.outcome()).resource == fresh
    assert place.database.rows("SELECT id FROM run") == [(fresh.id,)]
    (told,) = [record.message for record in caplog.records if "cancelled" in record.message]
    assert said in told
    assert stale.id in told


async def test_a_run_whose_model_is_retired_is_cancelled(place: Place) -> None:
    gone = Resource("a" * 32, "/double@0?x=1", "double@0")
    await place.table.submit(gone)
    await place.work()
    assert place.table.get(gone.id) is None
    assert place.database.rows("SELECT id FROM run") == []


async def test_a_run_that_nobody_wants_is_killed_and_then_cancelled(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "etagere")
    async with opened(tmp_path, patience=10.0, needless=lambda model: model == "waiting@1") as place:
        unwanted = await place.submit("waiting?stubborn=true")
        engine = LocalEngine(place.worker, QUEUES, 1)
        await engine.start()
        leader, helper = (Watched([pid]) for pid in await place.pids(unwanted))
        place.clock.advance(10)
        await place.table.note({})
        assert place.pending(unwanted).state is State.running, "its process is there"
        after = await place.submit("double?x=1")
        assert (await place.outcome()).resource == after
        assert leader.gone_within(0)
        assert helper.gone_within(1.0)
        assert (place.table.get(unwanted.id), place.cancelled) == (None, [unwanted.id])
        assert "run stopped: nobody wants it" in caplog.text
        assert place.database.rows("SELECT id FROM run") == [(after.id,)]
        await engine.stop()


async def test_a_worker_whose_models_do_not_import_any_more_leaves_the_time_to_others(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(*_: Any) -> None:
        raise ImportFailed("a line of it is wrong", "")

    monkeypatch.setattr(place.supervisor._warm, "run", run)
    monkeypatch.setattr(etagere.worker, "IMPORTED_AGAIN_S", 0.01)
    monkeypatch.setattr(place.worker, "_leave_model", place.cancelled.append)
    submitted = await place.submit("double?x=1")
    for _ in range(2 * LOSSES_ALLOWED):
        await place.work()
        assert (place.pending(submitted).state, place.pending(submitted).losses) == (State.queued, 0)
        place.clock.advance(POSTPONED_SECONDS)
    assert list(place.directory.iterdir()) == []


async def test_an_attempt_goes_on_until_its_outcome_is_handed_over(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long that takes: nobody else is to begin it meanwhile."""
    renewed = asyncio.Event()
    seconds = iter(range(100))

    def report(id: str, attempt: int, fraction: float | None = None, message: str = "") -> bool:
        if not results.empty and next(seconds) == 2:
            renewed.set()
        return MemoryRunTable.report(place.table, id, attempt, fraction, message)

    class Slow:
        """A result queue whose other end is away for a while."""

        empty = True

        async def put(self, outcome: Outcome) -> Outcome:
            self.empty = False
            await asyncio.wait_for(renewed.wait(), 30)
            return await place.outbox.put(outcome)

    results = Slow()
    monkeypatch.setattr(place.table, "report", report)
    monkeypatch.setattr(place.worker, "_results", results)
    submitted = await place.submit("double?x=1")
    await place.work()
    assert (await place.outcome()).resource == submitted


async def test_an_attempt_that_another_has_taken_over_changes_nothing(place: Place) -> None:
    waiting = await place.submit("waiting?stubborn=false")
    working = asyncio.create_task(place.work())
    await place.pids(waiting)
    await place.table.advance(waiting.id, Event.lose, 1)
    place.clock.advance(60)
    assert await place.table.claim(QUEUES) is not None
    await working
    run = place.pending(waiting)
    assert (run.state, run.attempt, place.cancelled) == (State.running, 2, [])


async def test_without_room_to_begin_it_costs_a_delay_and_others_go_on(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = await place.submit("double?x=1"), await place.submit("double?x=2")
    # What is no directory, nor can be removed as one, stands where the first attempt's should be.
    (place.directory / f"{first.id}.1").write_text("in the way")
    await place.work()
    assert (await place.outcome()).resource == second
    run = place.pending(first)
    assert (run.state, run.losses, run.crashes, run.delay) == (State.queued, 0, 0, POSTPONED_SECONDS)
    assert "no attempt can be made now" in caplog.text
    place.clock.advance(POSTPONED_SECONDS)
    await place.work()
    assert (await place.outcome()).resource == first


async def test_a_model_that_takes_its_results_place_has_failed(place: Place) -> None:
    """It is not taken for a full disk, which would be tried again for ever."""
    for command in ("blocking", "blocking_and_naming"):
        await place.submit(command)
        await place.work()
        assert (await place.outcome()).kind is Kind.failed


async def test_the_end_of_what_was_printed_is_handed_over_whatever_the_outcome(place: Place) -> None:
    await place.submit("printing?mebibytes=1")
    await place.submit("failing")
    await place.work()
    printed, failed = [(await place.outcome()).output for _ in range(2)]
    assert printed.endswith("-\nthe end\n")
    assert len(printed) == 65536
    assert failed == "oops\n"


async def test_what_a_crashed_attempt_printed_is_kept_when_it_is_put_back(place: Place) -> None:
    submitted = await place.submit("vanishing?status=3")
    rows = "SELECT attempt, outcome, output FROM printed WHERE id = ?"
    await place.work()
    assert place.database.rows(rows, (submitted.id,)) == [(CRASHES_ALLOWED, "crashed", "last words\n")]


async def test_a_run_that_takes_the_warm_process_along_is_lost_ten_times_and_given_up(place: Place) -> None:
    submitted = await place.submit("killing_its_parent")
    for _ in range(LOSSES_ALLOWED - 2):
        assert await place.table.claim(QUEUES)
        await place.table.advance(submitted.id, Event.lose)
        place.clock.advance(LONGEST_DELAY)
    for losses in (LOSSES_ALLOWED - 2, LOSSES_ALLOWED - 1):
        run = place.pending(submitted)
        assert (run.state, run.losses, run.crashes) == (State.queued, losses, 0)
        place.clock.advance(run.delay)
        await place.work()
    outcome = await place.outcome()
    assert outcome.kind is Kind.poison
    assert outcome.facts == {"attempts": LOSSES_ALLOWED, "crashed": 0, "lost": LOSSES_ALLOWED}


async def test_a_run_that_is_given_up_says_how_often_it_was_tried(place: Place) -> None:
    await place.submit("vanishing?status=3")
    await place.work()
    outcome = await place.outcome()
    assert (outcome.kind, outcome.output) == (Kind.poison, "last words\n")
    assert outcome.facts == {"attempts": CRASHES_ALLOWED, "crashed": CRASHES_ALLOWED, "lost": 0}
    assert outcome.attempt == CRASHES_ALLOWED


async def test_a_failure_is_told_on_several_lines_with_what_it_printed(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    await place.submit("raising_loudly")
    await place.work()
    (told,) = [record.message for record in caplog.records if "run ended" in record.message]
    lines = told.splitlines()
    assert "outcome=failed" in lines[0]
    assert any(line.strip() == "ValueError: \\x1b[2Jred" for line in lines)
    assert any(line.strip() == "last words \\x1b]0;title\\x07" for line in lines)
    assert "\x1b" not in told
    assert len(told) < 4000


async def test_each_crash_is_told_with_what_it_printed(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    await place.submit("vanishing?status=3")
    await place.work()
    told = [record.message for record in caplog.records if "output=last words" in record.message]
    assert len(told) == CRASHES_ALLOWED
    assert "run given up" in told[-1]
