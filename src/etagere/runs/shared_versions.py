"""The versions of models that were ever served, for all nodes and workers."""

from __future__ import annotations

from collections.abc import Mapping

from etagere.core.clients import Access
from etagere.errors import Problem
from etagere.logs import get_logger
from etagere.valkey import Valkey
from etagere.versions import Published

log = get_logger("etagere.store")


class SharedVersions:
    """What was ever served by any node, in the store that many machines share."""

    def __init__(self, store: Valkey) -> None:
        self._store = store
        self._key = store.key("versions")

    async def load(self) -> Mapping[str, Published]:
        """See `Record.load`.

        Raises:
            StoreLost: the store cannot be reached.
        """
        flat = await self._store.do("HGETALL", self._key)
        pairs = zip(flat[::2], flat[1::2], strict=True)
        return {model.decode(): _read(text.decode()) for model, text in pairs}

    async def save(self, published: Mapping[str, Published]) -> None:
        """See `Record.save`. Where the store has no room, that is told, and nothing else comes of it at once."""
        fields = [text for model, (hash, access) in published.items() for text in (model, f"{hash} {access}")]
        try:
            if fields:
                await self._store.do("HSET", self._key, *fields)
        except Problem as problem:
            log.warning("it is not written down which versions are served", reason=problem.detail)


def _read(text: str) -> Published:
    hash, _, access = text.partition(" ")
    return Published(hash, Access(access))
