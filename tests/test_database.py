from __future__ import annotations

import asyncio
import os
import random
import re
import resource
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import apsw
import pytest

import etagere.connections
import etagere.database
from etagere.database import Database
from etagere.errors import DirectoryLocked, StartError, Stopping, StorageFull

pytestmark = pytest.mark.anyio

SOURCES = str(Path(etagere.database.__file__).parents[1])

KEEP = "INSERT INTO source (model, hash) VALUES (?, '')"


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
        database.post(lambda connection, n=n: connection.execute(KEEP, (str(n),)))
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
        action = database.write(lambda connection: connection.execute(KEEP, ("a",)))
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
    connection.pragma("user_version", etagere.connections.SCHEMA_VERSION)
    connection.close()
    database = Database(tmp_path)
    assert database.clean
    await database.close()


OLD = """
ALTER TABLE run DROP COLUMN client;
ALTER TABLE run DROP COLUMN urgency;
ALTER TABLE run DROP COLUMN trace;
ALTER TABLE source DROP COLUMN access;
DROP TABLE quota;
"""


def structure(connection: apsw.Connection) -> dict[str, list[str]]:
    """The names of all columns, by table."""
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    return {table: sorted(column[1] for column in connection.pragma(f"table_info({table})") or ()) for table in tables}


async def test_a_database_of_the_version_before_is_taken_on(tmp_path: Path) -> None:
    database = Database(tmp_path)
    before = await database.write(structure)
    await database.write(lambda connection: connection.execute(OLD))
    await database.write(lambda connection: connection.execute("INSERT INTO source (model, hash) VALUES ('m@1', 'x')"))
    await database.write(lambda connection: connection.pragma("user_version", 2))
    await database.close()
    database = Database(tmp_path)
    assert database.clean
    assert await database.write(structure) == before
    assert database.rows("SELECT * FROM source") == [("m@1", "x", "open")]
    await database.close()


async def test_a_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StartError, match="cannot be used"):
        Database(tmp_path / "file")


