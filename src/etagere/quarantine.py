"""`quarantine/` in the data directory: what was stored and is not what it should be, for somebody to look at."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from etagere.logs import get_logger

MOST = 8
MOST_BYTES = 1024 * 1024 * 1024
"""The newest alone may be larger."""

_PARTS = ("", "-wal", "-shm")

log = get_logger("etagere.quarantine")


class Quarantine:
    """Bounded, so that a failing disk does not fill it: the newest `MOST` things of `MOST_BYTES` in all.

    Its methods block.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def set_aside(self, database: Path, stamp: str) -> Path:
        """Move a database with its log, to a name that ends in `stamp`; where it is now.

        Raises:
            OSError: it cannot be moved.
        """
        target = next(path for path in _names(self.directory / f"{database.name}-{stamp}") if not path.exists())
        self.directory.mkdir(mode=0o700, exist_ok=True)
        # The database itself goes last: a crash in between leaves it to be found broken again.
        for part in reversed(_PARTS):
            with suppress(FileNotFoundError):
                os.replace(f"{database}{part}", f"{target}{part}")
        with suppress(OSError):
            self._trim()
        return target

    def take(self, file: Path) -> None:
        """Move a file here; one that cannot be moved stays where it is."""
        try:
            self.directory.mkdir(mode=0o700, exist_ok=True)
            file.replace(self.directory / file.name)
            self._trim()
        except OSError as error:
            log.error("not put into quarantine", file=file.name, reason=error.strerror)

    def keep(self, name: str, content: bytes) -> None:
        """Write a copy of what is elsewhere, if that can be done."""
        try:
            self.directory.mkdir(mode=0o700, exist_ok=True)
            (self.directory / name).write_bytes(content)
            self._trim()
        except OSError as error:
            log.error("not put into quarantine", file=name, reason=error.strerror)

    def _trim(self) -> None:
        things: dict[str, list[tuple[Path, os.stat_result]]] = {}
        for path in self.directory.iterdir():
            things.setdefault(re.sub("-(wal|shm)$", "", path.name), []).append((path, path.stat()))
        # Moving a file changes this time, and not that of its content.
        newest = sorted(things.values(), key=lambda thing: max(found.st_ctime_ns for _, found in thing), reverse=True)
        size = 0
        for number, thing in enumerate(newest):
            size += sum(found.st_size for _, found in thing)
            if number and (number >= MOST or size > MOST_BYTES):
                for path, _ in thing:
                    path.unlink(missing_ok=True)


def _names(path: Path) -> Iterator[Path]:
    """The path, and others like it."""
    yield path
    number = 2
    while True:
        yield path.with_name(f"{path.name}.{number}")
        number += 1
