"""Connections to the database: their settings, its schema, and whether it is sound."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import resources

import apsw

from etagere.errors import BrokenDatabase, StartError

SCHEMA_VERSION = 3
# From the version before to each.
_CHANGES = {
    3: """
    ALTER TABLE run ADD COLUMN client TEXT NOT NULL DEFAULT '';
    ALTER TABLE run ADD COLUMN urgency INTEGER NOT NULL DEFAULT 3;
    ALTER TABLE run ADD COLUMN trace TEXT NOT NULL DEFAULT '';
    CREATE TABLE quota (client TEXT PRIMARY KEY, whole REAL NOT NULL) WITHOUT ROWID;
    ALTER TABLE source ADD COLUMN access TEXT NOT NULL DEFAULT 'open';
    """
}
BUSY_TIMEOUT_MS = 5000
# A batch of large bodies would leave its log at that size for ever.
LARGEST_LOG = 64 * 1024 * 1024
# What only a new database can mend.
BROKEN_ERRORS = (apsw.CorruptError, apsw.NotADBError)

_STEPS = 1000


def open_writer(path: str) -> apsw.Connection:
    """The writing connection; the database is created where it is missing.

    Raises:
        StartError: a newer version wrote it.
    """
    connection = apsw.Connection(path)
    try:
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        # First of all: the schema of a newer version may be one that is not understood.
        version = connection.pragma("user_version")
        if version > SCHEMA_VERSION:
            raise StartError(f"A newer version wrote this database (format {version}, known is {SCHEMA_VERSION}).")
        connection.pragma("mmap_size", 0)
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "full")
        connection.pragma("journal_size_limit", LARGEST_LOG)
        connection.wal_autocheckpoint(1000)
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: str) -> apsw.Connection:
    """A connection that cannot write."""
    connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
    try:
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        connection.pragma("mmap_size", 0)
        # Connected from now on. Were the writer alone, reopening it after an I/O error would recover
        # the log, and with it what had just been reported as failed.
        connection.pragma("schema_version")
    except BaseException:
        connection.close()
        raise
    return connection


def prepare(path: str, *, doubted_for: float) -> tuple[apsw.Connection, bool]:
    """The writing connection to a database of today's format, and whether it was checked as far as asked.

    A check takes at most `doubted_for` seconds; with 0 there is none.

    Raises:
        BrokenDatabase: it cannot be used, or so old a version wrote it that its format is not known any more.
        StartError: a newer version wrote it.
    """
    try:
        connection = open_writer(path)
        try:
            _migrate(connection)
            deadline = time.monotonic() + doubted_for
            checked = not doubted_for or quick_check(connection, lambda: time.monotonic() > deadline)
        except BaseException:
            connection.close()
            raise
    except BROKEN_ERRORS as error:
        raise BrokenDatabase(str(error)) from error
    return connection, checked


def quick_check(connection: apsw.Connection, stop: Callable[[], bool]) -> bool:
    """Read the whole database; False where `stop`, which is asked now and then, ended that.

    Raises:
        BrokenDatabase: its structure is damaged.
    """
    connection.set_progress_handler(stop, _STEPS)
    try:
        found = connection.execute("PRAGMA quick_check(1)").fetchall()
    except apsw.InterruptError:
        return False
    except BROKEN_ERRORS as error:
        raise BrokenDatabase(str(error)) from error
    finally:
        connection.set_progress_handler(None)
    if found != [("ok",)]:
        raise BrokenDatabase(str(found[0][0]))
    return True


def _migrate(connection: apsw.Connection) -> None:
    version = connection.pragma("user_version")
    if version == 0:
        with connection:
            connection.execute(resources.files("etagere").joinpath("schema.sql").read_text("utf-8"))
            connection.pragma("user_version", SCHEMA_VERSION)
    elif version + 1 in _CHANGES:
        with connection:
            for later in range(version + 1, SCHEMA_VERSION + 1):
                connection.execute(_CHANGES[later])
            connection.pragma("user_version", SCHEMA_VERSION)
    elif version < SCHEMA_VERSION:
        raise BrokenDatabase(f"an older version wrote it (format {version}, today's is {SCHEMA_VERSION})")
