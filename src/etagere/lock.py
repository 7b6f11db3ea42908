"""The lock of a data directory: one holder, and a word to the next about how it ended."""

from __future__ import annotations

import fcntl
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from etagere.errors import DirectoryLocked


class Lock:
    """The locked directory, which is made (mode 0700) where it is missing.

    The file `lock` names its holder; an orderly end empties it. `clean` tells whether the last holder let go of
    it in order, `broken` whether it found its database broken.

    Raises:
        DirectoryLocked: another process holds it.
        OSError: it cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        self._holder = {"pid": os.getpid(), "started": datetime.now(UTC).isoformat(timespec="seconds")}
        self._descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            before = os.pread(self._descriptor, 1024, 0)
            self.clean, self.broken = not before, _fields(before).get("broken") is True
            self._write(broken=self.broken)
        except BlockingIOError:
            message = f"The data directory {directory} is in use by {_named(os.pread(self._descriptor, 1024, 0))}."
            os.close(self._descriptor)
            raise DirectoryLocked(message) from None
        except BaseException:
            os.close(self._descriptor)
            raise

    def note(self, *, broken: bool) -> None:
        """Tell the next holder whether the database is broken, even if this one is killed.

        Raises:
            OSError: it cannot be written.
        """
        self.broken = broken
        self._write(broken=broken)

    def release(self, *, clean: bool) -> None:
        """Let go of it; in order only if the database was closed so, and is sound."""
        if clean and not self.broken:
            os.ftruncate(self._descriptor, 0)
            os.fsync(self._descriptor)
        os.close(self._descriptor)

    def _write(self, *, broken: bool) -> None:
        content = json.dumps({**self._holder, **({"broken": True} if broken else {})})
        os.ftruncate(self._descriptor, os.pwrite(self._descriptor, content.encode(), 0))
        os.fsync(self._descriptor)


def holder(directory: Path) -> str | None:
    """Who holds the lock of a directory; None where nobody does. Nothing is changed.

    Raises:
        OSError: the lock cannot be looked at.
    """
    try:
        descriptor = os.open(directory / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _named(os.pread(descriptor, 1024, 0))
    finally:
        os.close(descriptor)
    return None


def _named(content: bytes) -> str:
    fields = _fields(content)
    try:
        return f"process {fields['pid']}, started {fields['started']}"
    except KeyError:
        return "another process"


def _fields(content: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(content)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}
