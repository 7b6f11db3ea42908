"""Large bodies: files named by the SHA-256 of their content, below one directory.

A file is complete before it gets its name and durable before anything refers to it: written,
fsynced, renamed, the directory fsynced. All functions block, and belong in a thread.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from etagere.errors import StorageFull

# What the disk did; that a file is too large (EFBIG) is the fault of the one result.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)
_CANNOT_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP)


def blob_name(digest: bytes) -> str:
    """What a blob is called: `ab/abcdef…`, the digest in hexadecimal below its first two digits."""
    text = digest.hex()
    return f"{text[:2]}/{text}"


class Blobs:
    """The blob directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def name(self, digest: bytes) -> str:
        """The name of the content with this SHA-256."""
        return blob_name(digest)

    def name_of(self, path: Path) -> str:
        """The name of the blob at this path."""
        return f"{path.parent.name}/{path.name}"

    def path(self, name: str) -> Path:
        """The absolute path of a blob."""
        return self.directory / name

    def adopt(self, name: str, content: bytes | Path, mtime_ns: int | None) -> int:
        """Keep the content under this name, replacing what is there; its modification time in ns.

        A file is linked where that can be done, else copied, and left where it is: nothing is
        lost if what refers to the blob cannot be recorded. With `mtime_ns`, that becomes the
        modification time, for those who know a blob of this name by it.

        Raises:
            StorageFull: there is no room; nothing was changed.
            FileNotFoundError: the file to adopt does not exist.
        """
        target = self.path(name)
        # One writer at a time, so the name may be fixed; a crash leaves it to `sweep`.
        temporary = target.with_suffix(".tmp")
        try:
            if not target.parent.is_dir():
                target.parent.mkdir(mode=0o700)
                _sync(self.directory)
            temporary.unlink(missing_ok=True)
            try:
                _place(content, temporary)
                if mtime_ns is not None:
                    os.utime(temporary, ns=(mtime_ns, mtime_ns))
                _sync(temporary)
                kept_mtime = temporary.stat().st_mtime_ns
                temporary.replace(target)
            finally:
                # Renaming one link of a file over another of the same file leaves both.
                temporary.unlink(missing_ok=True)
            _sync(target.parent)
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise StorageFull("There is no room for the result at the moment.") from error
            raise
        return kept_mtime

    def open(self, path: Path, size: int, mtime_ns: int) -> BinaryIO:
        """A blob for reading, which removing it does not end.

        Raises:
            FileNotFoundError: it is gone, or not the file that was adopted.
        """
        file = path.open("rb", buffering=0)
        found = os.fstat(file.fileno())
        if (found.st_size, found.st_mtime_ns) != (size, mtime_ns):
            file.close()
            raise FileNotFoundError(errno.ENOENT, "the file is not the one that was collected", str(path))
        return file

    def remove(self, names: Iterable[str]) -> None:
        """Remove blobs; those that are gone already are no error."""
        for name in names:
            self.path(name).unlink(missing_ok=True)

    def names(self) -> Iterator[str]:
        """What is there, unfinished files included."""
        for path in self.directory.glob("??/*"):
            yield str(path.relative_to(self.directory))


def _place(content: bytes | Path, target: Path) -> None:
    if isinstance(content, bytes):
        target.write_bytes(content)
        return
    with _regular(content) as source:
        try:
            os.link(content, target, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _CANNOT_LINK:
                raise
            with target.open("xb") as copy:
                shutil.copyfileobj(source, copy, 1024 * 1024)


@contextmanager
def _regular(path: Path) -> Iterator[BinaryIO]:
    # A symbolic link would be an invitation to publish any file of this machine.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        yield file


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
