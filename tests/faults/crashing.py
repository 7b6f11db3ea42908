"""`etagere`, killed at the n-th arrival at a named point: `python crashing.py POINT N DIRECTORY serve …`.

Arrivals count while DIRECTORY has a file `armed`. The point's name is in its file `reached` before the end.
"""

from __future__ import annotations

import inspect
import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
# Run as a script, its own folder would go before the modules of others.
sys.path[0] = str(ROOT)

from tests.faults.crash_points import POINTS, Point  # noqa: E402

from etagere import cli  # noqa: E402
from etagere.caches import sqlite  # noqa: E402
from etagere.database import Database  # noqa: E402
from etagere.errors import StorageFull  # noqa: E402

Function = Callable[..., Any]


class Killer:
    """Counts the arrivals at one point."""

    def __init__(self, point: Point, nth: int, directory: Path) -> None:
        self._point = point
        self._left = nth
        self._directory = directory
        self._counting = threading.Lock()
        self._in_transaction = False
        self._failed = False

    def arrive(self) -> None:
        with self._counting:
            self._left -= 1
            if self._left:
                return
            (self._directory / "reached").write_text(self._point.name)
            os.kill(os.getpid(), signal.SIGKILL)

    def counts(self, *arguments: Any, **named: Any) -> bool:
        only = self._point.only
        return self._armed() and (only is None or only(*arguments, **named))

    def entering(self, *arguments: Any, **named: Any) -> bool:
        """Called before the function; whether its end is an arrival, if that is what counts."""
        counts = self.counts(*arguments, **named)
        if counts and self._point.when == "before":
            self.arrive()
        return counts

    def leaving(self, counts: bool) -> None:
        if counts and self._point.when == "after":
            self.arrive()
        self._in_transaction |= counts and self._point.when == "committed"

    def committed(self, original: Function) -> Function:
        @wraps(original)
        def commit(*arguments: Any) -> None:
            original(*arguments)
            if self._in_transaction:
                self._in_transaction = False
                self.arrive()

        return commit

    def around(self, original: Function) -> Function:
        @wraps(original)
        def call(*arguments: Any, **named: Any) -> Any:
            counts = self.entering(*arguments, **named)
            result = original(*arguments, **named)
            self.leaving(counts)
            return result

        @wraps(original)
        async def call_async(*arguments: Any, **named: Any) -> Any:
            counts = self.entering(*arguments, **named)
            result = await original(*arguments, **named)
            self.leaving(counts)
            return result

        return call_async if inspect.iscoroutinefunction(original) else call

    def fail_once(self, original: Function) -> Function:
        @wraps(original)
        def call(*arguments: Any, **named: Any) -> Any:
            if self._armed() and not self._failed:
                self._failed = True
                raise StorageFull("There is no room, once.")
            return original(*arguments, **named)

        return call

    def _armed(self) -> bool:
        return (self._directory / "armed").exists()


def replace(where: str, make: Callable[[Any], Any]) -> None:
    """Put another object in the place of `module:name`, which must be there."""
    module, _, name = where.partition(":")
    owner: Any = import_module(module)
    *path, last = name.split(".")
    for step in path:
        owner = getattr(owner, step)
    setattr(owner, last, make(getattr(owner, last)))


def prepare(point: Point, nth: int, directory: Path) -> None:
    killer = Killer(point, nth, directory)
    replace(point.where, killer.around)
    Database._commit = killer.committed(Database._commit)  # type: ignore[method-assign]
    for where, value in point.changes.items():
        replace(where, lambda _, value=value: value)
    if point.fails is not None:
        replace(point.fails, killer.fail_once)
    if point.chapter == "evict":
        # What takes a minute and a million elsewhere is to happen here.
        sqlite.SqliteCache.__init__.__defaults__ = (0.0, 4)  # type: ignore[misc]
        sqlite.TOUCHES_EVERY_S = 0.0


if __name__ == "__main__":
    prepare(POINTS[sys.argv[1]], int(sys.argv[2]), Path(sys.argv[3]))
    sys.argv = ["etagere", *sys.argv[4:]]
    cli.main()
