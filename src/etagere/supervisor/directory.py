"""The directory of one attempt.

`spec.json` are the parameters, `work/` is the run's own, `events` and `output` are FIFOs, and
`result` is where the result will be found, and `result.svg` the second format of a figure.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from pathlib import Path

from etagere import trees
from etagere.results import SECOND


class UnusableResult(Exception):
    """There is a result, but it cannot be taken; the message says why."""


class RunDirectory:
    """Makes, inspects and removes it. What lies in it is the run's doing and not trusted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.result = path / "result"
        self._part = path / "result.part"
        self._second = path / SECOND
        self._work = path / "work"

    def create(self, parameters: bytes) -> None:
        """Make it, in the place of what an attempt of that number may have left."""
        try:
            self.path.mkdir(0o700)
        except FileExistsError:
            self.remove()
            self.path.mkdir(0o700)
        self._work.mkdir(0o700)
        (self.path / "spec.json").write_bytes(parameters)

    def remove(self) -> None:
        """Remove it with everything in it; blocks."""
        trees.remove(self.path)

    def size(self) -> int:
        """The bytes of the result so far."""
        return sum(_size(path) for path in (self.result, self._second, self._part))

    def has_result(self, largest: int) -> bool:
        """Whether a whole result of at most so many bytes is there; a function's is renamed when it is."""
        try:
            found = self.result.lstat()
        except OSError:
            return False
        return stat.S_ISREG(found.st_mode) and found.st_size <= largest

    def take(self, declared: str | None, largest: int) -> bool:
        """Bring the result to its place and check it; False where there is none.

        `declared` is a file in `work/`, where the run has named one.

        Raises:
            UnusableResult: it is not a regular file of the run's own, or larger than `largest` bytes, or
                the run has made its directory such that nothing can be taken from it.
        """
        if declared is not None:
            self._bring(declared)
        try:
            found = self.result.lstat()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise UnusableResult("the result cannot be read") from error
        if not stat.S_ISREG(found.st_mode):
            raise UnusableResult("the result is not a regular file")
        if found.st_size > largest:
            raise UnusableResult(f"the result has more than {largest} bytes")
        return True

    def _bring(self, declared: str) -> None:
        try:
            given = self._work / declared
            real = Path(os.path.realpath(given, strict=True))
            own = stat.S_ISREG(given.lstat().st_mode) and real.is_relative_to(os.path.realpath(self._work))
        except (OSError, ValueError) as error:
            raise UnusableResult("the result that the run named is not there") from error
        if not own:
            raise UnusableResult("the result that the run named is not a regular file of its own")
        try:
            real.replace(self.result)
        except OSError as error:
            raise UnusableResult("the result that the run named cannot be taken") from error


def sweep(directory: Path, kept: Collection[str]) -> None:
    """Remove the directories of attempts whose names are not in `kept`; blocks."""
    for path in directory.iterdir():
        if path.name not in kept:
            RunDirectory(path).remove()


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0
