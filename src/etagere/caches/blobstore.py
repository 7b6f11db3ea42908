"""Where many machines share large results: a directory that all have, or an S3-compatible store."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.parse import quote, unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, S3Store, from_url

from etagere.errors import StartError, StorageFull
from etagere.logs import without_password

CHUNK = 1024 * 1024
PART = 8 * 1024 * 1024
PARTS_AT_ONCE = 4
TRANSFERS_AT_ONCE = 8
CONNECT_S, SILENT_S, WHOLE_S = "5s", "20s", "6h"
"""How long a connection, the next byte, and a whole transfer may take."""
RETRIES = 3
RETRIED_WITHIN = timedelta(seconds=10)

_UNFINISHED = re.compile(r"#[0-9]+$")
_AWAY = "The place that results are shared at cannot be used at the moment."


class Listed(NamedTuple):
    """A blob, its bytes, and how long ago it was put, in seconds."""

    name: str
    size: int
    age: float


class BlobStore:
    """Blobs by their names, at a URL such as file:///shared/results or s3://bucket/prefix; directories are there.

    What an S3-compatible store needs besides (region, endpoint, credentials) stands in AWS_* variables. Whoever asks
    must be allowed to list its blobs: to others, S3 says of a missing one that they may not see it.

    Raises:
        StartError: the URL leads to no such place.
    """

    def __init__(self, url: str) -> None:
        self.url = without_password(url)
        try:
            self._directory = _directory(url)
            self._store = _opened(url) if self._directory is None else LocalStore(self._directory)
        except (BaseError, ValueError, OSError) as error:
            raise StartError(f"Results cannot be shared at {self.url}: {error}") from error
        # Threads, since a process that ends soon after something was awaited from obstore may abort, see issue 40 of
        # pyo3-async-runtimes; and their own, since what takes minutes must not use up those that asyncio has.
        self._transfers = ThreadPoolExecutor(TRANSFERS_AT_ONCE, "blobs")

    async def put(self, path: Path, name: str) -> None:
        """Keep a file under this name, at once and in the place of what was there; it is read in parts.

        Raises:
            OSError: the file cannot be read.
            StorageFull: that could not be done now.
        """
        await self._transfer(_upload, path, name, self._directory)

    async def fetch(self, name: str, target: Path, size: int, digest: bytes) -> None:
        """Write a blob to a file, which is there only if all of it is.

        Raises:
            FileNotFoundError: there is none, or it has another size or SHA-256.
            StorageFull: it could not be read now, or there is no room for it here.
        """
        await self._transfer(_download, name, target, size, digest)

    async def remove(self, name: str) -> None:
        """Forget a blob; one that is not there is no matter.

        Raises:
            StorageFull: that could not be done now.
        """
        with suppress(FileNotFoundError), _in_our_words(missing=True):
            await asyncio.to_thread(obstore.delete, self._store, name)

    @property
    def signs(self) -> bool:
        """Whether it can give URLs by which anybody can fetch something."""
        return isinstance(self._store, S3Store)

    async def sign(self, name: str, seconds: float) -> str | None:
        """A URL by which anybody can fetch it for so long; None where the store has no such thing."""
        if not isinstance(self._store, S3Store):
            return None
        with _in_our_words():
            return await asyncio.to_thread(obstore.sign, self._store, "GET", name, timedelta(seconds=seconds))

    async def listed(self, folder: str) -> list[Listed]:
        """The blobs whose names are this, a slash, and something else.

        Raises:
            StorageFull: that could not be done now.
        """
        with _in_our_words():
            return await asyncio.to_thread(_list, self._store, folder)

    async def clean(self, older: float) -> int:
        """Remove what was not put to its end so many seconds ago, by somebody who is gone; how much there was.

        That is for directories. A bucket needs a life cycle rule that aborts multipart uploads.
        """
        if self._directory is None:
            return 0
        return await asyncio.to_thread(_clean, self._directory, older)

    async def _transfer(self, transfer: Callable[..., None], *arguments: object) -> None:
        given_up = threading.Event()
        try:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._transfers, transfer, self._store, given_up, *arguments)
        finally:
            given_up.set()


class _GivenUp(Exception):
    """Nobody waits for a transfer any more."""


def _upload(store: ObjectStore, given_up: threading.Event, path: Path, name: str, directory: Path | None) -> None:
    if directory is not None and not directory.is_dir():
        # It would be made anew, where a file system is not mounted any more.
        raise StorageFull(_AWAY)
    # It may be what a run has left: nothing that would lead elsewhere, or make us wait.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb", buffering=0) as file:
        with _in_our_words():
            writer = obstore.open_writer(store, name, buffer_size=PART, max_concurrency=PARTS_AT_ONCE)
        while chunk := file.read(PART):
            # A writer that is not closed has written nothing.
            if given_up.is_set():
                return
            with _in_our_words():
                writer.write(chunk)
        with _in_our_words():
            writer.close()


def _download(store: ObjectStore, given_up: threading.Event, name: str, target: Path, size: int, digest: bytes) -> None:
    with _in_our_words(missing=True):
        found = obstore.get(store, name)
    with _in_our_words(missing=True), _written(target) as file:
        done, hashed = 0, hashlib.sha256()
        for chunk in found.stream(min_chunk_size=CHUNK):
            if given_up.is_set():
                raise _GivenUp
            done += len(chunk)
            if done > size:
                break
            hashed.update(chunk)
            file.write(chunk)
        if done != size or hashed.digest() != digest:
            raise FileNotFoundError(f"{name} is not what was put there")


def _list(store: ObjectStore, folder: str) -> list[Listed]:
    now = datetime.now(UTC)
    found = (each for part in obstore.list(store, folder) for each in part)
    return [Listed(each["path"], each["size"], (now - each["last_modified"]).total_seconds()) for each in found]


def _directory(url: str) -> Path | None:
    """The directory that a file URL leads to, which must be there; None where it is that of a bucket."""
    parts = urlsplit(url)
    if parts.scheme == "s3" and parts.netloc:
        return None
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        here = url if url.startswith("/") else "/directory"
        raise ValueError(f"a directory that all have is written file://{quote(here)}, a bucket s3://bucket/prefix")
    path = Path(unquote(parts.path))
    # To make it would be to share nothing, where a file system is not mounted.
    if not path.is_dir():
        raise ValueError(f"there is no directory {path} here: make it, or mount what has it")
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise ValueError(f"this user may not write in the directory {path}")
    return path


def _opened(url: str) -> ObjectStore:
    return from_url(
        url,
        client_options={
            "connect_timeout": CONNECT_S, "read_timeout": SILENT_S, "timeout": WHOLE_S, "allow_http": True,
        },
        retry_config={"max_retries": RETRIES, "retry_timeout": RETRIED_WITHIN},
    )  # fmt: skip


@contextmanager
def _in_our_words(missing: bool = False) -> Iterator[None]:
    """Say what went wrong as callers know it; with `missing`, a blob may be."""
    try:
        yield
    except FileNotFoundError as error:
        # Where the bucket is not there, nothing is known of what was in it.
        if missing and "NoSuchBucket" not in str(error):
            raise
        raise StorageFull(_AWAY) from error
    except (BaseError, OSError) as error:
        raise StorageFull(_AWAY) from error


@contextmanager
def _written(target: Path) -> Iterator[BinaryIO]:
    """A file that becomes the target once all is written."""
    written = target.with_name(f"{target.name}.{secrets.token_hex(4)}")
    try:
        file = written.open("wb")
    except OSError as error:
        # That there is no directory here must not look like a blob that is lost.
        raise StorageFull("There is no room for the result at the moment.") from error
    try:
        with file:
            yield file
        written.replace(target)
    finally:
        written.unlink(missing_ok=True)


def _clean(directory: Path, older: float) -> int:
    before, removed = time.time() - older, 0
    for path in directory.rglob("*#*"):
        with suppress(FileNotFoundError):
            if _UNFINISHED.search(path.name) and path.stat().st_mtime < before:
                path.unlink()
                removed += 1
    return removed
