"""How long a run is waited for: which ones nobody has asked for in their time."""

from __future__ import annotations

import heapq
import math
from itertools import count

from etagere.core import pacing

LOOKED_AT = 1000
"""So many at a time: all clients may have gone at once, and looking at all their runs would hold up everybody else."""


class Patience:
    """Watches ids of runs; `now` is seconds that never jump.

    `least` is the patience with a run whose clients were told to come back soon, in seconds.
    """

    def __init__(self, least: float) -> None:
        self._least = least
        self._until: dict[str, float] = {}
        # When to look at each id; somebody may have asked since, or it may have ended, or an earlier look be planned.
        self._looks: list[tuple[float, int, str]] = []
        self._orders = count()
        self._planned: dict[str, float] = {}

    def asked(self, id: str, now: float, retry_after: float = 0.0) -> None:
        """Somebody has asked, and was told to ask again after so many seconds; watch it from now on."""
        until = now + pacing.patience(self._least, retry_after)
        self._until[id] = until = max(until, self._until.get(id, until))
        if until < self._planned.get(id, math.inf):
            self._look(until, id)

    def forget(self, id: str) -> None:
        """It has ended."""
        self._until.pop(id, None)

    def exhausted(self, now: float) -> list[str]:
        """Those that nobody has asked for in their time, which are watched no longer; at most `LOOKED_AT`."""
        found: list[str] = []
        for _ in range(LOOKED_AT):
            if not self._looks or self._looks[0][0] > now:
                break
            at, _, id = heapq.heappop(self._looks)
            if self._planned.get(id) != at:
                continue
            del self._planned[id]
            until = self._until.get(id)
            if until is not None and until <= now:
                del self._until[id]
                found.append(id)
            elif until is not None:
                self._look(until, id)
        return found

    def _look(self, at: float, id: str) -> None:
        heapq.heappush(self._looks, (at, next(self._orders), id))
        self._planned[id] = at
