"""The run times of models, for all nodes."""

from __future__ import annotations

from collections.abc import Collection

from etagere.core.history import History
from etagere.valkey import Valkey, ignore


class SharedHistories:
    """The run times of the models, in the store that many machines share."""

    def __init__(self, store: Valkey) -> None:
        self._store = store
        self._key = store.key("history")

    async def load(self, served: Collection[str]) -> dict[str, History]:
        """Those of the models that are served (`name@version`).

        One without a history begins with a part of that of another version of its name.
        """
        flat = await self._store.do("HGETALL", self._key)
        pairs = zip(flat[::2], flat[1::2], strict=True)
        known = {model.decode(): History.from_json(text.decode()) for model, text in pairs}
        of_name = {model.partition("@")[0]: history for model, history in known.items()}
        heirs = {model: of_name[name].heir() for model in served if (name := model.partition("@")[0]) in of_name}
        return {model: history for model, history in (heirs | known).items() if model in served}

    def save(self, model: str, history: History) -> None:
        """Keep it, when the store has time for that."""
        ignore(self._store.do("HSET", self._key, model, history.to_json()))
