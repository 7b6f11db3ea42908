"""How much of the disk a directory takes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

ENTRIES_AT_ONCE = 2000
_BLOCK = 512


class Usage:
    """Counts what lies below a directory: a number of entries at each call, round and round.

    So a look costs the same however many files there are, and many of them are counted in several looks.
    A file counts by its blocks, a file with several names once, and each by one block more for its inode.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._round = self._walk()
        self._bytes = 0

    def count(self) -> int:
        """Count on; the bytes of this round so far."""
        sizes = list(islice(self._round, ENTRIES_AT_ONCE))
        self._bytes += sum(sizes)
        found = self._bytes
        if len(sizes) < ENTRIES_AT_ONCE:
            self._round, self._bytes = self._walk(), 0
        return found

    def _walk(self) -> Iterator[int]:
        seen: set[tuple[int, int]] = set()
        folders = [str(self._root)]
        while folders:
            for entry in _entries(folders.pop()):
                found = _status(entry)
                if found is None or (found.st_dev, found.st_ino) in seen:
                    yield 0
                    continue
                if stat.S_ISDIR(found.st_mode):
                    folders.append(entry.path)
                elif found.st_nlink > 1:
                    seen.add((found.st_dev, found.st_ino))
                yield (found.st_blocks + 1) * _BLOCK


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    # What a run removes or locks while it is looked at is not there to be counted.
    with suppress(OSError), os.scandir(folder) as entries:
        yield from entries


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except OSError:
        return None
