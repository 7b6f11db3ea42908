"""A disk that fails on command, below a real SQLite: an apsw VFS in this process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import apsw

BASE = "unix"
ERRORS: dict[str, type[apsw.Error]] = {"EIO": apsw.IOError, "ENOSPC": apsw.FullError}


@dataclass
class Fault:
    """From the n-th call of `kind` on (`write` or `sync`), once or persistently: an error, or a delay."""

    kind: str
    nth: int
    error: str = ""
    persistent: bool = False
    delay: float = 0.0
    calls: int = 0

    def call(self, kind: str) -> None:
        """One call.

        Raises:
            apsw.Error: it is its turn to fail.
        """
        if kind != self.kind:
            return
        self.calls += 1
        if self.calls == self.nth or (self.persistent and self.calls > self.nth):
            time.sleep(self.delay)
            if self.error:
                raise ERRORS[self.error](f"injected at {kind} {self.calls}")

    @property
    def happened(self) -> bool:
        return self.calls >= self.nth


class FailingDisk(apsw.VFS):
    """The default of all connections while it is entered; without a `fault` it is like any other."""

    def __init__(self) -> None:
        self.fault: Fault | None = None
        super().__init__("failing", BASE)

    @contextmanager
    def used(self) -> Iterator[FailingDisk]:
        apsw.set_default_vfs("failing")
        try:
            yield self
        finally:
            apsw.set_default_vfs(BASE)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        return _File(self, name, flags)


class _File(apsw.VFSFile):
    def __init__(self, disk: FailingDisk, name: Any, flags: list[int]) -> None:
        self._disk = disk
        super().__init__(BASE, name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._pass("write")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        self._pass("sync")
        super().xSync(flags)

    def _pass(self, kind: str) -> None:
        if self._disk.fault is not None:
            self._disk.fault.call(kind)
