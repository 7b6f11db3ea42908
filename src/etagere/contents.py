"""What is in a file that somebody else has written: its size, digest and, where it is small, its bytes."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import NamedTuple

from etagere.core.representation import INLINE_BYTES


class Contents(NamedTuple):
    """Size in bytes, SHA-256, and the bytes themselves where they are at most 1 MiB."""

    size: int
    digest: bytes
    body: bytes | None

    @classmethod
    def of(cls, body: bytes) -> Contents:
        """Those of a small body."""
        return cls(len(body), hashlib.sha256(body).digest(), body)


def read(path: Path, largest: int) -> Contents:
    """Read and hash a file; blocks.

    Raises:
        ValueError: it has more than `largest` bytes, or is no regular file.
        OSError: it cannot be read.
    """
    # The run may not be over: what it puts in the place of its result must not make us wait.
    with os.fdopen(_opened(path), "rb") as file:
        body = file.read(INLINE_BYTES + 1)
        if len(body) <= INLINE_BYTES:
            return Contents.of(body)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").digest()
        size = file.tell()
    if size > largest:
        raise ValueError(f"the result has {size} bytes, more than the limit")
    return Contents(size, digest, None)


def _opened(path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise ValueError("the result is not a regular file")
