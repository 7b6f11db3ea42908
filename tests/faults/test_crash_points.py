"""`kill -9` at each named point between a request and its result; after each the next service makes good."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.faults import crashing
from tests.faults.checker import REFUSED, Allowed, broken_promises, repeated
from tests.faults.conversation import NO_ANSWER, Client, Seen
from tests.faults.crash_points import CHAPTERS, POINTS, Chapter, Point
from tests.faults.figures import tell
from tests.faults.leftovers import is_sound, left_behind
from tests.faults.service import MODELS, Service, eventually

ARRIVALS = int(os.environ.get("FAULTS_ARRIVALS", "0"))
# Without a number of arrivals it is one in so many points, others each time.
SAMPLE = 1 if ARRIVALS else 5
SEED = int(os.environ.get("FAULTS_SEED", "0")) or int.from_bytes(os.urandom(4))

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300 * max(1, ARRIVALS))]

RUNS = 2
CLIENTS = 3
AT_ONCE = 3
REACHED_SECONDS = 20.0
READY_SECONDS = 3.0
SETTINGS = {"ETAGERE_CACHE_SIZE": "4MiB"}


class Trial:
    """One data directory, and services that are killed one after the other."""

    def __init__(self, directory: Path, *, evicts: bool) -> None:
        directory.mkdir()
        self.directory = directory
        env = {"EXECUTIONS": str(directory / "executions"), "GATES": str(directory), **(SETTINGS if evicts else {})}
        self.service = Service(MODELS / "various.py", directory / "data", "--runs", str(RUNS), env=env)
        self.history: list[Seen] = []
        self.answers: dict[str, str] = {}
        self.kills = 0
        self.allowed = Allowed(evicted=evicts)
        self._serve = self.service.command[3:]
        self.expected = ""
        self._pending: list[str] = []

    async def die_at(self, point: Point, nth: int) -> None:
        """Start a service, make good what the one before has left, and bring it to the point."""
        self._expect(point, nth)
        if point.chapter == "start":
            await self._die_starting(point)
        else:
            await asyncio.to_thread(self.service.start)
            await self.recover()
            self._armed.touch()
            working = [asyncio.create_task(self._work(point.asks)) for _ in range(CLIENTS)]
            await self._end()
            await asyncio.gather(*working)
        assert self._reached() == point.name

    async def recover(self) -> None:
        """Whatever was accepted has its proper end, and nothing is left of it."""
        await asyncio.gather(*(self._converse(target) for target in self._pending))
        self._pending.clear()
        await self._eventually(lambda: not self._left(), 10, f"all is tidy, and not {self._left()}")
        assert is_sound(self.service.data)

    async def finish(self) -> None:
        """A last service finds everything in order."""
        self.service.command[1:] = ["-m", "etagere", *self._serve]
        await asyncio.to_thread(self.service.start)
        await self.recover()
        if not self.allowed.evicted:
            for target in self.answers:
                await self._client(target).ask(target)
        assert await asyncio.to_thread(self.service.stop) == 0
        assert not left_behind(self.service.data)

    def deaths(self) -> int:
        """How many runs have killed themselves."""
        return len({line.split()[0] for line in self.service.executions() if line.startswith("dies_once")})

    def _left(self) -> list[str]:
        left = left_behind(self.service.data)
        # A file that was lent to the server waits for the next eviction, or for the end.
        return [name for name in left if "/" not in name] if self.allowed.evicted else left

    async def _eventually(self, holds: Callable[[], object], seconds: float, what: str) -> None:
        await asyncio.to_thread(eventually, holds, seconds, what)

    async def _die_starting(self, point: Point) -> None:
        """The service before is killed in the midst of runs, and the next one dies while it makes that good."""
        self._gate.unlink(missing_ok=True)
        await asyncio.to_thread(self.service.start)
        before = len(self.service.executions())
        waiting = [self._new_target("waits") for _ in range(RUNS + 1)]
        for target in waiting:
            await self._client(target).ask(target)
        await self._eventually(lambda: len(self.service.executions()) >= before + RUNS, 20, "runs wait")
        await asyncio.to_thread(self.service.kill)
        self.kills += 1
        self._armed.touch()
        self.service.spawn()
        await self._end()
        self._gate.touch()
        self.service.command[1:] = ["-m", "etagere", *self._serve]
        await asyncio.to_thread(self.service.start)
        for target in waiting:
            assert (await self._client(target).ask(target, self._tag(target))).status in (304, 200)
        await self.recover()
        await asyncio.to_thread(self.service.kill)
        self.kills += 1

    def _expect(self, point: Point, nth: int) -> None:
        self.expected = f"{self.expected[-100:]} > {point.name}"
        for note in (self._armed, self._note):
            note.unlink(missing_ok=True)
        self.service.command[1:] = [
            str(Path(crashing.__file__)),
            point.name,
            str(nth),
            str(self.directory),
            *self._serve,
        ]

    async def _end(self) -> None:
        """The service has killed itself."""
        assert self.service.process is not None
        ended = self.service.process.poll
        await self._eventually(lambda: ended() is not None, REACHED_SECONDS, "the point is reached")
        assert ended() == -9, self.service.log
        self.kills += 1

    async def _work(self, model: str) -> None:
        """Ask for one resource after another until nobody answers."""
        while (await self._converse(self._new_target(model), until_dead=True)).status != NO_ANSWER:
            pass

    async def _converse(self, target: str, until_dead: bool = False) -> Seen:
        client, tag, deadline = self._client(target), self._tag(target), time.monotonic() + 30
        while True:
            seen = await client.ask(target, tag)
            if not seen.pending and (until_dead or seen.status != NO_ANSWER):
                return seen
            assert time.monotonic() < deadline, f"still pending: {seen}"
            tag = seen.tag or tag
            await asyncio.sleep(0.01)

    def _tag(self, target: str) -> str:
        """The tag that was last given out for a target."""
        return next((seen.tag for seen in reversed(self.history) if seen.target == target and seen.pending), "")

    def _client(self, target: str) -> Client:
        accepted = "gzip" if target.startswith("/text") else ""
        return Client(self.service.port, self.history, accepted)

    def _new_target(self, model: str) -> str:
        key = len(self.answers)
        target = f"/{model}?key={key}"
        self.answers[target] = right_answer(model, key)
        self._pending.append(target)
        return target

    def _reached(self) -> str:
        return self._note.read_text() if self._note.exists() else "nothing"

    @property
    def _armed(self) -> Path:
        return self.directory / "armed"

    @property
    def _note(self) -> Path:
        return self.directory / "reached"

    @property
    def _gate(self) -> Path:
        return self.directory / "open"


def right_answer(model: str, key: int) -> str:
    """The SHA-256 of what the model of `models/various.py` gives."""
    bytes_of = {
        "small": lambda: hashlib.shake_256(b"%d" % key).digest(1000),
        "large": lambda: hashlib.shake_256(b"%d" % key).digest(1_500_000),
        "text": lambda: b"%d\n" % key * 2000,
        "declared": lambda: b"%d" % key * 100,
        "dies_once": lambda: b"%d" % key,
        "waits": lambda: b"%d" % key,
    }
    return REFUSED if model == "refuses" else hashlib.sha256(bytes_of[model]()).hexdigest()


def sampled(points: Sequence[Point]) -> Sequence[Point]:
    return points[SEED % SAMPLE % len(points) :: SAMPLE]


async def endure(chapter: Chapter, directory: Path, places: asyncio.Semaphore) -> Trial:
    """A trial at all points of a chapter."""
    async with places:
        return await try_points(chapter, directory)


async def try_points(chapter: Chapter, directory: Path) -> Trial:
    trial = Trial(directory, evicts=chapter.name == "evict")
    try:
        for nth in range(1, max(1, ARRIVALS) + 1):
            for point in sampled(chapter.points):
                await trial.die_at(point, min(nth, point.most))
        await trial.finish()
    except BaseException as fault:
        fault.add_note(f"expecting {trial.expected}; the service said:\n{trial.service.log[-3000:]}")
        raise
    finally:
        if trial.service.process is not None:
            trial.service.__exit__()
    return trial


async def test_it_dies_at_each_point_and_nothing_is_lost(tmp_path: Path) -> None:
    print(f"FAULTS_SEED={SEED}")
    places = asyncio.Semaphore(AT_ONCE)
    async with asyncio.TaskGroup() as together:
        tasks = [together.create_task(endure(chapter, tmp_path / chapter.name, places)) for chapter in CHAPTERS]
    trials = [task.result() for task in tasks]
    for trial in trials:
        faults = broken_promises(trial.history, trial.answers, trial.allowed)
        assert not faults, faults[:20]
        if not trial.allowed.evicted:
            again = repeated(trial.service.executions())
            assert again.total() <= RUNS * trial.kills + trial.deaths(), again.most_common(5)
    slowest = max(seconds for trial in trials for seconds in trial.service.started_in)
    assert slowest <= READY_SECONDS
    assert len(POINTS) >= 30
    kills = sum(trial.kills for trial in trials)
    tell("crash points", f"{len(POINTS)} points, 1 in {SAMPLE}, {kills} kills, slowest start {slowest:.2f} s")
