"""What checking costs: `quick_check` of databases, a start after `kill -9`, and a round of the scrubber.

    .venv/bin/python -m benchmarks.integrity

Databases and files are made below the temporary directory; what is read has just been written, so it comes from the
kernel's cache and not from a disk.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from etagere import connections
from etagere.caches.sqlite import SqliteCache
from etagere.core.representation import Representation, Resource
from etagere.database import Database
from etagere.factory import SystemClock
from etagere.scrubber import Scrubber

MIB = 1024 * 1024
MODEL = '''
import etagere
app = etagere.Etagere()

@app.model(version="1")
def one() -> int:
    """One."""
    return 1
'''


@asynccontextmanager
async def filled(directory: Path, bodies: int, size: int) -> AsyncIterator[tuple[Database, SqliteCache]]:
    """A data directory with so many results of so many bytes."""
    database = Database(directory)
    cache = SqliteCache(database, SystemClock(), directory / "blobs", 1 << 40, 0)
    noise = os.urandom(size)
    for first in range(0, bodies, 200):
        await asyncio.gather(*(put(cache, n, noise) for n in range(first, min(bodies, first + 200))))
    yield database, cache
    await cache.close()
    await database.close()


async def put(cache: SqliteCache, n: int, noise: bytes) -> None:
    body = b"%016d" % n + noise[16:]
    digest = hashlib.sha256(body).digest()
    id = hashlib.sha256(b"%d" % n).hexdigest()[:32]
    given = Representation(id, "bin", "application/octet-stream", digest, len(body), time.time(), 1.0, body=body)
    await cache.put(Resource(id, f"/model@1?n={n}", "model@1"), given)


def on_disk(directory: Path) -> float:
    """MiB."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) / MIB


def processor() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def checked(database: Database) -> float:
    began = time.perf_counter()
    await database.apart(lambda connection: connections.quick_check(connection, lambda: False))
    return time.perf_counter() - began


async def scrubbed(cache: SqliteCache, **options: float) -> tuple[float, float]:
    """Seconds of one round, and of the processor."""
    began, used = time.perf_counter(), processor()
    await Scrubber(cache.stored, SystemClock(), **options).go_round()
    return time.perf_counter() - began, processor() - used


def started(directory: Path) -> float:
    """Seconds until a service on the directory of a killed one serves."""
    target = directory.parent / "one.py"
    target.write_text(MODEL)
    (directory / "lock").write_text('{"pid": 1, "started": "earlier"}')
    began = time.perf_counter()
    command = [sys.executable, "-m", "etagere", "serve", str(target), "--data", str(directory), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as service:
        assert service.stdout is not None
        assert b"http" in service.stdout.readline()
        seconds = time.perf_counter() - began
        service.kill()
    return seconds


async def measure(name: str, bodies: int, size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder, "data")
        async with filled(directory, bodies, size) as (database, cache):
            check = await checked(database)
            unpaced, used = await scrubbed(cache, rate=float("inf"))
            stored, mib = on_disk(directory), bodies * size / MIB
            print(f"{name}: {stored:.0f} MiB on disk, quick_check {check:.2f} s,", end=" ")
            print(
                f"a round without pauses {unpaced:.2f} s ({mib / unpaced:.0f} MiB/s, {used:.2f} s of processor)", end=""
            )
            if mib < 300:
                paced, used = await scrubbed(cache)
                print(f", with them {paced:.1f} s ({used:.2f} s of processor)", end="")
        print(f", start after a kill {started(directory):.2f} s", flush=True)


async def main() -> None:
    print("load before:", *os.getloadavg())
    await measure("nothing stored", 1, 100)
    await measure("100,000 results of 500 bytes", 100_000, 500)
    await measure("2,048 results of 512 KiB, 1 GiB of rows", 2048, MIB // 2)
    await measure("100 files of 2 MiB", 100, 2 * MIB)
    print("load after:", *os.getloadavg())


if __name__ == "__main__":
    asyncio.run(main())
