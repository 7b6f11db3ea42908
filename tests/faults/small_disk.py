"""A small file system in a mount namespace of its own: it is gone with its holder, whatever happens to the test."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path


class NoSmallDisk(Exception):
    """This machine lets nobody mount; the message is the system's."""


class SmallDisk:
    """A tmpfs of `mebibytes`. `enter` starts commands that see it at `path`; others see it at `inside`."""

    def __init__(self, path: Path, mebibytes: int) -> None:
        self.path = path
        path.mkdir()
        mount = f'mount -t tmpfs -o size={mebibytes}m tmpfs "$0" && echo mounted && exec cat'
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--user", "--map-root-user", "sh", "-c", mount, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stderr is not None
        if self._holder.stdout.readline() != b"mounted\n":
            self._holder.wait()
            reason = self._holder.stderr.read().decode()
            self._close()
            raise NoSmallDisk(reason.strip())

    @property
    def enter(self) -> tuple[str, ...]:
        namespaces = ("--user", "--mount", "--preserve-credentials")
        return ("nsenter", "--target", str(self._holder.pid), *namespaces, f"--wd={os.getcwd()}", "--")

    @property
    def inside(self) -> Path:
        return Path(f"/proc/{self._holder.pid}/root{self.path}")

    def fill(self, leave: int = 0) -> None:
        """Take all room but some bytes."""
        ballast = os.open(self.inside / "ballast", os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            while not _extended(ballast, leave):
                pass
        finally:
            os.close(ballast)

    def empty(self) -> None:
        """Give the room back."""
        (self.inside / "ballast").unlink(missing_ok=True)

    def close(self) -> None:
        """Let the file system go."""
        self._holder.kill()
        self._holder.wait()
        self._close()

    def _close(self) -> None:
        for stream in (self._holder.stdin, self._holder.stdout, self._holder.stderr):
            if stream is not None:
                stream.close()


def _extended(ballast: int, leave: int) -> bool:
    """Whether the file could take the room that there was: meanwhile somebody else may have taken some of it."""
    free = os.fstatvfs(ballast)
    try:
        os.posix_fallocate(ballast, 0, max(1, os.fstat(ballast).st_size + free.f_bavail * free.f_bsize - leave))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False
    return True
