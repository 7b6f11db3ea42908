"""The clock jumps by days while the service works; needs the library of libfaketime."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from random import Random

import pytest
from tests.faults.checker import broken_promises, repeated
from tests.faults.conversation import Client, Seen
from tests.faults.figures import tell
from tests.faults.service import MODELS, Service

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]

LIBRARIES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib*/faketime/libfaketimeMT.so.1")
DAYS = 10
JUMPS = (DAYS, 0, -DAYS, 0, DAYS, -DAYS, 2 * DAYS, -2 * DAYS)
CLIENTS = 6
# The service alone: below it, the library breaks time.sleep.
SERVE = "import os; del os.environ['LD_PRELOAD']; from etagere.cli import main; main()"


@pytest.fixture
def library() -> str:
    found = [path for pattern in LIBRARIES for path in Path("/").glob(pattern[1:])]
    if not found:
        pytest.skip("libfaketime is not installed (in Debian: apt-get install libfaketime)")
    return str(found[0])


class FakeClock:
    """The clock of a service, set by a file; `monotonic` goes on as it does."""

    def __init__(self, library: str, file: Path) -> None:
        self._file = file
        self.environment = {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
        self.set(0)

    def set(self, days: int) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(f"{days:+d}d\n")
        new.replace(self._file)


@pytest.fixture
def clock(library: str, tmp_path: Path) -> FakeClock:
    return FakeClock(library, tmp_path / "clock")


@pytest.fixture
def service(clock: FakeClock, tmp_path: Path) -> Iterator[Service]:
    env = {"EXECUTIONS": str(tmp_path / "executions"), **clock.environment}
    service = Service(MODELS / "known.py", tmp_path / "data", "--runs", "2", env=env)
    service.command[1:3] = ["-c", SERVE]
    with service:
        yield service


def clock_of(service: Service, n: int) -> datetime:
    """When the service thinks that it was asked for something new. (The server's own Date does not go back.)"""
    return datetime.fromisoformat(service.get(f"/known?key={1_000_000 + n}&ms=1&size=1").json()["created"])


async def ask_on(client: Client, answers: dict[str, str], random: Random, over: asyncio.Event) -> None:
    """One resource after another, some of them again."""
    while not over.is_set():
        if answers and random.random() < 0.3:
            target = random.choice(list(answers))
        else:
            key, ms, size = len(answers), random.randint(5, 400), random.choice((1000, 1_200_000))
            target = f"/known?key={key}&ms={ms}&size={size}"
            answers[target] = hashlib.sha256(hashlib.shake_256(b"%d" % key).digest(size)).hexdigest()
        await client.converse(target, random, 60)


async def test_jumps_of_days_are_not_noticed(service: Service, clock: FakeClock) -> None:
    history: list[Seen] = []
    answers: dict[str, str] = {}
    random, over = Random(0), asyncio.Event()
    real = clock_of(service, 0)
    client = Client(service.port, history)
    asking = [asyncio.create_task(ask_on(client, answers, random, over)) for _ in range(CLIENTS)]
    for n, days in enumerate(JUMPS, 1):
        clock.set(days)
        await asyncio.sleep(2)
        seen = await asyncio.to_thread(clock_of, service, n)
        assert abs((seen - real).total_seconds() - days * 86400) < 3600, "the service's clock has jumped"
    await asyncio.to_thread(service.kill)
    clock.set(-DAYS)
    await asyncio.to_thread(service.start)
    over.set()
    await asyncio.gather(*asking)
    for target in answers:
        await client.ask(target)
    faults = broken_promises(history, answers)
    assert not faults, (faults[:20], service.log[-3000:])
    again = repeated(service.executions())
    assert again.total() <= 2, "what was under way when it was killed, and nothing else, ran twice"
    jumps = f"{len(JUMPS)} jumps of up to {4 * DAYS} days"
    tell("clock jumps", f"{jumps}, {len(answers)} resources: nothing lost, none computed twice")
