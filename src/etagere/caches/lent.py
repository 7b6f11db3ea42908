"""Blobs whose path was given to a server, which opens it in its own time and does not say when."""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from etagere.ports import Clock

# A server opens what it is told to send within milliseconds.
LENT_S = 10.0


class Lent:
    """What was lent is not removed for `LENT_S`; `kept` are the names of those that only wait for that."""

    def __init__(self, clock: Clock) -> None:
        self.kept: frozenset[str] = frozenset()
        self._clock = clock
        self._until: dict[str, float] = {}
        self._leaving: frozenset[str] = frozenset()

    def lend(self, path: Path) -> None:
        """Keep the blob at `path` for a while.

        Raises:
            FileNotFoundError: it is just being removed.
        """
        name = f"{path.parent.name}/{path.name}"
        if name in self._leaving:
            raise FileNotFoundError(errno.ENOENT, "the file is being removed", str(path))
        self._until[name] = self._clock.monotonic() + LENT_S

    @contextmanager
    def removing(self, names: Collection[str]) -> Iterator[frozenset[str]]:
        """Those of the names that may be removed within this context; the others wait in `kept`.

        The names are all that could be removed, those in `kept` included.
        """
        now = self._clock.monotonic()
        self._until = {name: until for name, until in self._until.items() if until > now}
        self.kept = frozenset(name for name in names if name in self._until)
        self._leaving = frozenset(names) - self.kept
        try:
            yield self._leaving
        finally:
            self._leaving = frozenset()

    def end(self) -> frozenset[str]:
        """What was kept and may go now: nobody is given a path any more."""
        self._until = {}
        return self.kept