def damage_a_page(path: Path) -> None:
    """Overwrite the page of the table `source` with what cannot be one."""
    connection = apsw.Connection(str(path))
    (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'source'").fetchall()[0]
    size = connection.pragma("page_size")
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


def set_aside(directory: Path) -> list[str]:
    """What stands in quarantine, without the time in its name."""
    return sorted(re.sub(r"-\d{8}T\d{6}Z", "-TIME", path.name) for path in (directory / "quarantine").glob("*"))


@pytest.mark.parametrize("fault", ["no database", "an older format", "cut short"])
async def test_what_cannot_be_used_is_set_aside(tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    database = Database(tmp_path)
    await database.write(lambda connection: connection.execute(KEEP, ("m@1",)))
    if fault == "an older format":
        await database.write(lambda connection: connection.pragma("user_version", -1))
    await database.close()
    path = tmp_path / "etagere.sqlite3"
    if fault == "no database":
        path.write_bytes(b"not a database, by any means" * 100)
    elif fault == "cut short":
        os.truncate(path, 5000)
    before = path.read_bytes()
    database = Database(tmp_path)
    assert not database.clean
    assert database.read("SELECT count(*) FROM source") == (0,)
    assert set_aside(tmp_path) == ["etagere.sqlite3-TIME"]
    (kept,) = (tmp_path / "quarantine").iterdir()
    assert kept.read_bytes() == before
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "set aside" in record.message
    database.doubted = False
    await database.close()
    database = Database(tmp_path)
    assert database.clean
    await database.close()


LEAVE = """
import asyncio, os, sys
from pathlib import Path
from etagere.database import Database

async def main():
    database = Database(Path(sys.argv[1]))
    rows = [(str(n), "x" * 50) for n in range(300)]
    await database.write(lambda c: c.executemany("INSERT OR REPLACE INTO source (model, hash) VALUES (?, ?)", rows))
    os._exit(0)

asyncio.run(main())
"""


def killed(directory: Path) -> None:
    """A service on the directory that ended without closing it."""
    environment = {**os.environ, "PYTHONPATH": SOURCES}
    subprocess.run([sys.executable, "-c", LEAVE, str(directory)], check=True, env=environment)


async def test_damage_is_found_after_an_unclean_stop(tmp_path: Path) -> None:
    killed(tmp_path)
    apsw.Connection(str(tmp_path / "etagere.sqlite3")).close()  # what is in the log becomes pages
    damage_a_page(tmp_path / "etagere.sqlite3")
    database = Database(tmp_path)
    assert set_aside(tmp_path) == ["etagere.sqlite3-TIME"]
    assert database.read("SELECT count(*) FROM source") == (0,)
    await database.close()


async def test_the_log_is_set_aside_with_its_database(tmp_path: Path) -> None:
    killed(tmp_path)
    # As a service leaves it that met with damage, and was killed then.
    (tmp_path / "lock").write_text('{"pid": 1, "started": "today", "broken": true}')
    await Database(tmp_path).close()
    assert set_aside(tmp_path) == ["etagere.sqlite3-TIME", "etagere.sqlite3-TIME-shm", "etagere.sqlite3-TIME-wal"]


async def test_what_a_check_at_the_start_has_no_time_for_is_checked_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(etagere.database, "CHECKED_FOR_S", 1e-9)
    monkeypatch.setattr(etagere.connections, "_STEPS", 1)
    killed(tmp_path)
    database = Database(tmp_path)
    await database.check()
    assert not database.broken
    database.doubted = False
    await database.close()
    killed(tmp_path)
    apsw.Connection(str(tmp_path / "etagere.sqlite3")).close()
    damage_a_page(tmp_path / "etagere.sqlite3")
    database = Database(tmp_path)
    assert set_aside(tmp_path) == []
    with pytest.raises(StorageFull):
        await database.check()
    assert database.broken
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    await database.close()
    database = Database(tmp_path)
    assert set_aside(tmp_path) == ["etagere.sqlite3-TIME"]
    assert not database.broken
    await database.close()


@pytest.mark.parametrize("how", ["read", "write"])
async def test_damage_that_is_met_later_is_set_aside_by_the_next(
    tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database(tmp_path)
    await database.write(lambda connection: connection.execute("INSERT INTO ghost VALUES ('a', x'', 1, 'm', 1, '')"))
    await database.close()
    damage_a_page(tmp_path / "etagere.sqlite3")
    database = Database(tmp_path)

    async def meet() -> None:
        if how == "read":
            database.read("SELECT * FROM source")
        else:
            await database.write(lambda connection: connection.execute(KEEP, ("a",)))

    for _ in range(2):
        with pytest.raises(StorageFull):
            await meet()
    assert database.broken
    assert len([record for record in caplog.records if "start the service anew" in record.message]) == 1
    # What is whole is still there.
    assert database.read("SELECT id FROM ghost") == ("a",)
    await database.close()
    database = Database(tmp_path)
    assert set_aside(tmp_path) == ["etagere.sqlite3-TIME"]
    await database.write(lambda connection: connection.execute(KEEP, ("a",)))
    database.doubted = False
    await database.close()
    await Database(tmp_path).close()
    assert len(set_aside(tmp_path)) == 1


async def test_what_was_not_checked_yet_is_left_to_the_next(tmp_path: Path) -> None:
    killed(tmp_path)
    for doubted in (True, False):
        database = Database(tmp_path)
        assert (database.clean, database.doubted) == (False, True)
        database.doubted = doubted
        await database.close()
    database = Database(tmp_path)
    assert (database.clean, database.doubted) == (True, False)
    await database.close()


async def test_a_read_apart_is_ended_by_closing(tmp_path: Path) -> None:
    database = Database(tmp_path)
    begun = threading.Event()
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"

    def count(connection: apsw.Connection) -> object:
        begun.set()
        return connection.execute(endless).fetchall()

    reading = asyncio.ensure_future(database.apart(count))
    await asyncio.to_thread(begun.wait, 10)
    await database.close()
    with pytest.raises(apsw.InterruptError):
        await reading
    database = Database(tmp_path)
    assert database.clean
    await database.close()


WRITE_FOR_EVER = """
import asyncio, sys
from pathlib import Path
from etagere.database import Database

async def write(database, name):
    n = 0
    while True:
        key = f"{name}-{n}"
        await database.write(lambda c: c.execute("INSERT INTO source (model, hash) VALUES (?, ?)", (key, "x" * 50)))
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
