"""The run table in Valkey does what the one in memory does, whatever is done to them, in whichever order."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.valkey import Store

from etagere.core.clients import Asker
from etagere.core.lifecycle import Event, InvalidTransition, Run, State
from etagere.database import Database
from etagere.errors import Problem
from etagere.factory import SystemClock
from etagere.runs.feed import Feed
from etagere.runs.memory import MemoryRunTable
from etagere.runs.mirror import Mirror
from etagere.runs.rules import Rules
from etagere.runs.valkey import ValkeyRunTable
from etagere.tasks import cancel
from etagere.testing.samples import ManualClock, resource
from etagere.valkey import Valkey, read_scripts

SCRIPTS = read_scripts("etagere.runs")
PATIENCE = 100.0
NAMES = [f"r{n}" for n in range(8)]
MODELS = ["heat@1", "single@1", "needless@1"]
BACK = [Event.crash, Event.lose, Event.release, Event.postpone]

T = TypeVar("T")


def model_of(name: str) -> str:
    return MODELS[int(name[1:]) % len(MODELS)]


def concurrency(model: str) -> int | None:
    return 1 if model == "single@1" else None


def seen(run: Run | None) -> tuple[object, ...] | None:
    """What is the same of a run, wherever it is."""
    if run is None:
        return None
    about = run.id, run.model, run.state, run.attempt, run.crashes, run.losses, run.client, run.urgency, run.progress
    return (*about, run.message, round(run.created, 3), None if run.started is None else round(run.started, 3))


class Tables(RuleBasedStateMachine):
    """Two tables, to which the same is done."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock()
        self.folder = tempfile.TemporaryDirectory()
        self.dropped: tuple[list[str], list[str]] = ([], [])
        self.do(self.open())

    def do(self, what: Awaitable[T]) -> T:
        return self.loop.run_until_complete(what)  # type: ignore[arg-type]

    async def open(self) -> None:
        directory = Path(self.folder.name)
        self.database = Database(directory / "data")
        self.memory = MemoryRunTable(
            self.database, self.clock, 6, concurrency, lambda _: "default",
            patience=PATIENCE, needless=lambda model: model == "needless@1", dropped=self.dropped[0].append,
        )  # fmt: skip
        await self.memory.load()
        self.server = Store(directory / "store").start()
        self.store = Valkey(self.server.url, "laws", lambda: (repr(self.clock.now()), repr(self.clock.monotonic())))
        mirror = Mirror(lambda event, entry: self.dropped[1].append(entry.run.id) if event == "drop" else None)
        feed = Feed(self.store, SCRIPTS, mirror, SystemClock(), "node", dict)
        ready = asyncio.Event()
        self.following = asyncio.create_task(feed.follow(ready.set))
        await ready.wait()
        rules = Rules(6, concurrency, patience=PATIENCE, needless={"needless@1"})
        self.valkey = ValkeyRunTable(
            self.store, SCRIPTS, mirror, feed, self.clock, rules, lease=1e9, worker="worker"
        )  # fmt: skip

    def teardown(self) -> None:
        self.do(cancel([self.following], again=1.0))
        self.do(self.store.close())
        self.do(self.database.close())
        self.server.stop()
        self.loop.close()
        self.folder.cleanup()

    async def settle(self) -> None:
        await self.store.do("PING")

    async def both(self, method: str, *arguments: object) -> object:
        """What both have answered, which is the same."""
        found = [await self.one(table, method, *arguments) for table in (self.memory, self.valkey)]
        assert found[0] == found[1], (method, arguments, found)
        return found[0]

    async def one(self, table: MemoryRunTable | ValkeyRunTable, method: str, *arguments: object) -> object:
        try:
            found = getattr(table, method)(*arguments)
            found = await found if asyncio.iscoroutine(found) else found
        except (Problem, InvalidTransition) as refused:
            return type(refused)
        if isinstance(found, tuple):
            return seen(found[0]), found[1]
        return seen(found) if isinstance(found, Run) else found

    @rule(name=st.sampled_from(NAMES), client=st.sampled_from("abc"), urgency=st.sampled_from([0, 3, 7]))
    def submit(self, name: str, client: str, urgency: int) -> None:
        self.do(self.both("submit", resource(name, model_of(name)), Asker(client, urgency)))

    @rule()
    def claim(self) -> None:
        self.do(self.both("claim", ["default"]))

    @rule(name=st.sampled_from(NAMES), client=st.sampled_from("abc"), urgency=st.sampled_from([0, 3, 7]))
    def join(self, name: str, client: str, urgency: int) -> None:
        self.do(self.both("join", name, Asker(client, urgency)))
        # Nobody waits for it, and what was published before may be heard first.
        self.do(self.settle())

    @rule(name=st.sampled_from(NAMES), progress=st.sampled_from([None, 0.25, 0.5]))
    def report(self, name: str, progress: float | None) -> None:
        run = self.memory.get(name)
        self.do(self.both("report", name, run.attempt if run else 1, progress, "so far"))
        self.do(self.valkey.renew())

    @rule(name=st.sampled_from(NAMES), event=st.sampled_from(BACK))
    def put_back(self, name: str, event: Event) -> None:
        """As a worker does, which knows what it holds."""
        run = self.memory.get(name)
        if run is not None and run.state is State.running:
            self.do(self.both("advance", name, event, run.attempt))

    @rule(name=st.sampled_from(NAMES), event=st.sampled_from([Event.succeed, Event.fail, Event.cancel]))
    def end(self, name: str, event: Event) -> None:
        self.do(self.both("advance", name, event))

    @rule(name=st.sampled_from(NAMES))
    def cancel(self, name: str) -> None:
        self.do(self.both("cancel", name))

    @rule(names=st.lists(st.sampled_from(NAMES), max_size=4))
    def note(self, names: list[str]) -> None:
        self.do(self.both("note", dict.fromkeys(names, 1.0)))

    @rule(seconds=st.sampled_from([0.5, 3.0, PATIENCE / 2, PATIENCE]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @precondition(lambda self: hasattr(self, "valkey"))
    @invariant()
    def same(self) -> None:
        assert self.memory.counts() == self.valkey.counts()
        for name in NAMES:
            assert seen(self.memory.get(name)) == seen(self.valkey.get(name))
        assert {run.id for run in self.memory.pending()} == {run.id for run in self.valkey.pending()}


TestTables = Tables.TestCase
# Shrinking what takes milliseconds a step takes minutes.
TestTables.settings = settings(max_examples=15, stateful_step_count=40, phases=[Phase.explicit, Phase.generate])
