"""When to ask for a run, given how long the last runs of its model took.

Each ping costs something, and so does each second by which a result is learnt late. `Schedule` has the
moments at which to ask for which both together are expected to be least. Nothing else is assumed of run
times than that they scatter around those that were seen: the fewer these are, the more.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

PINGS_WORTH_A_RUN = 85.0
"""So many pings cost as much as a delay as long as a mean run. For run times of which nothing can be foretold
(exponential ones) that makes a wait of a sixth of the mean, a delay of a twelfth, and five pings in the median."""

MOMENTS = 96
"""So many moments to ask at are considered at most, in equal proportions from the shortest run to the longest."""

NARROWEST, WIDEST = 0.02, 0.8
"""How far a run time is taken to scatter, as a logarithm."""

SCATTER_OF_ONE = 0.5
SHORTEST = 0.001
QUICK = 0.4
"""If all runs are shorter, however they scatter, there is nothing to choose: a second is what can be said."""
TAIL = 0.1
"""The share of its time after which to ask again for a run that is longer than all that were seen."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When to ask for the runs of a model.

    `times` are the run times that were seen, in order. `moments` are whole seconds since a run began, from
    0, and `targets` which of them a client should ask at next that asks now, between that moment and the following.
    """

    times: tuple[float, ...]
    moments: tuple[int, ...]
    targets: tuple[int, ...]

    @classmethod
    def of(cls, seconds: Collection[float]) -> Schedule:
        """The schedule after runs of so many seconds; there must be one at least."""
        times = sorted(max(SHORTEST, value) for value in seconds)
        if times[-1] <= QUICK:
            return cls(tuple(times), (0, 1), (1, 1))
        spread = _spread(times)
        moments = _moments(spread)
        targets = _targets(moments, _shares(spread, moments), PINGS_WORTH_A_RUN * len(times) / sum(times))
        return cls(tuple(times), tuple(moments), tuple(targets))

    @property
    def usual(self) -> float:
        """The median of the run times."""
        return self.times[len(self.times) // 2]

    def wait(self, running: float) -> float:
        """Seconds until a run should be asked for that has been running for so many."""
        if running >= self.moments[-1]:
            return running * TAIL
        return self.targets[bisect_right(self.moments, running) - 1] - running

    def left(self, running: float) -> float | None:
        """Seconds that it may take yet, the median of the longer ones; None where none was longer."""
        times = self.times
        shorter = bisect_right(times, running)
        return times[(shorter + len(times)) // 2] - running if shorter < len(times) else None


def _spread(times: Sequence[float]) -> list[tuple[float, float]]:
    """Between which logarithms each run time might as well have lain: as far away as a quarter of the others."""
    logs = [math.log(value) for value in times]
    count, near = len(logs), len(logs) // 4
    least = max(NARROWEST, SCATTER_OF_ONE / count)
    spread = []
    for n, log in enumerate(logs):
        firsts = range(max(0, n - near), min(n, count - 1 - near) + 1)
        width = min(max(log - logs[first], logs[first + near] - log) for first in firsts)
        width = min(WIDEST, max(least, width))
        spread.append((log - width, log + width))
    return spread


def _moments(spread: Sequence[tuple[float, float]]) -> list[int]:
    """What can be considered: whole seconds, because that is what Retry-After has."""
    low, high = min(low for low, _ in spread), max(high for _, high in spread)
    step = (high - low) / (MOMENTS - 2)
    return [0, *sorted({math.ceil(math.exp(low + step * n)) for n in range(MOMENTS - 1)})]


def _shares(spread: Sequence[tuple[float, float]], moments: Sequence[int]) -> list[float]:
    """Which share of the runs has ended by each moment."""
    rates = [(low, high, 1 / (high - low) / len(spread)) for low, high in spread]
    changes = [*((low, rate) for low, _, rate in rates), *((high, -rate) for _, high, rate in rates)]
    changes.sort(reverse=True)
    share, slope, at, shares = 0.0, 0.0, changes[-1][0], [0.0]
    for moment in moments[1:]:
        log = math.log(moment)
        while changes and changes[-1][0] <= log:
            change, by = changes.pop()
            share, slope, at = share + slope * (change - at), slope + by, change
        share, at = share + slope * (log - at), log
        shares.append(min(1.0, share))
    return [*shares[:-1], 1.0]


def _targets(moments: Sequence[int], shares: Sequence[float], price: float) -> list[int]:
    """For each moment the next to ask at, for which pings and `price` times the delay are least.

    Backwards from the last: the cost of the best choice is known from every later moment on. The
    earlier the moment, the earlier is its best choice, so few have to be compared.
    """
    late = [0.0]
    for (before, ended), (moment, share) in pairwise(zip(moments, shares, strict=True)):
        late.append(late[-1] + (share - ended) * (before + moment) / 2)
    last = len(moments) - 1
    costs, choices = [0.0] * (last + 1), [last] * (last + 1)
    for n in range(last - 1, -1, -1):
        ended, offset = shares[n], price * late[n] + 1 - shares[n]
        costs[n], choices[n] = min(
            (price * (moments[k] * (shares[k] - ended) - late[k]) + offset + costs[k], k)
            for k in range(n + 1, choices[n + 1] + 1)
        )
    return [moments[choice] for choice in choices]
