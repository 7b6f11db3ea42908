"""`kill -9` at random moments, of every process that there is; nothing accepted is lost, and no byte is wrong."""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from tests.faults.checker import broken_promises, repeated
from tests.faults.conversation import Client, Seen
from tests.faults.crash_points import POINTS
from tests.faults.figures import tell
from tests.faults.leftovers import is_sound, left_behind
from tests.faults.service import MODELS, Service, eventually, kill_process

SEED = int(os.environ.get("FAULTS_SEED", "0")) or int.from_bytes(os.urandom(4))
KILLS = {"service": 7, "starting service": 2, "helper": 5, "service and helper": 2, "model": 5}
AT_POINTS = len(POINTS) * int(os.environ.get("FAULTS_ARRIVALS", "0"))
AT_RANDOM = int(os.environ.get("FAULTS_KILLS", "20")) - AT_POINTS
ORDEALS = 3 if sum(KILLS.values()) < AT_RANDOM else 1
ROUNDS = max(1, math.ceil(AT_RANDOM / (ORDEALS * sum(KILLS.values()))))

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240 * ROUNDS)]

RUNS = 2
CLIENTS = 8
IMPATIENCE = 1.5
READY_SECONDS = 3.0
# A run is given up when it has crashed three times, so that many kills would be its proper end.
MODEL_KILLS_OF_ONE_RUN = 2


class Ordeal:
    """One service, its clients, and the one who kills."""

    def __init__(self, number: int, directory: Path) -> None:
        self.random = Random(f"{SEED}.{number}")
        self.executions = directory / f"executions.{number}"
        self.service = Service(
            MODELS / "known.py",
            directory / f"data.{number}",
            "--runs",
            str(RUNS),
            env={"EXECUTIONS": str(self.executions)},
        )
        self.history: list[Seen] = []
        self.answers: dict[str, str] = {}
        self.kills: Counter[str] = Counter()
        self.killed_runs: Counter[str] = Counter()
        self.losses_allowed = 0
        self.over = False
        self.client = Client(self.service.port, self.history)

    async def endure(self) -> None:
        await asyncio.to_thread(self.service.start)
        asking = [asyncio.create_task(self._ask()) for _ in range(CLIENTS)]
        planned = [kind for kind, times in KILLS.items() for _ in range(times * ROUNDS)]
        self.random.shuffle(planned)
        for kind in planned:
            await asyncio.sleep(self.random.uniform(0.0, 0.6))
            await self._kill(kind)
        self.over = True
        await asyncio.gather(*asking)
        # Clients gave up on some, and nobody may have heard the last word on others.
        targets = sorted({seen.target for seen in self.history})
        ended = await asyncio.gather(*(self.client.converse(target, self.random, 60) for target in targets))
        assert {seen.status for seen in ended} == {200}
        for target in targets:
            await self.client.ask(target)
        eventually(self._tidy, 10, f"an empty journal, no directories of runs and no files: {self._left()}")
        assert is_sound(self.service.data)
        status = await asyncio.to_thread(self.service.stop)
        assert status == 0
        eventually(lambda: not self.service.processes(), 1, "no process is left")

    async def _ask(self) -> None:
        while not self.over:
            target = self._some_target()
            await self.client.converse(target, self.random, IMPATIENCE)

    def _some_target(self) -> str:
        if self.answers and self.random.random() < 0.3:
            return self.random.choice(list(self.answers)[-20:])
        key, ms = len(self.answers), self.random.randint(5, 300)
        size = (
            self.random.randint(1_100_000, 2_000_000) if self.random.random() < 0.1 else self.random.randint(1, 20_000)
        )
        target = f"/known?key={key}&ms={ms}&size={size}"
        self.answers[target] = hashlib.sha256(hashlib.shake_256(b"%d" % key).digest(size)).hexdigest()
        return target

    async def _kill(self, kind: str) -> None:
        match kind:
            case "model":
                await asyncio.to_thread(eventually, self._kill_model, 20, "a run that may be killed")
                self.losses_allowed += 1
            case "helper":
                await asyncio.to_thread(eventually, self._kill_helper, 20, "a helper")
                self.losses_allowed += RUNS
            case "service":
                await self._kill_service(with_helper=False)
            case "service and helper":
                await self._kill_service(with_helper=True)
            case "starting service":
                await self._kill_service(with_helper=False, starts=2)
        self.kills[kind] += 1

    def _kill_model(self) -> bool:
        running = {int(pid): key for key, pid in (line.split() for line in self.service.executions())}
        for pid in self.service.runs():
            key = running.get(pid)
            if key is not None and self.killed_runs[key] < MODEL_KILLS_OF_ONE_RUN and self._do_kill(pid):
                self.killed_runs[key] += 1
                return True
        return False

    def _kill_helper(self) -> bool:
        helpers = self.service.helpers()
        return bool(helpers) and self._do_kill(self.random.choice(helpers))

    def _do_kill(self, pid: int) -> bool:
        return kill_process(pid, self.service.mark)

    async def _kill_service(self, with_helper: bool, starts: int = 1) -> None:
        if with_helper:
            self._kill_helper()
        self.losses_allowed += RUNS * (1 + with_helper)
        await asyncio.to_thread(self.service.kill)
        for _ in range(starts - 1):
            self.service.spawn()
            await asyncio.sleep(self.random.uniform(0.0, 1.2))
            self.losses_allowed += RUNS
            await asyncio.to_thread(self.service.kill)
        await asyncio.to_thread(self.service.start)
        await self._still_there()

    async def _still_there(self) -> None:
        """What was accepted or ready before answers so at once; the checker looks at the answers."""
        last = {seen.target: seen for seen in list(self.history) if seen.pending or seen.ready}
        pending = [seen for seen in last.values() if seen.pending]
        ready = [seen for seen in last.values() if seen.ready]
        for seen in [*pending, *self.random.sample(ready, min(10, len(ready)))]:
            again = await self.client.ask(seen.target, seen.tag if seen.pending else "")
            assert again.pending or again.ready, again

    def _left(self) -> list[str]:
        return left_behind(self.service.data)

    def _tidy(self) -> bool:
        return not self._left()


async def test_whatever_is_killed_nothing_is_lost(tmp_path: Path) -> None:
    print(f"FAULTS_SEED={SEED}")
    ordeals = [Ordeal(number, tmp_path) for number in range(ORDEALS)]
    try:
        async with asyncio.TaskGroup() as together:
            for ordeal in ordeals:
                together.create_task(ordeal.endure())
    finally:
        for ordeal in ordeals:
            if ordeal.service.process is not None:
                ordeal.service.__exit__()
    kills = sum(ordeal.kills.total() for ordeal in ordeals)
    assert kills >= max(20, AT_RANDOM)
    starts = sorted(seconds for ordeal in ordeals for seconds in ordeal.service.started_in)
    tell("random kills", f"{kills}, slowest start {starts[-1]:.2f} s, median {starts[len(starts) // 2]:.2f} s")
    for ordeal in ordeals:
        faults = broken_promises(ordeal.history, ordeal.answers)
        assert not faults, faults[:20]
        again = repeated(ordeal.service.executions())
        kills = ordeal.kills.total()
        assert all(times <= kills for times in again.values()), again.most_common(5)
        assert again.total() <= ordeal.losses_allowed, (again.most_common(5), ordeal.losses_allowed)
        assert max(ordeal.service.started_in) <= READY_SECONDS, ordeal.service.started_in
        assert len(ordeal.answers) > 50, "the ordeal was too quiet to show anything"
