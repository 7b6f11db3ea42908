"""How far a run is: `progress` and `track` for models.

Outside a run both do nothing. Inside, they belong to the whole process and may be called from any
thread: a report is one short write, which the kernel does not tear, so there is nothing to lock.
"""

from __future__ import annotations

import math
import operator
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

Send = Callable[[float, str], None]

_PER_SECOND = 10.0
_LONGEST_MESSAGE = 500


class Reporter:
    """Sends what a model reports, at most ten times a second in the long run.

    A burst of ten goes through at once, so that the few reports of a model that works in stages
    are never held back: the last one may have to stand for an hour.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._last: tuple[float, str] | None = None
        self._budget = _PER_SECOND
        self._counted = time.monotonic()
        self.outermost = threading.Lock()

    def report(self, fraction: float, message: str) -> None:
        """Send this, unless it says nothing new or comes too soon; the end always goes through."""
        if math.isnan(fraction):
            return
        value = (min(1.0, max(0.0, float(fraction))), message[:_LONGEST_MESSAGE])
        if value != self._last and (self._affordable() or value[0] == 1.0):
            self._last = value
            self._send(*value)

    def _affordable(self) -> bool:
        now = time.monotonic()
        self._budget = min(_PER_SECOND, self._budget + (now - self._counted) * _PER_SECOND)
        self._counted = now
        if self._budget < 1.0:
            return False
        self._budget -= 1.0
        return True


class _Process:
    """The run that this process is; none unless `report_to` was called."""

    reporter: Reporter | None = None


def report_to(send: Send | None) -> None:
    """Make this process a run whose progress goes to `send`, or none of it with None."""
    _Process.reporter = None if send is None else Reporter(send)


def progress(fraction: float, message: str = "") -> None:
    """Report how far the run is, from 0 to 1; values outside are clamped.

    It may go down again. A `message` says in a few words what is being done.
    """
    if _Process.reporter is not None:
        _Process.reporter.report(fraction, message)


def track(iterable: Iterable[T], total: int | None = None, message: str = "") -> Iterator[T]:
    """The same items, and progress as they are taken.

    `total` is how many there will be, where the iterable cannot tell. Of tracks within each other
    only the outermost counts. Without a number of items only the end is reported.
    """
    reporter = _Process.reporter
    return iter(iterable) if reporter is None else _tracked(reporter, iterable, total, message)


def _tracked(reporter: Reporter, iterable: Iterable[T], total: int | None, message: str) -> Iterator[T]:
    if not reporter.outermost.acquire(blocking=False):
        yield from iterable
        return
    try:
        expected = operator.length_hint(iterable) if total is None else total
        for done, item in enumerate(iterable):
            if expected > 0:
                reporter.report(done / expected, message)
            yield item
        reporter.report(1.0, message)
    finally:
        reporter.outermost.release()
