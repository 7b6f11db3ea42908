"""What it costs to know who asks, and whose turn it is among many clients."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.client import Server
from benchmarks.figures import Figure, at_most
from benchmarks.load import in_turn, rate
from benchmarks.servers import service
from etagere import keys
from etagere.core.clients import Asker, Role
from etagere.core.lifecycle import Event
from etagere.core.representation import Resource
from etagere.database import Database
from etagere.factory import SystemClock
from etagere.runs.memory import MemoryRunTable

ROUNDS = 11
QUEUED, CLIENTS, MODELS, CLAIMS = 10_000, 1_000, 5, 1_000
CLAIM_MS = 1.0


def measure() -> Iterator[Figure]:
    """The figures, as they are found."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "keys.json")
        key = keys.add(file, "benchmark", Role.client, None, None, time.time())
        with service(ETAGERE_KEYS=str(file)) as server:
            target = "/sleep?seconds=1800&n=1&text=some+words&values=0.5"
            tag = server.get(target).expect(202).tag
            ratio, found = in_turn(
                ROUNDS, partial(_seconds, server, target, tag, key), partial(_seconds, server, target, tag, "")
            )
            yield at_most("time of a ping with a key", ratio, 1.1, f"without ({found * 1e6:,.0f} µs)")
    for clients in (1, CLIENTS):
        yield asyncio.run(_claims(clients))


def _seconds(server: Server, target: str, tag: str, key: str) -> float:
    return 1 / rate(server, target, tag, key=key)


async def _claims(clients: int) -> Figure:
    """Claims from a full queue, one model of which is at its limit."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(Path(folder))
        table = MemoryRunTable(database, SystemClock(), 4 * QUEUED, _limit, lambda _: "default")
        await table.load()
        submits = (table.submit(_resource(n), Asker(f"c{n % clients}", n % 8)) for n in range(QUEUED))
        await asyncio.gather(*submits, return_exceptions=clients == 1)
        took = sorted([await _claim(table) for _ in range(CLAIMS)])
        await database.close()
    middle, late = took[CLAIMS // 2] * 1000, took[CLAIMS * 99 // 100] * 1000
    what = f"claim of one of {QUEUED:,} queued runs of {clients:,} client{'s' if clients > 1 else ''}"
    return Figure(what, f"p50 {middle:.2f} ms, p99 {late:.2f} ms", f"p99 ≤ {CLAIM_MS:g} ms", late <= CLAIM_MS)


async def _claim(table: MemoryRunTable) -> float:
    began = time.perf_counter()
    found = await table.claim(["default"])
    took = time.perf_counter() - began
    assert found is not None
    await table.advance(found[0].id, Event.succeed)
    return took


def _limit(model: str) -> int | None:
    return 1 if model == "m0@1" else None


def _resource(number: int) -> Resource:
    return Resource(f"r{number}", f"/m{number % MODELS}@1?n={number}", f"m{number % MODELS}@1")
