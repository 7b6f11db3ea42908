"""The collector over the real parts: what there is no room for, and what is broken, holds up nothing else."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

import etagere.collector
from etagere.caches.sqlite import SqliteCache
from etagere.collector import Collector
from etagere.core.lifecycle import State
from etagere.core.representation import Failure, Kind, Outcome, Representation, Resource
from etagere.core.tally import Tally
from etagere.database import Database
from etagere.model import Registry
from etagere.pacer import Pacer
from etagere.runs.histories import Histories
from etagere.runs.memory import MemoryRunTable
from etagere.runs.outbox import Outbox
from etagere.testing.samples import ManualClock, outcome, resource

pytestmark = pytest.mark.anyio
MIB = 1024 * 1024


def curve(x: int = 0) -> "Figure":  # type: ignore[name-defined]  # noqa: F821, UP037
    """What the service knows to be a figure, with or without the library."""


class Place:
    """A collector at work, with runs that have been claimed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = ManualClock()
        self.database = Database(directory / "data")
        self.table = MemoryRunTable(self.database, self.clock, 100, lambda model: None, lambda model: "default")
        self.outbox = Outbox(self.database)
        self.cache = SqliteCache(self.database, self.clock, directory / "blobs", 1 << 30, 1 << 20)
        self.settled: asyncio.Queue[Resource] = asyncio.Queue()
        self.histories = Histories(self.database)
        self.pacer = Pacer({}, partial(self.table.places, 2), self.histories.save, self.clock.now())
        self.tally = Tally()
        registry = Registry()
        registry.model(version="1")(curve)
        self.collector = Collector(
            registry, self.outbox, self.cache, self.table, self.clock, self.pacer, self.tally,
            max_result=1 << 30, settled=self.settled.put_nowait,
        )  # fmt: skip

    async def result(self, name: str, body: bytes) -> Outcome:
        """The outcome of a new run, its result in a file."""
        await self.table.submit(resource(name))
        await self.table.claim(["default"])
        path = self.directory / f"{name}.1" / "result"
        path.parent.mkdir()
        path.write_bytes(body)
        return outcome(resource(name), path=path)

    async def figure(self, name: str, png: bytes, svg: bytes) -> Outcome:
        """The outcome of a run that has written a second format."""
        written = await self.result(name, png)
        assert written.path is not None
        written.path.with_name("result.svg").write_bytes(svg)
        return replace(written, resource=resource(name, "curve@1"), media_type="image/png")

    async def failure(self, name: str) -> Outcome:
        return replace(await self.result(name, b""), kind=Kind.failed, path=None)

    async def ends(self, count: int = 1) -> None:
        for _ in range(count):
            await asyncio.wait_for(self.settled.get(), 30)

    async def forgets(self) -> None:
        """Returns when what has ended is forgotten too: the collector takes one outcome after the other."""
        await self.outbox.put(await self.failure("next"))
        await self.ends()


@pytest.fixture
async def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    monkeypatch.setattr(etagere.collector, "RETRY_SECONDS", 0.05)
    place = Place(tmp_path)
    await place.table.load()
    collecting = asyncio.create_task(place.collector.collect())
    yield place
    assert not collecting.done()
    collecting.cancel()
    await asyncio.wait([collecting])
    await place.cache.close()
    await place.database.close()


async def no_room(place: Place) -> None:
    """Leave the database a few pages: enough for failures and not for bodies."""
    (pages,) = place.database.read("PRAGMA page_count") or (0,)
    await place.database.write(lambda connection: connection.pragma("max_page_count", pages + 8))


async def room(place: Place) -> None:
    await place.database.write(lambda connection: connection.pragma("max_page_count", 1_000_000))


