"""The result queue of one service: in process, journalled to its database."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import apsw

from etagere.core.representation import Kind, Outcome, Resource
from etagere.database import Database
from etagere.errors import StorageFull
from etagere.logs import get_logger

log = get_logger("etagere.results")

COLLECTED_AT_ONCE_S = 0.02


class Outbox:
    """The `ResultQueue` of a single service; what the last one left over is taken first.

    The bytes of a result stay in the file that the outcome names.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._outcomes: asyncio.Queue[Outcome] = asyncio.Queue()
        # Those that the journal does not have, each with what is done when it need not have it any more.
        self._fresh: dict[tuple[str, int], asyncio.Future[None]] = {}
        for row in database.rows("SELECT id, attempt, content FROM outcome ORDER BY rowid"):
            self._take_up(*row)

    async def put(self, outcome: Outcome) -> Outcome:
        """See `ResultQueue.put`.

        It is handed over at once, and recorded only if the collector does not keep it in about the time
        that recording takes. Where it cannot be recorded, a crash before it is collected costs another
        computation.
        """
        key = outcome.resource.id, outcome.attempt
        collected = self._fresh[key] = asyncio.get_running_loop().create_future()
        self._outcomes.put_nowait(outcome)
        try:
            await asyncio.wait([collected], timeout=COLLECTED_AT_ONCE_S)
        except asyncio.CancelledError:
            if self._fresh.pop(key, None):
                self._database.post(partial(_insert, outcome=outcome))
            raise
        if self._fresh.pop(key, None):
            await self._record(outcome)
        return outcome

    async def take(self) -> Outcome:
        """See `ResultQueue.take`."""
        return await self._outcomes.get()

    async def defer(self, outcome: Outcome) -> None:
        """See `ResultQueue.defer`; it stands in the journal, or will in a moment."""
        self._outcomes.put_nowait(outcome)

    async def done(self, outcome: Outcome) -> None:
        """See `ResultQueue.done`; one that a crash brings back is collected again, which changes nothing."""
        key = outcome.resource.id, outcome.attempt
        if collected := self._fresh.pop(key, None):
            collected.set_result(None)
        else:
            self._database.post(partial(_delete, id=outcome.resource.id, attempt=outcome.attempt))

    async def _record(self, outcome: Outcome) -> None:
        try:
            await self._database.write(partial(_insert, outcome=outcome))
        except StorageFull as error:
            log.warning("an outcome was not journalled", id=outcome.resource.id, cause=repr(error.__cause__))

    def _take_up(self, id: str, attempt: int, content: str) -> None:
        try:
            self._outcomes.put_nowait(_decode(content))
        except (ValueError, TypeError, KeyError) as error:
            # Without its outcome the run counts as lost, and is computed again.
            log.error("an outcome cannot be read", id=id, attempt=attempt, error=repr(error))
            self._database.post(partial(_delete, id=id, attempt=attempt))


def _insert(connection: apsw.Connection, outcome: Outcome) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO outcome (id, attempt, content) VALUES (?, ?, ?)",
        (outcome.resource.id, outcome.attempt, _encode(outcome)),
    )


def _delete(connection: apsw.Connection, id: str, attempt: int) -> None:
    connection.execute("DELETE FROM outcome WHERE id = ? AND attempt = ?", (id, attempt))


def _encode(outcome: Outcome) -> str:
    fields = asdict(outcome)
    fields["path"] = None if outcome.path is None else str(outcome.path)
    del fields["body"]
    # ASCII, because output and file names may hold surrogates, which UTF-8 cannot.
    return json.dumps(fields, ensure_ascii=True)


def _decode(content: str) -> Outcome:
    fields: dict[str, Any] = json.loads(content)
    path = fields.pop("path")
    return Outcome(
        resource=Resource(**fields.pop("resource")),
        kind=Kind(fields.pop("kind")),
        path=None if path is None else Path(path),
        **fields,
    )
