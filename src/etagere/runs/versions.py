"""The `source` table: a row for each version of a model that was ever served."""

from __future__ import annotations

from collections.abc import Mapping

from etagere.core.clients import Access
from etagere.database import Database
from etagere.versions import Published

_KEEP = "INSERT OR REPLACE INTO source (model, hash, access) VALUES (?, ?, ?)"


class Versions:
    """What was ever served, in the service's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> Mapping[str, Published]:
        """See `Record.load`."""
        rows = self._database.rows("SELECT model, hash, access FROM source")
        return {model: Published(hash, Access(access)) for model, hash, access in rows}

    async def save(self, published: Mapping[str, Published]) -> None:
        """See `Record.save`."""
        rows = [(model, *entry) for model, entry in published.items()]
        await self._database.write(lambda connection: connection.executemany(_KEEP, rows))
