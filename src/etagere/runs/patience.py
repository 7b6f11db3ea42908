"""How long a run is waited for: which ones nobody has asked for in their time."""

from __future__ import annotations

from collections import OrderedDict

from etagere.core import pacing

LOOKED_AT = 1000
"""So many at a time: all clients may have gone at once, and looking at all their runs would hold up everybody else."""


class Patience:
    """Ids of runs in the order in which they were last looked at; `now` is seconds that never jump.

    `least` is the patience with a run whose clients were told to come back soon, in seconds.
    """

    def __init__(self, least: float) -> None:
        self._least = least
        self._watched: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def asked(self, id: str, now: float, retry_after: float = 0.0) -> None:
        """Somebody has asked, and was told to ask again after so many seconds; watch it from now on."""
        until = now + pacing.patience(self._least, retry_after)
        _, before = self._watched.pop(id, (now, until))
        self._watched[id] = now, max(before, until)

    def forget(self, id: str) -> None:
        """It has ended."""
        self._watched.pop(id, None)

    def exhausted(self, now: float) -> list[str]:
        """Those that nobody has asked for in their time, which are watched no longer; at most `LOOKED_AT`.

        Never early. One whose patience is more than the least may be found as much later as that is.
        """
        found: list[str] = []
        for _ in range(min(LOOKED_AT, len(self._watched))):
            id, (looked, until) = next(iter(self._watched.items()))
            if now < looked + self._least:
                break
            del self._watched[id]
            if until <= now:
                found.append(id)
            else:
                self._watched[id] = now, until
        return found
