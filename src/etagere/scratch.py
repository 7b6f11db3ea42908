"""A directory for a process of which nothing has to last."""

from __future__ import annotations

import os
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from etagere import trees
from etagere.lock import Lock, holder

LOCK = "lock"
MAKING_S = 3600.0

_NEW, _HELD = "etagere-new-", "etagere-host-"


class Scratch:
    """A new temporary directory, `path`, which this process holds; those that killed ones have left are removed.

    Raises:
        OSError: there can be none.
    """

    def __init__(self) -> None:
        made = Path(tempfile.mkdtemp(prefix=_NEW))
        # It is held before others see that it might not be.
        self._lock = Lock(made)
        self.path = made.rename(made.with_name(made.name.replace(_NEW, _HELD)))
        _sweep(self.path.parent)

    def remove(self) -> None:
        """Give it up."""
        with suppress(OSError):
            _remove(self.path)
        self._lock.release(clean=False)


def _sweep(place: Path) -> None:
    for left in (*place.glob(f"{_HELD}*"), *place.glob(f"{_NEW}*")):
        with suppress(OSError):
            about = left.lstat()
            if about.st_uid == os.getuid() and stat.S_ISDIR(about.st_mode) and _is_left(left, about.st_mtime):
                _remove(left)


def _is_left(directory: Path, changed: float) -> bool:
    if directory.name.startswith(_HELD) and (directory / LOCK).exists():
        return holder(directory) is None
    # It is being made, or was.
    return time.time() - changed > MAKING_S


def _remove(directory: Path) -> None:
    # What is removed in part only is removed by the next, as long as there is the lock.
    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            trees.remove(path)
        elif path.name != LOCK:
            path.unlink()
    trees.remove(directory)
