"""The `history` table: a row for each model, the one that was noted last at the end."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

import apsw

from etagere.core.history import History
from etagere.database import Database


class Histories:
    """The run times of the models, in the service's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, served: Collection[str]) -> dict[str, History]:
        """Those of the models that are served (`name@version`).

        One without a history begins with a part of that of its name which was noted last. Versions that are not
        served any more are forgotten then.
        """
        known = {model: History.from_json(text) for model, text in self._database.rows(_ROWS)}
        latest = {_name(model): history for model, history in known.items()}
        heirs = {
            model: latest[name].heir() for model in served if model not in known and (name := _name(model)) in latest
        }
        retired = known.keys() - set(served)
        if heirs or retired:
            await self._database.write(partial(_succeed, heirs=heirs, retired=retired))
        return {model: history for model, history in (known | heirs).items() if model not in retired}

    def save(self, model: str, history: History) -> None:
        """Keep it with the next commit; a crash before that costs what was added, no more."""
        self._database.post(partial(_keep, model=model, text=history.to_json()))


_ROWS = "SELECT model, seconds FROM history ORDER BY rowid"


def _name(model: str) -> str:
    return model.partition("@")[0]


def _keep(connection: apsw.Connection, model: str, text: str) -> None:
    connection.execute("INSERT OR REPLACE INTO history (model, seconds) VALUES (?, ?)", (model, text))


def _succeed(connection: apsw.Connection, heirs: dict[str, History], retired: Collection[str]) -> None:
    connection.executemany("DELETE FROM history WHERE model = ?", [(model,) for model in retired])
    for model, history in heirs.items():
        _keep(connection, model, history.to_json())
