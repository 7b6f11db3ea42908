from __future__ import annotations

import errno
import hashlib
import os
import resource
from pathlib import Path

import pytest

from etagere.caches.blobs import Blobs
from etagere.errors import NotFound, StorageFull

BODY = bytes(range(256)) * 100
DIGEST = hashlib.sha256(BODY).digest()


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


@pytest.fixture
def name(blobs: Blobs) -> str:
    return blobs.name(DIGEST)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "result"
    path.write_bytes(BODY)
    return path


def test_a_name_is_the_digest(blobs: Blobs) -> None:
    digest = hashlib.sha256(b"").digest()
    assert blobs.name(digest) == "e3/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert blobs.path("e3/e3").is_absolute()


def test_a_file_is_linked_and_left_where_it_is(blobs: Blobs, name: str, source: Path) -> None:
    mtime_ns = blobs.adopt(name, source, None)
    assert blobs.path(name).samefile(source)
    assert mtime_ns == source.stat().st_mtime_ns
    assert list(blobs.names()) == [name]


def test_a_file_of_another_file_system_is_copied(blobs: Blobs, name: str) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == blobs.directory.stat().st_dev:
        pytest.skip("there is no second file system at /dev/shm")
    source = elsewhere / f"etagere-{os.getpid()}"
    source.write_bytes(BODY)
    try:
        blobs.adopt(name, source, None)
        assert blobs.path(name).read_bytes() == source.read_bytes() == BODY
    finally:
        source.unlink()
    assert list(blobs.names()) == [name]


def test_bytes_are_written(blobs: Blobs, name: str) -> None:
    mtime_ns = blobs.adopt(name, BODY, None)
    with blobs.open(blobs.path(name), len(BODY), mtime_ns) as file:
        assert file.read() == BODY


def test_a_known_blob_keeps_its_time(blobs: Blobs, name: str, source: Path) -> None:
    mtime_ns = blobs.adopt(name, BODY, None)
    for content in (source, source, BODY):
        assert blobs.adopt(name, content, mtime_ns) == mtime_ns
        blobs.open(blobs.path(name), len(BODY), mtime_ns).close()
        assert list(blobs.names()) == [name]


def test_a_damaged_blob_is_replaced(blobs: Blobs, name: str, source: Path) -> None:
    mtime_ns = blobs.adopt(name, BODY, None)
    blobs.path(name).write_bytes(b"damaged")
    assert blobs.adopt(name, source, mtime_ns) == mtime_ns
    assert blobs.path(name).read_bytes() == BODY


def test_an_unfinished_file_is_in_nobodys_way(blobs: Blobs, name: str) -> None:
    blobs.adopt(name, BODY, None)
    blobs.path(name).rename(blobs.path(name).with_suffix(".tmp"))
    blobs.adopt(name, BODY, None)
    assert list(blobs.names()) == [name]


@pytest.mark.parametrize("change", ["size", "time", "gone"])
def test_another_file_is_not_opened(blobs: Blobs, name: str, change: str) -> None:
    mtime_ns = blobs.adopt(name, BODY, None)
    path = blobs.path(name)
    if change == "gone":
        blobs.remove([name])
    elif change == "size":
        os.truncate(path, len(BODY) - 1)
        os.utime(path, ns=(mtime_ns, mtime_ns))
    else:
        os.utime(path, ns=(mtime_ns, mtime_ns + 1))
    with pytest.raises(FileNotFoundError):
        blobs.open(path, len(BODY), mtime_ns)


def test_an_open_blob_outlives_its_removal(blobs: Blobs, name: str) -> None:
    mtime_ns = blobs.adopt(name, BODY, None)
    with blobs.open(blobs.path(name), len(BODY), mtime_ns) as file:
        blobs.remove([name, name])
        assert file.read() == BODY


def test_a_symbolic_link_is_refused(blobs: Blobs, name: str, source: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(source)
    with pytest.raises(OSError, match="symbolic links") as refused:
        blobs.adopt(name, tmp_path / "link", None)
    assert refused.value.errno == errno.ELOOP
    assert list(blobs.names()) == []


def test_a_file_that_is_not_there(blobs: Blobs, name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        blobs.adopt(name, tmp_path / "missing", None)
    assert list(blobs.names()) == []


def limited(blobs: Blobs, name: str, content: bytes, limit: int) -> OSError | StorageFull | None:
    """What adopting meets when no file may grow beyond `limit`, which is this process's own for that long."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Python ignores SIGXFSZ, so that a write fails instead.
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        blobs.adopt(name, content, None)
    except (OSError, StorageFull) as error:
        return error
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    return None


def test_a_file_that_is_too_large_is_not_the_disks_fault(blobs: Blobs, name: str) -> None:
    refused = limited(blobs, name, BODY, limit=1000)
    assert isinstance(refused, OSError)
    assert refused.errno == errno.EFBIG
    assert list(blobs.names()) == []


def test_without_room_it_says_when_to_ask_again() -> None:
    assert StorageFull("There is no room.").retry_after == 5
    assert StorageFull("There is no room.", retry_after=9).retry_after == 9
    assert NotFound("There is nothing.").retry_after is None
