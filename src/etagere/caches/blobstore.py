"""Where many machines share large results: a directory that all have, or an S3-compatible store."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple, Self

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, ObjectStore, S3Store, from_url

from etagere.errors import StartError, StorageFull

CHUNK = 1024 * 1024
CONNECT_S, ANSWER_S = "5s", "60s"


class Listed(NamedTuple):
    """A blob, its bytes, and how long ago it was put, in seconds."""

    name: str
    size: int
    age: float


class _Writer:
    """Writes a file and hashes what it writes."""

    def __init__(self, target: Path) -> None:
        self.size = 0
        self.hashed = hashlib.sha256()
        self._file = target.open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self.hashed.update(chunk)
        self._file.write(chunk)


class BlobStore:
    """Blobs by their names, at a URL such as file:///shared/results or s3://bucket/prefix.

    What an S3-compatible store needs besides (region, endpoint, credentials) stands in AWS_* variables.

    Raises:
        StartError: the URL leads to no such place.
    """

    def __init__(self, url: str) -> None:
        try:
            self._store: ObjectStore = _opened(url)
        except (BaseError, ValueError, OSError) as error:
            raise StartError(f"Results cannot be shared at {url}: {error}") from error

    async def put(self, path: Path, name: str) -> None:
        """Keep a file under this name, in the place of what was there; it is read in parts.

        Raises:
            StorageFull: that could not be done now.
        """
        with _full():
            await obstore.put_async(self._store, name, path)

    async def fetch(self, name: str, target: Path, size: int, digest: bytes) -> None:
        """Write a blob to a file.

        Raises:
            FileNotFoundError: there is none, or it has another size or SHA-256.
            StorageFull: it could not be read now, or there is no room for it here.
        """
        with _full(), _Writer(target) as writer:
            async for chunk in self._chunks(name):
                await asyncio.to_thread(writer.add, chunk)
                if writer.size > size:
                    break
        if (writer.size, writer.hashed.digest()) != (size, digest):
            raise FileNotFoundError(f"{name} is not what was put there")

    async def remove(self, name: str) -> None:
        """Forget a blob; one that is not there is no matter.

        Raises:
            StorageFull: that could not be done now.
        """
        with _full(), suppress(FileNotFoundError, NotFoundError):
            await obstore.delete_async(self._store, name)

    async def sign(self, name: str, seconds: float) -> str | None:
        """A URL by which anybody can fetch it for so long; None where the store has no such thing."""
        if not isinstance(self._store, S3Store):
            return None
        with _full():
            return await obstore.sign_async(self._store, "GET", name, timedelta(seconds=seconds))

    async def listed(self, prefix: str) -> list[Listed]:
        """The blobs whose names begin so.

        Raises:
            StorageFull: that could not be done now.
        """
        now = datetime.now(UTC)
        with _full():
            found = [each async for part in obstore.list(self._store, prefix) for each in part]
        return [Listed(each["path"], each["size"], (now - each["last_modified"]).total_seconds()) for each in found]

    async def _chunks(self, name: str) -> AsyncIterator[bytes]:
        found = await obstore.get_async(self._store, name)
        async for chunk in found.stream(min_chunk_size=CHUNK):
            yield bytes(chunk)


def _opened(url: str) -> ObjectStore:
    if url.startswith("file://"):
        return LocalStore(Path(url.removeprefix("file://")), mkdir=True)
    return from_url(url, client_options={"connect_timeout": CONNECT_S, "timeout": ANSWER_S, "allow_http": True})


@contextmanager
def _full() -> Iterator[None]:
    """Say in our words what went wrong."""
    try:
        yield
    except NotFoundError as error:
        raise FileNotFoundError(str(error)) from error
    except FileNotFoundError:
        raise
    except (BaseError, OSError) as error:
        raise StorageFull("The place that results are shared at cannot be used at the moment.") from error
