"""What a power failure leaves of SQLite's files.

Their writes and syncs are recorded by an apsw VFS in this process, and replayed in part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import apsw

BASE = "unix"
SECTOR = 512


class Entry(NamedTuple):
    """One thing that happened: `what` is `write`, `truncate`, `sync`, `delete`, or `said`, with a name."""

    what: str
    name: str
    offset: int = 0
    data: bytes = b""


class RecordedDisk(apsw.VFS):
    """The default of all connections while it is entered; `log` is what happened, in order."""

    def __init__(self) -> None:
        self.log: list[Entry] = []
        super().__init__("recorded", BASE)

    @contextmanager
    def used(self) -> Iterator[RecordedDisk]:
        apsw.set_default_vfs("recorded")
        try:
            yield self
        finally:
            apsw.set_default_vfs(BASE)

    def say(self, name: str) -> None:
        """Note that somebody was told that this is durable."""
        self.log.append(Entry("said", name))

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        return _File(self, name, flags)

    def xDelete(self, name: str, sync: bool) -> None:
        self.log.append(Entry("delete", Path(name).name))
        super().xDelete(name, sync)


class _File(apsw.VFSFile):
    def __init__(self, disk: RecordedDisk, name: Any, flags: list[int]) -> None:
        self._log = disk.log
        self._name = Path(name if isinstance(name, str) else name.filename()).name
        super().__init__(BASE, name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._log.append(Entry("write", self._name, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:
        self._log.append(Entry("truncate", self._name, size))
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:
        # Noted when it is over: nothing is promised before.
        super().xSync(flags)
        self._log.append(Entry("sync", self._name))


@dataclass
class _Contents:
    """A file: what is on the disk for certain, and what was written since."""

    durable: bytearray | None = None
    since: list[Entry] = field(default_factory=list)


class Replay:
    """The files as a disk holds them, entry after entry."""

    def __init__(self) -> None:
        self._files: dict[str, _Contents] = {}
        self.said: set[str] = set()

    def advance(self, entries: Sequence[Entry]) -> None:
        """So much more has happened."""
        for entry in entries:
            if entry.what == "said":
                self.said.add(entry.name)
                continue
            file = self._files.setdefault(entry.name, _Contents())
            if entry.what == "sync":
                file.durable = _applied(file.durable, file.since)
                file.since = []
            elif entry.what == "delete":
                self._files[entry.name] = _Contents()
            else:
                file.since.append(entry)

    def cut(self, directory: Path, random: Random) -> None:
        """Write what may be left if the power fails now: of what was not synced, some sectors, chosen at random."""
        kept = random.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        for name, file in self._files.items():
            if file.durable is None and (not file.since or random.random() >= kept):
                continue
            left = [part for entry in file.since for part in _sectors(entry) if random.random() < kept]
            (directory / name).write_bytes(_applied(file.durable, left))


def _applied(durable: bytearray | None, entries: Sequence[Entry]) -> bytearray:
    content = bytearray(durable or b"")
    for entry in entries:
        if entry.what == "truncate":
            del content[entry.offset :]
            content.extend(bytes(max(0, entry.offset - len(content))))
            continue
        content.extend(bytes(max(0, entry.offset - len(content))))
        content[entry.offset : entry.offset + len(entry.data)] = entry.data
    return content


def _sectors(entry: Entry) -> Iterator[Entry]:
    if entry.what == "truncate":
        yield entry
        return
    first = SECTOR - entry.offset % SECTOR
    for start in (0, *range(first, len(entry.data), SECTOR)):
        stop = first if start == 0 else start + SECTOR
        yield Entry("write", entry.name, entry.offset + start, entry.data[start:stop])
