"""A hundred thousand pending resources: how long a restart takes, and each ping."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from random import Random

import pytest
from tests.faults.figures import tell
from tests.faults.gates import Gates
from tests.faults.models import gated
from tests.faults.service import Service

from etagere.core.lifecycle import Run
from etagere.database import Database
from etagere.runs import journal

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(900)]

PENDING = int(os.environ.get("FAULTS_PENDING", "100000"))
RATE = 500
SECONDS = 20
CONNECTIONS = 20
RESTART_SECONDS = 5.0
PING_SECONDS = 0.020
GROWTH_BYTES = 200 * 1024 * 1024


async def seed(data: Path, gate: str) -> list[tuple[str, str]]:
    """Record so many runs as submitted, all behind one gate; their targets and pending tags."""
    model = gated.app.models["memory@1"]
    resources = [model.bind(f"gate={gate}&size={n}".encode())[0] for n in range(PENDING)]
    database = Database(data)
    now = time.time()
    for found in resources:
        run = Run(found.id, found.model, found.queue, now)
        database.post(partial(journal.insert, run=run, uri=found.uri))
    await database.close()
    return [(f"/memory?gate={gate}&size={n}", f'W/"{found.id}"') for n, found in enumerate(resources)]


async def ping(port: int, pairs: Sequence[tuple[str, str]], rate: float, seconds: float, random: Random) -> list[float]:
    """Ping at this rate over one connection; the seconds that each answer took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    took, began = [], time.monotonic() + random.random() / rate
    with closing(writer):
        for n in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + n / rate - time.monotonic()))
            target, tag = random.choice(pairs)
            asked = time.monotonic()
            writer.write(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: {tag}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            took.append(time.monotonic() - asked)
            assert head.startswith(b"HTTP/1.1 304 "), head
    return took


def resident(service: Service) -> int:
    return int(Path(f"/proc/{service.pid}/statm").read_text().split()[1]) * 4096


async def test_a_hundred_thousand_pending_resources(gates: Gates, tmp_path: Path) -> None:
    empty = gates.service(tmp_path / "empty", "--runs", "1", max_pending=2 * PENDING)
    with empty:
        before = resident(empty)
    service = gates.service(tmp_path / "data", "--runs", "1", max_pending=2 * PENDING)
    pairs = await seed(tmp_path / "data", gates.new())
    with service:
        for _ in range(2):
            service.kill()
            service.start()
        random = Random(0)
        each = partial(ping, service.port, pairs, RATE / CONNECTIONS)
        await each(1.0, random)
        answers = await asyncio.gather(*(each(SECONDS, random) for _ in range(CONNECTIONS)))
        took = sorted(seconds for answer in answers for seconds in answer)
        growth = resident(service) - before
    p99 = took[int(len(took) * 0.99)]
    tell(
        f"{PENDING} pending",
        f"restart {max(service.started_in):.2f} s, ping p50 {took[len(took) // 2] * 1000:.1f} ms,"
        f" p99 {p99 * 1000:.1f} ms at {RATE}/s, {growth / 2**20:.0f} MiB more memory",
    )
    assert max(service.started_in) <= RESTART_SECONDS
    assert p99 <= PING_SECONDS
    assert growth <= GROWTH_BYTES
