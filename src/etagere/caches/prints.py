"""What runs have printed, for operators."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

import apsw

from etagere.core.representation import Printed
from etagere.database import Database

T = TypeVar("T")
P = ParamSpec("P")

LARGEST = 64 * 1024 * 1024


class SqlitePrints:
    """The `Prints` of a single service; `size_limit` bounds their bytes in all."""

    def __init__(self, database: Database, size_limit: int = LARGEST) -> None:
        self._database = database
        self._size_limit = size_limit

    def note(self, printed: Printed) -> None:
        """See `Prints.note`."""
        self._database.post(partial(save, printed=printed, size_limit=self._size_limit))

    async def printed(self, id: str) -> Printed | None:
        """See `Prints.printed`."""
        row = self._database.read(
            "SELECT id, attempt, outcome, finished, output, traceback FROM printed WHERE id = ?", (id,)
        )
        return None if row is None else Printed(*row)


def with_printed(
    action: Callable[Concatenate[apsw.Connection, P], T], printed: Printed | None
) -> Callable[Concatenate[apsw.Connection, P], T]:
    """An action of the database that keeps what was printed, too."""
    if printed is None:
        return action

    def both(connection: apsw.Connection, /, *args: P.args, **kwargs: P.kwargs) -> T:
        done = action(connection, *args, **kwargs)
        save(connection, printed, LARGEST)
        return done

    return both


def save(connection: apsw.Connection, printed: Printed, size_limit: int) -> None:
    """Record it as the last of its resource, and forget the oldest where that is too much."""
    # What UTF-8 cannot carry, SQLite cannot either.
    traceback, output = (text.encode("utf-8", "replace") for text in (printed.traceback, printed.output))
    ended = printed.id, printed.attempt, printed.outcome, printed.finished
    connection.execute("DELETE FROM printed WHERE id = ?", (printed.id,))
    connection.execute(
        "INSERT INTO printed (id, attempt, outcome, finished, size, traceback, output) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (*ended, len(traceback) + len(output), traceback.decode(), output.decode()),
    )
    while _total(connection) > size_limit:
        connection.execute("DELETE FROM printed WHERE rowid = (SELECT min(rowid) FROM printed)")


def _total(connection: apsw.Connection) -> int:
    (total,) = connection.execute("SELECT bytes FROM printed_total").fetchall()[0]
    assert isinstance(total, int)
    return total
