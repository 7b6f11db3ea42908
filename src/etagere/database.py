"""The data directory: one lock, one SQLite database, one writing thread.

Every write is an action, a function of the writing connection. The writer thread takes whatever
actions are queued and commits them together with `synchronous=FULL`, so that the price of an fsync
is shared by all who wait for it. Reads are made on the event loop's own thread over a second,
read-only connection: a look-up by primary key costs less than handing it to a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import apsw

from etagere import connections
from etagere.connections import BROKEN_ERRORS
from etagere.errors import BrokenDatabase, StartError, Stopping, StorageFull
from etagere.lock import Lock
from etagere.logs import get_logger
from etagere.quarantine import Quarantine

T = TypeVar("T")
Action = Callable[[apsw.Connection], T]

LARGEST_BATCH = 256
RETRY_AFTER_S = 5
CHECKED_FOR_S = 0.5
"""So long a check after an unclean stop delays the start; what is left of it goes on beside the service."""

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
    the directory's lock. A database that is broken is put into `quarantine`, and a new one takes its
    place. `clean` tells whether the service before this one was closed in order, and its database
    is still this one; `broken` that this one was found broken, and cannot be used any more.
    While `doubted`, the next service will see an unclean stop: what this one was left has not been
    checked yet.

    Raises:
        DirectoryLocked: another process holds the directory.
        StartError: the directory or the database cannot be opened, or a newer version wrote it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.quarantine = Quarantine(directory / "quarantine")
        self.broken = False
        self._path = str(directory / "etagere.sqlite3")
        self._jobs: queue.SimpleQueue[list[_Job] | None] = queue.SimpleQueue()
        self._posted: list[_Job] = []
        self._closing = False
        try:
            self._lock = Lock(directory)
        except OSError as error:
            raise StartError(f"The data directory {directory} cannot be used: {error.strerror}.") from error
        self.clean = self._lock.clean
        self.doubted = not self.clean
        try:
            self._writer: apsw.Connection | None
            self._writer, self._checked = self._prepared()
            self._reader = connections.open_reader(self._path)
        except BaseException as error:
            self._lock.release(clean=self.clean)
            if isinstance(error, apsw.Error | OSError):
                raise StartError(f"The database in {directory} cannot be opened: {error}.") from error
            raise
        self._thread = threading.Thread(target=self._work, name="etagere-writer", daemon=True)
        self._thread.start()

    @classmethod
    async def open(cls, directory: Path) -> Database:
        """The same as `Database(directory)`, off the event loop."""
        return await asyncio.to_thread(cls, directory)

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """The first row, or None; what was committed before is seen.

        Raises:
            StorageFull: the database is broken.
        """
        # Exhausted, not just stepped: an open statement would hold back the checkpoints.
        found = self.rows(sql, parameters)
        return found[0] if found else None

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows.

        Raises:
            StorageFull: the database is broken.
        """
        try:
            return self._reader.execute(sql, tuple(parameters)).fetchall()
        except BROKEN_ERRORS as error:
            self._condemn(error)
            raise _unavailable("read") from error

    async def apart(self, action: Action[T]) -> T:
        """What `action` returns, given a reading connection of its own, off the event loop.

        Raises:
            StorageFull: the database is broken.
            apsw.InterruptError: it is being closed.
        """
        try:
            return await asyncio.to_thread(self._apart, action)
        except (BrokenDatabase, *BROKEN_ERRORS) as error:
            self._condemn(error)
            raise _unavailable("read") from error

    async def check(self) -> None:
        """Finish the check that an unclean stop asks for.

        Raises:
            StorageFull: the database is broken.
        """
        if not self._checked:
            self._checked = await self.apart(partial(connections.quick_check, stop=lambda: self._closing))

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
        self._posted.append(_Job(action, future))
        self._hand_over()
        return await future

    def post(self, action: Action[object]) -> None:
        """Like `write` without waiting: a failure is logged, and nothing is done when the database is being closed.

        What is written next in the same turn of the event loop is in the same commit.
        """
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
        self._lock.release(clean=self._close_connections() and self._checked and not self.doubted)

    def _prepared(self) -> tuple[apsw.Connection, bool]:
        try:
            if self._lock.broken:
                raise BrokenDatabase("the service before this one met with damage")
            return connections.prepare(self._path, doubted_for=0.0 if self.clean else CHECKED_FOR_S)
        except BrokenDatabase as broken:
            stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
            place = self.quarantine.set_aside(Path(self._path), stamp)
            self._lock.note(broken=False)
            self.clean = False
            log.warning(
                "the database is broken and was set aside: what was in it is computed again when it is asked for",
                reason=str(broken),
                place=str(place),
            )
        return connections.prepare(self._path, doubted_for=0.0)

    def _condemn(self, error: Exception) -> None:
        if self.broken:
            return
        self.broken = True
        log.error("the database is broken: start the service anew, which sets it aside", reason=str(error))
        with contextlib.suppress(OSError):
            self._lock.note(broken=True)

    def _apart(self, action: Action[T]) -> T:
        with closing(connections.open_reader(self._path)) as connection:
            connection.set_progress_handler(lambda: self._closing, 10_000)
            return action(connection)

    def _hand_over(self) -> None:
        if self._posted:
            self._jobs.put(self._posted)
            self._posted = []

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
        jobs: list[_Job] = []
        taken = self._jobs.get()
        with contextlib.suppress(queue.Empty):
            while taken is not None:
                jobs += taken
                if len(jobs) >= LARGEST_BATCH:
                    break
                taken = self._jobs.get_nowait()
        if jobs:
            self._commit(jobs)
            _settle(jobs)
        return taken is not None

    def _commit(self, jobs: list[_Job]) -> None:
        try:
            if self._writer is None:
                self._writer = connections.open_writer(self._path)
            self._writer.execute("BEGIN IMMEDIATE")
            for job in jobs:
                _run(self._writer, job)
            self._writer.execute("COMMIT")
        except Exception as error:
            self._roll_back(error)
            for job in jobs:
                job.error = _unavailable("written")
                job.error.__cause__ = error

    def _roll_back(self, error: Exception) -> None:
        if isinstance(error, BROKEN_ERRORS):
            self._condemn(error)
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


def _unavailable(done: str) -> StorageFull:
    return StorageFull(f"The data directory cannot be {done} at the moment.", retry_after=RETRY_AFTER_S)


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
