"""When to ask again, and how long it may take yet."""

from __future__ import annotations

import math
from typing import NamedTuple

from etagere.core.lifecycle import Run
from etagere.core.schedule import Schedule

SOONEST, LATEST = 1, 30
LONGEST = 1800
"""The largest Retry-After, for models whose run times are known."""

TELLING = 0.01
"""Progress below this says nothing yet of the time that is left."""

FARTHEST, NEAREST = 0.5, 0.02
"""What progress foretells is waited for, within these shares of the time that the run has taken."""

HALFWAY = 0.5


class Pace(NamedTuple):
    """Whole seconds until the next ping is worth while, and the seconds left, None where they are unknown."""

    retry_after: int
    eta: float | None


class Places(NamedTuple):
    """How many runs of a model can go on at once, and how many more could begin now.

    `each` is what one of those that wait takes in the mean, in seconds; None where that is unknown.
    """

    at_once: int
    free: int
    each: float | None = None


_UNKNOWN = [Pace(seconds, None) for seconds in range(LATEST + 1)]


def retry_after(elapsed: float) -> int:
    """Seconds until the next ping of a run that began `elapsed` seconds ago, of a model that nothing is known of.

    A tenth of the time gone by, so that the delay which polling adds stays in proportion.
    """
    tenth = int(elapsed / 10)
    return SOONEST if tenth < SOONEST else tenth if tenth < LATEST else LATEST


def pace(run: Run, position: int | None, now: float, schedule: Schedule | None, places: Places | None) -> Pace:
    """The pace of a pending run; `position` is its rank in the queue, `places` are what its model has.

    With a schedule it is that of the model's run times. While the run is queued, half of the time until it begins
    is added: what others take is a guess. What the run itself reports of its progress takes the place of it,
    within limits.
    """
    if schedule is None and run.progress is None:
        return _UNKNOWN[retry_after(now - run.created)]
    if run.started is None:
        # One without a position has been claimed since it was looked at.
        assert schedule is not None, "a run reports nothing before it has begun"
        begins = 0.0 if position is None or places is None else _begins(position, schedule, places)
        return Pace(_seconds(HALFWAY * begins + schedule.wait(0.0)), begins + (schedule.left(0.0) or 0.0))
    running = max(0.0, now - run.started)
    wait = retry_after(now - run.created) if schedule is None else schedule.wait(running)
    usual = None if schedule is None else schedule.left(running)
    if run.progress is None or run.progress < TELLING or running == 0:
        return Pace(_seconds(wait), usual)
    left = eta(running, run.progress, usual)
    return Pace(_seconds(max(NEAREST * running, min(left, max(wait, FARTHEST * running)))), left)


def eta(running: float, progress: float, usual: float | None = None) -> float:
    """Seconds left of a run that has come as far as `progress` (above 0, at most 1) in `running` seconds.

    `usual` is what is left by the run times of its model; it counts the less, the farther the run is.
    """
    foretold = running * (1 - progress) / progress
    return foretold if usual is None else progress * foretold + (1 - progress) * usual


def remember(told: float) -> float:
    """Seconds to remember an outcome at least, if clients were told to ask again after `told` seconds.

    A failure that was forgotten between two pings would be computed again, for ever.
    """
    return 3.0 * told


def patience(least: float, retry_after: float) -> float:
    """Seconds without a request after which a run counts as abandoned: `least`, or ten times the last Retry-After.

    A client that misses a few of its pings has not given up.
    """
    return max(least, 10.0 * retry_after)


def _begins(position: int, schedule: Schedule, places: Places) -> float:
    """Seconds until a queued run begins."""
    each = schedule.usual if places.each is None else places.each
    return max(0, position - max(0, places.free)) * each / places.at_once


def _seconds(wait: float) -> int:
    return math.ceil(wait) if SOONEST <= wait <= LONGEST else SOONEST if wait < SOONEST else LONGEST
