"""A mixed load for a long time with a kill a minute: memory, descriptors, log and disk stay within bounds."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from tests.faults.checker import Allowed, broken_promises
from tests.faults.conversation import Client, Seen
from tests.faults.figures import tell
from tests.faults.service import MODELS, Service, kill_process

SECONDS = float(os.environ.get("FAULTS_SOAK", "600"))
KILL_EVERY = min(60.0, SECONDS / 5)
# Of a service's life, for its caches to fill.
WARM_UP = min(60.0, KILL_EVERY)
CLIENTS = 8
RECENT = 200
CACHE_MIB = 32
GROWTH_BYTES = 24 * 1024 * 1024
GROWTH_DESCRIPTORS = 16
LARGEST_LOG = 80 * 1024 * 1024
KINDS = ("model", "helper", "model", "helper", "service")

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(SECONDS + 600)]


class Soak:
    """The load, the kills and the measurements."""

    def __init__(self, directory: Path) -> None:
        settings = {"ETAGERE_CACHE_SIZE": f"{CACHE_MIB}MiB", "ETAGERE_MEMORY_CACHE_SIZE": "8MiB"}
        env = {"EXECUTIONS": str(directory / "executions"), **settings}
        self.service = Service(MODELS / "known.py", directory / "data", "--runs", "2", env=env)
        self.random = Random(0)
        self.history: list[Seen] = []
        self.answers: dict[str, str] = {}
        self.over = False
        self.kills = 0
        self.asked = 0
        self.faults: list[str] = []
        self.memory: dict[int, list[int]] = defaultdict(list)
        self.descriptors: dict[int, list[int]] = defaultdict(list)
        self.log_bytes = 0
        self.disk_bytes = 0

    async def load(self) -> None:
        client = Client(self.service.port, self.history)
        while not self.over:
            await client.converse(self._some_target(), self.random, 20)

    async def measure(self) -> None:
        """Every second; a new service is left alone until it is warm."""
        while not self.over:
            await asyncio.sleep(1)
            pid, lived = self.service.pid, time.monotonic() - self._started
            if lived > WARM_UP:
                try:
                    self.memory[pid].append(resident(pid))
                    self.descriptors[pid].append(len(os.listdir(f"/proc/{pid}/fd")))
                except OSError:
                    continue
            self.log_bytes = max(self.log_bytes, size(self.service.data / "etagere.sqlite3-wal"))
            self.disk_bytes = max(self.disk_bytes, sum(map(size, everything(self.service.data))))

    async def kill(self) -> None:
        kind = KINDS[self.kills % len(KINDS)]
        if kind == "service":
            await asyncio.to_thread(self.service.kill)
            await self.start()
        else:
            found = self.service.runs() if kind == "model" else self.service.helpers()
            for pid in found[:1]:
                kill_process(pid, self.service.mark)
        self.kills += 1

    async def start(self) -> None:
        await asyncio.to_thread(self.service.start)
        self._started = time.monotonic()

    def check(self, *, everything: bool = False) -> None:
        """Look at the conversations that are over, and forget them."""
        last = {seen.target: seen for seen in self.history}
        recent = set() if everything else set(list(self.answers)[-RECENT:])
        over = {target for target, seen in last.items() if seen.ready and target not in recent}
        told = [seen for seen in self.history if everything or seen.target in over]
        self.faults += broken_promises(told, self.answers, Allowed(evicted=True))
        self.asked += len(told)
        self.history[:] = [seen for seen in self.history if seen.target not in over]

    async def end(self) -> None:
        """Whatever was accepted and has not ended yet does."""
        last = {seen.target: seen for seen in self.history}
        client = Client(self.service.port, self.history)
        await asyncio.gather(
            *(client.converse(target, self.random, 120) for target, seen in last.items() if not seen.ready)
        )

    def _some_target(self) -> str:
        if self.answers and self.random.random() < 0.5:
            return self.random.choice(list(self.answers)[-RECENT:])
        key = len(self.answers)
        length = self.random.randint(1_100_000, 2_000_000) if key % 20 == 0 else self.random.randint(1, 30_000)
        target = f"/known?key={key}&ms={self.random.randint(1, 300)}&size={length}"
        self.answers[target] = hashlib.sha256(hashlib.shake_256(b"%d" % key).digest(length)).hexdigest()
        return target


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def everything(directory: Path) -> Iterator[Path]:
    """The files below it; unlike `rglob` this does not mind that some vanish meanwhile."""
    for folder, _, names in os.walk(directory):
        yield from (Path(folder, name) for name in names)


def size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0


def growth(measured: list[int]) -> int:
    """From the first to the last third, by their medians."""
    third = max(1, len(measured) // 3)
    first, last = sorted(measured[:third]), sorted(measured[-third:])
    return last[len(last) // 2] - first[len(first) // 2]


async def test_memory_and_descriptors_stay_flat(tmp_path: Path) -> None:
    soak = Soak(tmp_path)
    await soak.start()
    deadline = time.monotonic() + SECONDS
    tasks = [asyncio.create_task(soak.load()) for _ in range(CLIENTS)] + [asyncio.create_task(soak.measure())]
    try:
        while time.monotonic() < deadline:
            await asyncio.sleep(min(KILL_EVERY, max(0.0, deadline - time.monotonic())))
            await soak.kill()
            soak.check()
        soak.over = True
        await asyncio.gather(*tasks)
        await soak.end()
        soak.check(everything=True)
    finally:
        soak.over = True
        soak.service.__exit__()
    memory = max((growth(measured) for measured in soak.memory.values()), default=0)
    descriptors = max((growth(measured) for measured in soak.descriptors.values()), default=0)
    tell(
        "soak",
        f"{SECONDS:.0f} s, {soak.kills} kills, {soak.asked} requests, {len(soak.answers)} resources:"
        f" memory grew by {memory / 2**20:.1f} MiB, descriptors by {descriptors},"
        f" log at most {soak.log_bytes / 2**20:.1f} MiB, directory {soak.disk_bytes / 2**20:.1f} MiB",
    )
    assert not soak.faults, soak.faults[:20]
    assert memory <= GROWTH_BYTES
    assert descriptors <= GROWTH_DESCRIPTORS
    assert soak.log_bytes <= LARGEST_LOG
    # The cache, as much again for what it leaves free in the database, and the log.
    assert soak.disk_bytes <= 2 * CACHE_MIB * 2**20 + LARGEST_LOG
