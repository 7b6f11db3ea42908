"""Tells every client of a pending run when to ask again, and learns from each run that has ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from etagere.core import pacing
from etagere.core.history import History
from etagere.core.lifecycle import Run
from etagere.core.pacing import Pace, Places
from etagere.core.schedule import Schedule

RENEWED_AFTER = 0.1
"""A schedule is made anew, and the history saved, when that has grown by this share of itself."""


_SECONDS = 4096


class _Learnt:
    """A model's history and the schedule made of it, `news` runs ago."""

    __slots__ = ("history", "news", "paces", "schedule")

    def __init__(self, history: History) -> None:
        self.history = history
        self.news = 0
        self.schedule = Schedule.of(history.seconds) if history.seconds else None
        self.paces: dict[int, Pace] = {}

    def add(self, seconds: float) -> bool:
        """Whether that made a new schedule."""
        self.history.add(seconds)
        self.news += 1
        if self.news < RENEWED_AFTER * len(self.history.seconds):
            return False
        self.news = 0
        self.schedule = Schedule.of(self.history.seconds)
        return True


class Pacer:
    """Paces by the run times of each model (`name@version`).

    `places` tells how many runs of a model may go on, `save` keeps a history, `waiting` tells how many runs of each
    model wait in a queue. Runs that
    were pending at `since` (seconds since the epoch) may have been told something by an earlier service.
    """

    def __init__(
        self,
        histories: Mapping[str, History],
        places: Callable[[str], Places],
        save: Callable[[str, History], None],
        since: float,
        waiting: Callable[[str], Mapping[str, int]] = lambda queue: {},
    ) -> None:
        self._models = {model: _Learnt(history) for model, history in histories.items()}
        self._places = places
        self._save = save
        self._since = since
        self._waiting = waiting
        self._told: dict[str, int] = {}

    def pace(self, run: Run, position: int | None, now: float) -> Pace:
        """The pace of a pending run; nothing is noted of it."""
        learnt = self._models.get(run.model)
        schedule = learnt.schedule if learnt else None
        places = None
        if schedule and run.started is None:
            places = self._places(run.model)._replace(each=self._each(run.queue))
        return pacing.pace(run, position, now, schedule, places)

    def tell(self, run: Run, position: int | None, now: float) -> Pace:
        """The same for a client, who is then expected to ask again after `retry_after`."""
        # Every ping comes by here: look-ups, and most often no more.
        pace = self._usual(run, now) or self.pace(run, position, now)
        if pace.retry_after > self._told.get(run.id, 0):
            self._told[run.id] = pace.retry_after
        return pace

    def _usual(self, run: Run, now: float) -> Pace | None:
        """The pace of a run that reports no progress, which depends on how many seconds it has been running alone."""
        learnt = self._models.get(run.model)
        if learnt is None or learnt.schedule is None or run.started is None or run.progress is not None:
            return None
        second = int(now - run.started)
        pace = learnt.paces.get(second)
        if pace is None:
            if len(learnt.paces) >= _SECONDS:
                learnt.paces = {}
            pace = learnt.paces[second] = self.pace(run, None, run.started + second)
        return pace

    def _each(self, queue: str) -> float | None:
        """What a run that waits in this queue takes in the mean, as far as its model is known."""
        seconds, runs = 0.0, 0
        for model, number in self._waiting(queue).items():
            learnt = self._models.get(model)
            if learnt is not None and learnt.schedule is not None:
                seconds += number * learnt.schedule.usual
                runs += number
        return seconds / runs if runs else None

    def told(self, id: str) -> int:
        """The longest Retry-After that any client of a pending run was given by this service."""
        return self._told.get(id, pacing.SOONEST)

    def told_at_most(self, run: Run) -> int:
        """The longest Retry-After that any client of a pending run may have been given, by an earlier service too."""
        known = self.told(run.id)
        if run.created >= self._since:
            return known
        return max(known, pacing.LONGEST if run.model in self._models else pacing.LATEST)

    def learn(self, model: str, seconds: float) -> None:
        """A run of this model has ended after so many seconds."""
        learnt = self._models.setdefault(model, _Learnt(History()))
        if learnt.add(seconds):
            self._save(model, learnt.history)

    def forget(self, id: str) -> None:
        """Nobody waits for this run any more."""
        self._told.pop(id, None)
