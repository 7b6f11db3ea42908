"""What a service has done since it started, in plain numbers: counted with next to no cost, for whoever watches it."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from enum import StrEnum
from itertools import accumulate
from typing import NamedTuple

from etagere.core.lifecycle import State
from etagere.core.representation import Kind, Representation

BUCKETS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 180.0, 600.0, 1800.0, 3600.0, 14400.0, 86400.0)
"""The run times that are told apart, in seconds."""

NEW = 10_000
"""So many results that nobody has come for yet are remembered."""


class Answered(StrEnum):
    """The kinds of answer, one for each request."""

    hit = "hit"
    partial = "partial"
    revalidated = "revalidated"
    waited = "waited"
    started = "started"
    joined = "joined"
    pending = "pending"
    refused = "refused"
    failed = "failed"
    rejected = "rejected"
    unavailable = "unavailable"
    error = "error"
    other = "other"


class Saved:
    """Seconds of computation that were not needed again, of one model."""

    __slots__ = ("seconds",)

    def __init__(self) -> None:
        self.seconds = 0.0


class RunTimes:
    """How long the runs of one model took."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._counts = [0] * (len(BUCKETS) + 1)

    def add(self, seconds: float) -> None:
        """Another run has taken so long."""
        self.seconds += seconds
        self._counts[bisect_left(BUCKETS, seconds)] += 1

    def cumulated(self) -> Iterator[tuple[float, int]]:
        """Each bound with the number of runs up to and with it; the last bound is infinity."""
        return zip((*BUCKETS, float("inf")), accumulate(self._counts), strict=True)


class Tally:
    """The counts of one service. Models are keys (`name@version`)."""

    def __init__(self) -> None:
        self.answers = dict.fromkeys(Answered, 0)
        self.ended: Counter[tuple[str, Kind]] = Counter()
        self.times: dict[str, RunTimes] = {}
        self.saved: dict[str, Saved] = {}
        self._new: dict[str, None] = {}

    def end(self, id: str, model: str, kind: Kind, seconds: float) -> None:
        """A run has ended. Its first answer is what it was for; each further one saves a run."""
        self.ended[model, kind] += 1
        if kind is not Kind.poison:  # that is of several attempts
            self.times.setdefault(model, RunTimes()).add(seconds)
        if kind is Kind.succeeded:
            self._new[id] = None
            if len(self._new) > NEW:
                del self._new[next(iter(self._new))]

    def serve(self, model: str, found: Representation) -> Saved:
        """A result of this model is given to somebody; further ones may be added to what is returned."""
        saved = self.saved.setdefault(model, Saved())
        if found.id in self._new:
            del self._new[found.id]
        else:
            saved.seconds += found.seconds
        return saved


class Waiting(NamedTuple):
    """The queued runs of one queue: how many, and when the oldest that somebody still wants was accepted, if any is."""

    runs: int
    since: float | None


class Overview(NamedTuple):
    """The pending runs: how many of each model in each state, and what waits in each queue."""

    runs: Mapping[tuple[str, State], int]
    queues: Mapping[str, Waiting]


class Held(NamedTuple):
    """What a cache holds: bytes, representations with variants, ghosts (a long URI counts as several).

    `evicted` is how many representations had to go since the start.
    """

    size: int
    representations: int
    ghosts: int
    evicted: int
