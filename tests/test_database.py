from __future__ import annotations

import asyncio
import os
import random
import resource
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import apsw
import pytest

import etagere.database
from etagere.database import Database
from etagere.errors import DirectoryLocked, StartError, Stopping, StorageFull

pytestmark = pytest.mark.anyio

SOURCES = str(Path(etagere.database.__file__).parents[1])


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "data")
    await database.write(lambda connection: connection.execute("CREATE TABLE note (n INTEGER PRIMARY KEY, text TEXT)"))
    yield database
    await database.close()


def insert(n: int, text: str = "") -> Callable[[apsw.Connection], int]:
    def action(connection: apsw.Connection) -> int:
        connection.execute("INSERT INTO note VALUES (?, ?)", (n, text))
        return n

    return action


def numbers(database: Database) -> list[int]:
    return [row[0] for row in database.rows("SELECT n FROM note ORDER BY n")]


async def together(database: Database, *actions: Callable[[apsw.Connection], object]) -> list[object]:
    """The actions' results when they are committed in one transaction."""
    started, hold = threading.Event(), threading.Event()

    def occupy(_: apsw.Connection) -> None:
        started.set()
        hold.wait(10)

    holding = asyncio.ensure_future(database.write(occupy))
    await asyncio.to_thread(started.wait, 10)
    writes = [asyncio.ensure_future(database.write(action)) for action in actions]
    await asyncio.sleep(0)
    hold.set()
    await holding
    return await asyncio.gather(*writes, return_exceptions=True)


async def test_a_write_is_seen_by_reads(database: Database) -> None:
    assert await database.write(insert(1, "one")) == 1
    assert database.read("SELECT text FROM note WHERE n = ?", (1,)) == ("one",)
    assert database.read("SELECT text FROM note WHERE n = ?", (2,)) is None


async def test_writes_share_their_commits(database: Database) -> None:
    commits = 0

    def count() -> bool:
        nonlocal commits
        commits += 1
        return False

    await database.write(lambda connection: connection.set_commit_hook(count))
    await asyncio.gather(*(database.write(insert(n)) for n in range(1000)))
    assert numbers(database) == list(range(1000))
    assert 1000 / 256 <= commits < 200


async def test_settings_are_those_that_were_measured(database: Database) -> None:
    def pragmas(connection: apsw.Connection) -> list[object]:
        return [connection.pragma(name) for name in ("journal_mode", "synchronous", "mmap_size")]

    assert await database.write(pragmas) == ["wal", 2, 0]


async def test_a_failing_action_fails_alone(database: Database) -> None:
    def insert_and_fail(connection: apsw.Connection) -> None:
        insert(2)(connection)
        raise LookupError("a fault of the action")

    results = await together(database, insert(1), insert_and_fail, insert(1), insert(3))
    assert results[0] == 1
    assert isinstance(results[1], LookupError)
    assert isinstance(results[2], apsw.ConstraintError)
    assert results[3] == 3
    assert numbers(database) == [1, 3]


async def test_a_full_database_fails_the_whole_batch_and_heals(database: Database) -> None:
    (pages,) = database.read("PRAGMA page_count") or (0,)
    await database.write(lambda connection: connection.pragma("max_page_count", pages + 2))
    results = await together(database, insert(1), insert(2, "x" * 100_000), insert(3))
    assert [type(result) for result in results] == [StorageFull] * 3
    assert isinstance(results[1], StorageFull)
    assert isinstance(results[1].__cause__, apsw.FullError)
    assert numbers(database) == []
    await database.write(insert(4))
    await database.write(lambda connection: connection.pragma("max_page_count", 1_000_000))
    await database.write(insert(2, "x" * 100_000))
    assert numbers(database) == [2, 4]


async def test_an_input_output_error_is_survived(database: Database) -> None:
    await database.write(insert(1))
    connection = await database.write(lambda connection: connection)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A write beyond the limit is a true I/O error to SQLite: EFBIG.
    resource.setrlimit(resource.RLIMIT_FSIZE, (256 * 1024, hard))
    try:
        with pytest.raises(StorageFull) as failed:
            await database.write(insert(2, "x" * 1_000_000))
        assert isinstance(failed.value.__cause__, apsw.IOError)
        assert numbers(database) == [1]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await database.write(insert(2, "x" * 1_000_000))
    assert numbers(database) == [1, 2]
    assert await database.write(lambda connection: connection) is not connection


