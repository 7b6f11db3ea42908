"""How long the runs of a model took: the last of them, so that it follows what the model becomes."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Iterable

LENGTH = 64
"""Runs that are remembered."""

INHERITED = 8
"""So many of them a new version of the model begins with: its own soon outweigh them."""


class History:
    """The last run times of a model in seconds, the newest last."""

    def __init__(self, seconds: Iterable[float] = ()) -> None:
        self._seconds = deque(seconds, LENGTH)

    @property
    def seconds(self) -> tuple[float, ...]:
        """The run times."""
        return tuple(self._seconds)

    def add(self, seconds: float) -> None:
        """Remember another run, and forget the oldest if there are too many."""
        self._seconds.append(round(seconds, 3))

    def heir(self) -> History:
        """What the next version of the model begins with."""
        return History(self.seconds[-INHERITED:])

    def to_json(self) -> str:
        """As one line of JSON."""
        return json.dumps(self.seconds)

    @classmethod
    def from_json(cls, text: str) -> History:
        """What `to_json` wrote; empty where that cannot be read, since run times are learnt again."""
        try:
            seconds = [float(value) for value in json.loads(text)]
        except (ValueError, TypeError):
            return cls()
        return cls(value for value in seconds if value >= 0 and math.isfinite(value))
