"""A directory for a process of which nothing has to last."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from etagere.lock import Lock, holder

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
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release(clean=False)


def _sweep(place: Path) -> None:
    for left in place.glob(f"{_HELD}*"):
        with suppress(OSError):
            if left.stat().st_uid == os.getuid() and (left / "lock").exists() and holder(left) is None:
                shutil.rmtree(left, ignore_errors=True)
