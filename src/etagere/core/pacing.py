"""When to ask again, and how long it may take yet."""

from __future__ import annotations

SOONEST, LATEST = 1, 30
TELLING = 0.01
"""Progress below this says nothing yet of the time that is left."""


def retry_after(elapsed: float) -> int:
    """Seconds until the next ping is worth while, for a run that began `elapsed` seconds ago.

    A tenth of the time gone by, so that the delay which polling adds stays in proportion.
    """
    return max(SOONEST, min(LATEST, int(elapsed / 10)))


def eta(running: float, progress: float | None) -> float | None:
    """Seconds left of a run that has come as far as `progress` (0 to 1) in `running` seconds; None if unknown."""
    if progress is None or progress < TELLING or running <= 0:
        return None
    return running * (1 - progress) / progress


def remember(failure_ttl: float, elapsed: float) -> float:
    """Seconds to remember a failure: `failure_ttl`, or three times the last Retry-After if that is longer.

    A failure that was forgotten between two pings would be computed again, for ever.
    """
    return max(failure_ttl, 3.0 * retry_after(elapsed))


def patience(least: float, retry_after: float) -> float:
    """Seconds without a request after which a run counts as abandoned: `least`, or ten times the last Retry-After.

    A client that misses a few of its pings has not given up.
    """
    return max(least, 10.0 * retry_after)