async def test_posts_keep_their_order_and_failures_are_logged(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    database.post(insert(1))
    database.post(insert(1))
    database.post(lambda connection: connection.execute("UPDATE note SET text = 'later'"))
    await database.write(insert(2))
    assert database.rows("SELECT n, text FROM note") == [(1, "later"), (2, "")]
    (record,) = caplog.records
    assert record.message.startswith("a write failed error=ConstraintError")


async def test_cancelling_the_caller_does_not_undo_the_write(database: Database) -> None:
    hold = threading.Event()
    database.post(lambda _: hold.wait(10))
    writing = asyncio.ensure_future(database.write(insert(1)))
    await asyncio.sleep(0)
    writing.cancel()
    hold.set()
    await database.write(insert(2))
    assert writing.cancelled()
    assert numbers(database) == [1, 2]


async def test_closing_commits_what_is_queued(tmp_path: Path) -> None:
    database = Database(tmp_path)
    for n in range(300):
        database.post(lambda connection, n=n: connection.execute("INSERT INTO source VALUES (?, '')", (str(n),)))
    await database.close()
    await database.close()
    with pytest.raises(Stopping):
        await database.write(insert(1))
    database.post(insert(1))
    database = Database(tmp_path)
    assert database.read("SELECT count(*) FROM source") == (300,)
    await database.close()


def test_a_loop_that_is_gone_does_no_harm(tmp_path: Path) -> None:
    database = Database(tmp_path)
    hold = threading.Event()

    async def leave() -> None:
        database.post(lambda _: hold.wait(10))
        action = database.write(lambda connection: connection.execute("INSERT INTO source VALUES ('a', '')"))
        task = asyncio.ensure_future(action)
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(leave())
    hold.set()
    asyncio.run(database.close())
    database = Database(tmp_path)
    assert database.clean
    assert database.read("SELECT model FROM source") == ("a",)
    asyncio.run(database.close())


async def test_the_directory_belongs_to_one_service(tmp_path: Path) -> None:
    first = await Database.open(tmp_path / "new" / "data")
    assert (tmp_path / "new" / "data").stat().st_mode & 0o777 == 0o700
    with pytest.raises(DirectoryLocked, match=rf"in use by process {os.getpid()}, started 20\d\d-"):
        Database(tmp_path / "new" / "data")
    await first.close()
    second = Database(tmp_path / "new" / "data")
    assert second.clean
    await second.close()


def test_a_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    database = Database(tmp_path)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    try:
        asyncio.run(database.close())
        asyncio.run(Database(tmp_path).close())
    finally:
        child.communicate(b"\n")


async def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    database = Database(tmp_path)
    await database.write(lambda connection: connection.pragma("user_version", 99))
    await database.close()
    for _ in range(2):
        with pytest.raises(StartError, match=r"newer version.*format 99"):
            Database(tmp_path)
    connection = apsw.Connection(str(tmp_path / "etagere.sqlite3"))
    connection.pragma("user_version", etagere.database.SCHEMA_VERSION)
    connection.close()
    database = Database(tmp_path)
    assert database.clean
    await database.close()


async def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "etagere.sqlite3").write_bytes(b"not a database, by any means" * 100)
    with pytest.raises(StartError, match="cannot be opened"):
        Database(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StartError, match="cannot be used"):
        Database(tmp_path / "file")


WRITE_FOR_EVER = """
import asyncio, sys
from pathlib import Path
from etagere.database import Database

async def write(database, name):
    n = 0
    while True:
        key = f"{name}-{n}"
        await database.write(lambda c: c.execute("INSERT INTO source VALUES (?, ?)", (key, "x" * 50)))
        print(key, flush=True)
        n += 1

async def main():
    database = Database(Path(sys.argv[1]))
    await asyncio.gather(*(write(database, f"{sys.argv[2]}-{task}") for task in range(8)))

asyncio.run(main())
"""


def test_nothing_acknowledged_is_lost_by_a_kill(tmp_path: Path) -> None:
    acknowledged: set[str] = set()
    for round_ in range(10):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITE_FOR_EVER, str(tmp_path), str(round_)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": SOURCES},
            text=True,
        )
        assert writer.stdout is not None
        for _ in range(random.randint(1, 300)):
            acknowledged.add(writer.stdout.readline().strip())
        writer.kill()
        acknowledged.update(line.strip() for line in writer.stdout if line.endswith("\n"))
        writer.stdout.close()
        writer.wait()
    assert len(acknowledged) >= 10
    database = Database(tmp_path)
    assert not database.clean
    assert acknowledged <= {row[0] for row in database.rows("SELECT model FROM source")}
    assert database.read("PRAGMA integrity_check") == ("ok",)
    asyncio.run(database.close())
