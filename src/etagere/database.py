"""The data directory: one lock, one SQLite database, one writing thread.

Every write is an action, a function of the writing connection. The writer thread takes whatever
actions are queued and commits them together with `synchronous=FULL`, so that the price of an fsync
is shared by all who wait for it. Reads are made on the event loop's own thread over a second,
read-only connection: a look-up by primary key costs less than handing it to a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import queue
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import apsw

from etagere.errors import DirectoryLocked, StartError, Stopping, StorageFull
from etagere.logs import get_logger

T = TypeVar("T")
Action = Callable[[apsw.Connection], T]

SCHEMA_VERSION = 1
LARGEST_BATCH = 256
BUSY_TIMEOUT_MS = 5000
RETRY_AFTER_S = 5
# A batch of large bodies would leave its log at that size for ever.
LARGEST_LOG = 64 * 1024 * 1024

# What the storage did, not the action: after one of these the whole transaction is void.
_STORAGE_ERRORS = (
    apsw.FullError,
    apsw.IOError,
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.ReadOnlyError,
    apsw.CantOpenError,
    apsw.BusyError,
    apsw.NoMemError,
)

log = get_logger("etagere.database")


class _Job:
    """An action on its way through the writer; `future` is None where nobody waits."""

    __slots__ = ("action", "error", "future", "result")

    def __init__(self, action: Action[Any], future: asyncio.Future[Any] | None) -> None:
        self.action = action
        self.future = future
        self.result: Any = None
        self.error: Exception | None = None


class Database:
    """The open data directory. All methods belong to the event loop's thread.

    Opening creates the directory (mode 0700) and the database where they are missing, and takes
    the directory's lock. `clean` tells whether the service before this one was closed in order.

    Raises:
        DirectoryLocked: another process holds the directory.
        StartError: the directory or the database cannot be opened, or a newer version wrote it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._path = str(directory / "etagere.sqlite3")
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._posted: list[_Job] = []
        self._closing = False
        try:
            self._lock, self.clean = _lock(directory)
        except OSError as error:
            raise StartError(f"The data directory {directory} cannot be used: {error.strerror}.") from error
        try:
            self._writer: apsw.Connection | None = _open_writer(self._path)
            _migrate(self._writer)
            self._reader = _open_reader(self._path)
        except BaseException as error:
            if self.clean:
                os.ftruncate(self._lock, 0)
            os.close(self._lock)
            if isinstance(error, apsw.Error):
                raise StartError(f"The database in {directory} cannot be opened: {error}.") from error
            raise
        self._thread = threading.Thread(target=self._work, name="etagere-writer", daemon=True)
        self._thread.start()

    @classmethod
    async def open(cls, directory: Path) -> Database:
        """The same as `Database(directory)`, off the event loop."""
        return await asyncio.to_thread(cls, directory)

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """The first row, or None; what was committed before is seen."""
        # Exhausted, not just stepped: an open statement would hold back the checkpoints.
        found = self._reader.execute(sql, tuple(parameters)).fetchall()
        return found[0] if found else None

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows."""
        return self._reader.execute(sql, tuple(parameters)).fetchall()

    async def write(self, action: Action[T]) -> T:
        """What `action` returns, once it is committed durably.

        Actions are run in the order of their calls. An exception that the action itself raises
        undoes that action alone. Cancelling the caller does not undo it.

        Raises:
            StorageFull: it could not be committed; nothing of it remains (unless an I/O error is
                followed by a crash before the next commit: then it may come back).
            Stopping: the database is being closed.
        """
        if self._closing:
            raise Stopping("The service is stopping.")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._hand_over()
        self._jobs.put(_Job(action, future))
        return await future

    def post(self, action: Action[object]) -> None:
        """Like `write` without waiting: a failure is logged, and nothing is done when the database is being closed."""
        if self._closing:
            return
        # Whoever posts has something better to do first: the writer would compete with it.
        if not self._posted:
            asyncio.get_running_loop().call_soon(self._hand_over)
        self._posted.append(_Job(action, None))

    async def close(self) -> None:
        """Commit what is queued, close the database and give the directory free."""
        if self._closing:
            return
        self._closing = True
        self._hand_over()
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        if self._close_connections():
            os.ftruncate(self._lock, 0)
            os.fsync(self._lock)
        os.close(self._lock)

    def _hand_over(self) -> None:
        for job in self._posted:
            self._jobs.put(job)
        self._posted.clear()

    def _close_connections(self) -> bool:
        try:
            self._reader.close()
            if self._writer is None:
                return False
            self._writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            self._writer.close()
        except apsw.Error as error:
            log.error("the database was not closed in order", error=str(error))
            return False
        return True

    def _work(self) -> None:
        while self._commit_next():
            pass

    def _commit_next(self) -> bool:
        """Commit one batch, waiting for it; False when that was the last."""
        batch = [self._jobs.get()]
        with contextlib.suppress(queue.Empty):
            while batch[-1] is not None and len(batch) < LARGEST_BATCH:
                batch.append(self._jobs.get_nowait())
        jobs = [job for job in batch if job is not None]
        if jobs:
            self._commit(jobs)
            _settle(jobs)
        return batch[-1] is not None

    def _commit(self, jobs: list[_Job]) -> None:
        try:
            if self._writer is None:
                self._writer = _open_writer(self._path)
            self._writer.execute("BEGIN IMMEDIATE")
            for job in jobs:
                _run(self._writer, job)
            self._writer.execute("COMMIT")
        except Exception as error:
            self._roll_back(error)
            for job in jobs:
                job.error = StorageFull(
                    "The data directory cannot be written at the moment.", retry_after=RETRY_AFTER_S
                )
                job.error.__cause__ = error

    def _roll_back(self, error: Exception) -> None:
        if self._writer is None:
            return
        try:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            broken = isinstance(error, apsw.IOError)
        except apsw.Error:
            broken = True
        if broken:
            with contextlib.suppress(apsw.Error):
                self._writer.close(True)
            self._writer = None


def _run(connection: apsw.Connection, job: _Job) -> None:
    connection.execute("SAVEPOINT action")
    try:
        job.result = job.action(connection)
    except _STORAGE_ERRORS:
        raise
    except Exception as error:
        job.error = error
        connection.execute("ROLLBACK TO action")
    connection.execute("RELEASE action")


def _settle(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.future is None and job.error is not None:
            log.error("a write failed", error=repr(job.error), cause=repr(job.error.__cause__))
    waiting = [(job, job.future) for job in jobs if job.future is not None]
    for loop in {future.get_loop() for _, future in waiting}:
        # A loop that is closed has nobody left who waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_resolve, [pair for pair in waiting if pair[1].get_loop() is loop])


def _resolve(settled: list[tuple[_Job, asyncio.Future[Any]]]) -> None:
    for job, future in settled:
        if future.done():
            continue
        if job.error is not None:
            future.set_exception(job.error)
        else:
            future.set_result(job.result)


def _open_writer(path: str) -> apsw.Connection:
    connection = apsw.Connection(path)
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    connection.pragma("mmap_size", 0)
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    connection.pragma("journal_size_limit", LARGEST_LOG)
    connection.wal_autocheckpoint(1000)
    return connection


def _open_reader(path: str) -> apsw.Connection:
    connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    connection.pragma("mmap_size", 0)
    # Connected from now on. Were the writer alone, reopening it after an I/O error would recover
    # the log, and with it what had just been reported as failed.
    connection.pragma("schema_version")
    return connection


def _migrate(connection: apsw.Connection) -> None:
    version = connection.pragma("user_version")
    if version > SCHEMA_VERSION:
        raise StartError(f"A newer version wrote this database (format {version}, known is {SCHEMA_VERSION}).")
    if version == 0:
        with connection:
            connection.execute(resources.files("etagere").joinpath("schema.sql").read_text("utf-8"))
            connection.pragma("user_version", SCHEMA_VERSION)


def _lock(directory: Path) -> tuple[int, bool]:
    """The descriptor of the locked file, and whether its last holder let go of it in order.

    The file names its holder; an orderly end empties it.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        clean = os.fstat(descriptor).st_size == 0
        holder = {"pid": os.getpid(), "started": datetime.now(UTC).isoformat(timespec="seconds")}
        os.ftruncate(descriptor, os.pwrite(descriptor, json.dumps(holder).encode(), 0))
        os.fsync(descriptor)
    except BlockingIOError:
        message = f"The data directory {directory} is in use by {_holder(descriptor)}."
        os.close(descriptor)
        raise DirectoryLocked(message) from None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, clean


def _holder(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, 1024, 0))
        return f"process {holder['pid']}, started {holder['started']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