async def test_what_there_is_no_room_for_does_not_hold_up_the_others(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    large = [await place.result(name, os.urandom(MIB // 2)) for name in ("large", "larger")]
    small = [await place.failure(f"f{n}") for n in range(3)]
    await no_room(place)
    for each in (*large, *small):
        await place.outbox.put(each)
    await place.ends(3)
    assert all(isinstance(place.cache.get(f"f{n}"), Failure) for n in range(3))
    assert [place.cache.get(name) for name in ("large", "larger")] == [None, None]
    assert place.table.counts() == {State.queued: 0, State.running: 2}
    await room(place)
    await place.ends(2)
    assert all(isinstance(place.cache.get(name), Representation) for name in ("large", "larger"))
    assert place.table.counts() == {State.queued: 0, State.running: 0}
    told = [record.message for record in caplog.records if "until there is room" in record.message]
    assert len(told) == 2, "each is told once, however often it is tried"


async def test_a_file_without_room_is_kept_in_the_end(place: Place) -> None:
    body = os.urandom(2 * MIB)
    large = await place.result("large", body)
    full = place.database
    results = [False, True, True, True]
    await full.write(lambda connection: connection.set_commit_hook(lambda: bool(results) and results.pop(0)))
    await place.outbox.put(large)
    await place.ends()
    found = place.cache.get("large")
    assert isinstance(found, Representation)
    assert b"".join([chunk async for chunk in place.cache.stream(found)]) == body
    await place.forgets()
    assert large.path is not None
    assert not large.path.parent.exists()


async def test_an_outcome_that_cannot_be_collected_is_lost_alone(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    broken, sound = await place.result("broken", b"1"), await place.result("sound", b"2")
    pipe = await place.result("pipe", b"3")
    assert broken.path is not None
    assert pipe.path is not None
    for path in (broken.path, pipe.path):
        path.unlink()
    broken.path.mkdir()
    os.mkfifo(pipe.path)
    # Another canonical URI under the same id, as no honest part would make it.
    collided = replace(sound, resource=Resource("sound", "/another@1", "heat@1"))
    for each in (broken, pipe, sound, collided):
        await place.outbox.put(each)
    await place.ends()
    last = await place.failure("last")
    await place.outbox.put(last)
    await place.ends()
    for name in ("broken", "pipe"):
        run = place.table.get(name)
        assert run is not None
        assert (run.state, run.losses) == (State.queued, 1)
    assert place.cache.get("sound") is not None
    assert caplog.text.count("ValueError: the result is not a regular file") == 2
    assert "Two canonical URIs" in caplog.text


async def test_the_second_format_of_a_figure_is_kept_with_the_first(place: Place) -> None:
    for name, svg in (("a", b"<svg/>"), ("b", b"<svg>" + b" " * 2 * MIB)):
        await place.outbox.put(await place.figure(name, b"png", svg))
        await place.ends()
        kept = place.cache.variant(name, "svg")
        assert kept is not None
        assert (kept.media_type, kept.size, kept.format) == ("image/svg+xml", len(svg), "svg")
        assert b"".join([chunk async for chunk in place.cache.stream(kept)]) == svg


async def test_a_figure_that_is_collected_twice_keeps_both_formats(place: Place) -> None:
    """As after a crash between the cache and the run table: what was moved in is not there any more."""
    figure = await place.figure("a", os.urandom(2 * MIB), os.urandom(2 * MIB))
    assert figure.path is not None
    folder = figure.path.parent
    await place.outbox.put(figure)
    await place.ends()
    await place.forgets()
    kept = place.cache.get("a"), place.cache.variant("a", "svg")
    await place.table.submit(figure.resource)
    await place.table.claim(["default"])
    assert not folder.exists()
    await place.outbox.put(replace(figure, attempt=2))
    await place.ends()
    assert (place.cache.get("a"), place.cache.variant("a", "svg")) == kept


async def test_what_lies_beside_the_result_of_another_model_is_not_published(place: Place) -> None:
    figure = await place.figure("a", b"png", b"<svg/>")
    await place.outbox.put(replace(figure, resource=resource("a")))
    await place.ends()
    assert isinstance(place.cache.get("a"), Representation)
    assert place.cache.variant("a", "svg") is None


async def test_run_times_are_learnt_from_every_outcome_but_poison(place: Place) -> None:
    ended = [
        await place.result("a", b"1"),
        await place.failure("b"),
        replace(await place.failure("c"), kind=Kind.poison),
    ]
    seconds = [3.0, 5.0, 70.0]
    for each, taken in zip(ended, seconds, strict=True):
        await place.outbox.put(replace(each, started=each.finished - taken))
        await place.ends()
    late = replace(ended[0], started=ended[0].finished - 90, path=None, kind=Kind.failed)
    await place.outbox.put(late)
    await place.ends()
    known = await Histories(place.database).load(["heat@1"])
    assert known["heat@1"].seconds == (3.0, 5.0)


async def test_an_outcome_is_kept_until_all_have_asked_again(place: Place) -> None:
    for _ in range(20):
        place.pacer.learn("heat@1", 1000.0)
    timeout = replace(await place.result("a", b""), kind=Kind.timeout, path=None)
    ended, waits = [timeout, await place.result("b", b"1")], []
    for name in "ab":
        run = place.table.get(name)
        assert run is not None
        waits.append(place.pacer.tell(run, None, place.clock.now()).retry_after)
        place.pacer.tell(run, None, place.clock.now() + 999)
    assert min(waits) >= 1000
    for each in ended:
        await place.outbox.put(each)
        await place.ends()
    failure = place.cache.get("a")
    assert isinstance(failure, Failure)
    assert failure.expires - place.clock.now() >= 3 * waits[0]
    kept_until = place.database.read("SELECT kept_until FROM representation WHERE id = 'b'")
    assert kept_until is not None
    assert kept_until[0] - place.clock.now() >= 3 * waits[1]


@pytest.mark.parametrize("size", [10, 2 * MIB])
async def test_a_late_outcome_is_compared_with_the_first(place: Place, size: int) -> None:
    first = await place.result("a", b"1" * size)
    late = place.directory / "late" / "result"
    late.parent.mkdir()
    late.write_bytes(b"2" * size)
    for each in (first, replace(first, attempt=2, path=late)):
        await place.outbox.put(each)
        await place.ends()
    kept, ghost = place.cache.get("a"), place.cache.ghost("a")
    assert isinstance(kept, Representation)
    assert b"".join([chunk async for chunk in place.cache.stream(kept)]) == b"1" * size
    assert ghost is not None
    assert ghost.difference is not None
    assert (ghost.digest, ghost.difference.first) == (kept.digest, kept.digest)
    assert ghost.difference.later == hashlib.sha256(b"2" * size).digest()
