"""A run table and a cache over one database, without the service around them."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from etagere.caches.sqlite import SqliteCache
from etagere.database import Database
from etagere.runs.memory import MemoryRunTable
from etagere.testing.samples import ManualClock


class Store:
    """Both, as one service has them."""

    def __init__(self, database: Database) -> None:
        clock = ManualClock()
        self.runs = MemoryRunTable(database, clock, 10_000, lambda _: None, lambda _: "default")
        self.cache = SqliteCache(database, clock, database.directory / "blobs", 10**9, 10**6)


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[Store]:
    """What is in a data directory, closed in order afterwards."""
    database = Database(directory)
    try:
        store = Store(database)
        await store.runs.load()
        yield store
    finally:
        await database.close()


@contextmanager
def quick_directory() -> Iterator[Path]:
    """A directory in memory where there is one: thousands of commits need not wait for a real disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
        yield Path(directory)
