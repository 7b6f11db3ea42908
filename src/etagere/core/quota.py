"""How many new runs a client may start in some time: the generic cell rate algorithm (ITU-T I.371), a number a client.

That number is the moment at which a client that starts nothing more has its whole quota back.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_UNITS = {"s": 1, "min": 60, "hour": 3600, "day": 86400}
_QUOTA = re.compile(rf"([1-9][0-9]{{0,8}})/({'|'.join(_UNITS)})")
# Sums of fractions are not exact: a thousandth of a second, or of what a run costs.
_SLACK = 0.001


@dataclass(frozen=True, slots=True)
class Quota:
    """So many `runs` in so many `seconds`. Who has rested that long may start all at once, and then one after another.

    Times are seconds since the epoch. Should the clock be set back, nobody waits for longer than `seconds`.
    """

    runs: int
    seconds: float

    @classmethod
    def parse(cls, text: str) -> Quota:
        """A quota such as `100/hour`: a number of runs for each s, min, hour or day.

        Raises:
            ValueError: it is none.
        """
        found = _QUOTA.fullmatch(text)
        if found is None:
            raise ValueError(f"a quota is so many runs in a time such as 100/hour (s, min, hour, day), not {text[:9]}")
        return cls(int(found[1]), _UNITS[found[2]])

    def charge(self, whole: float, now: float) -> float | None:
        """When the client has its whole quota back if it starts another run now; None where it may not."""
        after = max(self._bounded(whole, now), now) + self.each
        return after if after - now <= self.seconds + self.slack else None

    def refund(self, whole: float) -> float:
        """The same after a run that was not started after all."""
        return whole - self.each

    def wait(self, whole: float, now: float) -> int:
        """Whole seconds until the client may start another run; 0 where it may now."""
        missing = self._bounded(whole, now) + self.each - self.seconds - now
        return math.ceil(missing) if missing > self.slack else 0

    @property
    def each(self) -> float:
        """What a run costs, in seconds."""
        return self.seconds / self.runs

    @property
    def slack(self) -> float:
        """What sums may be inexact by, in seconds."""
        return _SLACK * min(1.0, self.each)

    def _bounded(self, whole: float, now: float) -> float:
        return min(whole, now + self.seconds)
