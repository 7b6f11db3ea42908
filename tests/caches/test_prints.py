from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from etagere.caches.prints import SqlitePrints
from etagere.caches.sqlite import SqliteCache
from etagere.database import Database
from etagere.testing.prints import PRINTED, PrintsContract
from etagere.testing.samples import EPOCH, ManualClock, failure, representation, resource

pytestmark = pytest.mark.anyio
MIB = 1024 * 1024


class SqliteStore:
    """A cache that remembers one ghost, and small prints beside it."""

    def __init__(self, directory: Path) -> None:
        self.database = Database(directory / "data")
        self.clock = ManualClock(EPOCH)
        self.cache = SqliteCache(self.database, self.clock, directory / "blobs", 100 * MIB, MIB, ghosts=2)
        self.prints = SqlitePrints(self.database, size_limit=1000)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path)
    yield store
    await store.cache.close()
    await store.database.close()


class TestSqlitePrints(PrintsContract):
    pass


async def test_a_note_and_what_is_recorded_next_are_one_commit(store: SqliteStore) -> None:
    commits: list[str] = []
    await store.database.write(lambda connection: connection.set_commit_hook(lambda: bool(commits.append("one"))))
    commits.clear()
    for n in range(20):
        store.prints.note(replace(PRINTED, attempt=n))
        await store.database.write(lambda connection: connection.execute("UPDATE ghost SET asked = 0"))
    assert len(commits) == 20
    await store.cache.put(resource("b"), representation("b", b"result"), replace(PRINTED, id="b"))
    assert len(commits) == 21


async def test_the_oldest_go_where_there_is_too_much(store: SqliteStore) -> None:
    for n in range(5):
        store.prints.note(replace(PRINTED, id=str(n), output="x" * 300, traceback=""))
    store.prints.note(replace(PRINTED, id="0", output="y" * 300, traceback=""))
    await store.database.write(lambda _: None)
    assert [n for n in "01234" if await store.prints.printed(n)] == ["0", "3", "4"]
    assert store.database.rows("SELECT bytes, (SELECT sum(size) FROM printed) FROM printed_total") == [(900, 900)]


async def test_what_utf_8_cannot_carry_is_replaced(store: SqliteStore) -> None:
    store.prints.note(replace(PRINTED, traceback="a\udc80b"))
    await store.database.write(lambda _: None)
    assert await store.prints.printed("a") == replace(PRINTED, traceback="a?b")


async def test_they_leave_with_the_ghost_and_not_with_the_failure(store: SqliteStore) -> None:
    await store.cache.put(resource("a"), failure("a", EPOCH + 1), PRINTED)
    store.clock.advance(10)
    await store.cache.put(resource("b"), failure("b", EPOCH))
    assert store.database.rows("SELECT id FROM failure") == [("b",)]
    assert await store.prints.printed("a") == PRINTED
    for id in "cdef":
        store.clock.advance(10)
        await store.cache.put(resource(id), representation(id, b"result"))
    assert store.cache.ghost("a") is None
    assert await store.prints.printed("a") is None
    assert store.database.rows("SELECT bytes FROM printed_total") == [(0,)]


async def test_the_facts_of_a_failure_are_kept_and_leave_with_it(store: SqliteStore, tmp_path: Path) -> None:
    facts = {"limit": {"name": "time_limit", "value": 0.5, "unit": "s"}}
    given = replace(failure("a", EPOCH + 60), facts=facts)
    await store.cache.put(resource("a"), given)
    again = SqliteCache(store.database, store.clock, tmp_path / "blobs", 100 * MIB, MIB)
    assert again.get("a") == given
    plain = failure("a", EPOCH + 60)
    await store.cache.put(resource("a"), plain)
    assert SqliteCache(store.database, store.clock, tmp_path / "blobs", 100 * MIB, MIB).get("a") == plain
    await store.cache.put(resource("a"), given)
    await store.cache.put(resource("a"), representation("a", b"result"))
    assert store.database.rows("SELECT * FROM failure") == []
