"""What was asked for most recently, in memory."""

from __future__ import annotations

from collections import OrderedDict

from etagere.core.representation import Failure, Representation

# What the objects themselves take, roughly, so that many small bodies are bounded too.
OVERHEAD_BYTES = 1024


class Recent:
    """Representations and failures up to `limit` bytes; the least recently used leaves first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._found: OrderedDict[str, Representation | Failure] = OrderedDict()

    def get(self, key: str) -> Representation | Failure | None:
        """What is held under this id, or key of a variant."""
        found = self._found.get(key)
        if found is not None:
            self._found.move_to_end(key)
        return found

    def put(self, found: Representation | Failure) -> None:
        """Hold it, in place of what was there."""
        key = found.key if isinstance(found, Representation) else found.id
        self.drop(key)
        self._found[key] = found
        self._size += _cost(found)
        while self._size > self._limit:
            _, oldest = self._found.popitem(last=False)
            self._size -= _cost(oldest)

    def drop(self, key: str) -> None:
        """Let go of it."""
        found = self._found.pop(key, None)
        if found is not None:
            self._size -= _cost(found)


def _cost(found: Representation | Failure) -> int:
    content = found.detail if isinstance(found, Failure) else found.body or b""
    return OVERHEAD_BYTES + len(content)
