"""All that the cache holds, for operators: how much it is, and forgetting many results at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import apsw

from etagere.caches import records
from etagere.database import Database
from etagere.ports import Purged

AT_ONCE = 200
"""So many are forgotten in one commit, for which whoever else writes has to wait."""

# A model's versions are between "heat@" and "heatA", since "A" is what follows "@".
_FOUND = (
    "WITH ended AS (SELECT id, created FROM representation WHERE instr(id, '.') = 0"
    " UNION ALL SELECT id, created FROM failure)"
    " SELECT DISTINCT id FROM ended LEFT JOIN ghost USING (id) WHERE created < :before"
    " AND (:model IS NULL OR model = :model OR (model >= :model || '@' AND model < :model || 'A'))"
)
_TOTALS = (
    "SELECT (SELECT count(*) FROM representation INDEXED BY representation_by_used WHERE instr(id, '.') = 0), bytes"
    " FROM total"
)

LetGo = Callable[[Collection[tuple[str, str | None]]], Awaitable[None]]


class _Batch(NamedTuple):
    """What was forgotten in one commit, with its keys and the files of those that had one."""

    purged: Purged
    gone: tuple[tuple[str, str | None], ...]


class SqliteHoldings:
    """The `Holdings` of a single service; `let_go` forgets keys that have no row any more, and removes their files."""

    def __init__(self, database: Database, let_go: LetGo) -> None:
        self._database = database
        self._let_go = let_go

    async def totals(self) -> tuple[int, int]:
        """See `Holdings.totals`."""
        [(results, size)] = await self._database.apart(partial(_rows, sql=_TOTALS, given={}))
        return results, size

    async def purge(self, model: str | None, before: float) -> Purged:
        """See `Holdings.purge`."""
        given = {"model": model, "before": before}
        results = iter(await self._database.apart(partial(_rows, sql=_FOUND, given=given)))
        purged = Purged()
        while batch := [id for (id,) in islice(results, AT_ONCE)]:
            done = await self._database.write(partial(_forget, ids=batch, before=before))
            await self._let_go(done.gone)
            purged = Purged(*map(sum, zip(purged, done.purged, strict=True)))
        return purged


def _rows(connection: apsw.Connection, sql: str, given: dict[str, Any]) -> list[Any]:
    return connection.execute(sql, given).fetchall()


def _forget(connection: apsw.Connection, ids: list[str], before: float) -> _Batch:
    size = records.total_bytes(connection)
    failed = [id for id in ids if records.drop_older_failure(connection, id, before)]
    gone = [pair for id in ids for pair in records.drop_older(connection, id, before)]
    results = sum("." not in key for key, _ in gone)
    purged = Purged(results, len(failed), size - records.total_bytes(connection))
    return _Batch(purged, (*gone, *((id, None) for id in failed)))
