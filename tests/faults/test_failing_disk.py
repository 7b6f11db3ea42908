"""The n-th write, sync or truncation of the database fails: nothing is accepted that is not there afterwards."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.faults.failing_disk import ERRORS, FailingDisk, Fault
from tests.faults.figures import tell
from tests.faults.leftovers import is_sound, left_behind
from tests.faults.stores import Store, opened, quick_directory

from etagere.core.lifecycle import Event
from etagere.core.representation import Representation
from etagere.database import Database
from etagere.errors import StartError, StorageFull
from etagere.testing.samples import representation, resource

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

CALLS = 50
KINDS = ("write", "sync")
TRIES, MORE = range(26), range(30, 34)
# What waits for the disk takes no less than that.
SYNC_SECONDS = 0.5


@pytest.fixture(scope="module")
def disk() -> Iterator[FailingDisk]:
    # One for all tests: a name can be given once.
    with FailingDisk().used() as used:
        yield used


@pytest.fixture
def quick() -> Iterator[Path]:
    with quick_directory() as directory:
        yield directory


async def tries(store: Store, names: range) -> tuple[set[str], set[str], set[str]]:
    """Submit runs and put results, one after another: what was accepted, kept, and refused."""
    accepted, kept, refused = set(), set(), set()
    for n in names:
        name = f"n{n}"
        try:
            await store.runs.submit(resource(name))
            accepted.add(name)
            if n % 2:
                await store.cache.put(resource(name), representation(name, b"%d" % n * 4000))
                kept.add(name)
                await store.runs.advance(name, Event.succeed)
        except StorageFull as full:
            refused.add(name if full.retry_after else "without a Retry-After")
    return accepted, kept, refused


async def suffer(disk: FailingDisk, fault: Fault, directory: Path) -> bool:
    """Whether the fault came; fails where a promise was broken under it."""
    async with opened(directory) as store:
        disk.fault = fault
        accepted, kept, refused = await tries(store, TRIES)
        disk.fault = None
        assert "without a Retry-After" not in refused
        more = await tries(store, MORE)
        assert not more[2], "it heals by itself"
        accepted |= more[0]
        kept |= more[1]
        for name in kept:
            assert isinstance(store.cache.get(name), Representation)
    assert is_sound(directory)
    async with opened(directory) as store:
        for name in accepted:
            assert store.runs.get(name) or isinstance(store.cache.get(name), Representation), name
        for name in kept:
            found = store.cache.get(name)
            assert isinstance(found, Representation)
            assert found.body == name[1:].encode() * 4000
        for n in (*TRIES, *MORE):
            assert (f"n{n}" in accepted) or store.runs.get(f"n{n}") is None, "it was refused"
    return fault.happened


@pytest.mark.parametrize("persistent", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("kind", KINDS)
async def test_an_error_of_the_disk(disk: FailingDisk, quick: Path, kind: str, error: str, persistent: bool) -> None:
    came = 0
    for nth in range(1, CALLS + 1):
        fault = Fault(kind, nth, error, persistent)
        if not await suffer(disk, fault, quick / str(nth)):
            break
        came += 1
    assert came >= 10
    tell("failing disk", f"{error} at {kind} 1 to {came}, {'from then on' if persistent else 'once'}: nothing lost")


# apsw tells of each error that SQLite itself has dealt with.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("kind", KINDS)
async def test_an_error_while_it_is_opened(disk: FailingDisk, quick: Path, kind: str, error: str) -> None:
    """A new database, and one that a kill has left with a log."""
    left = quick / "left"
    async with opened(left) as store:
        accepted, _, _ = await tries(store, range(0, 6, 2))
        shutil.copytree(left, quick / "killed")
    for name in ("new", "killed"):
        for nth in itertools.count(1):
            directory = quick / f"{name}.{nth}"
            if name == "killed":
                shutil.copytree(quick / name, directory)
            disk.fault = Fault(kind, nth, error, persistent=True)
            with suppress(StartError):
                await Database(directory).close()
            came, disk.fault = disk.fault.happened, None
            async with opened(directory) as store:
                assert not (await tries(store, range(20, 22)))[2]
                assert name == "new" or all(store.runs.get(id) for id in accepted)
            assert is_sound(directory)
            if not came:
                break


LARGE = 1_500_000
CALLS_OF_FILES = ("fsync", "replace", "link")


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC], ids=errno.errorcode.get)
@pytest.mark.parametrize("call", CALLS_OF_FILES)
async def test_an_error_while_a_file_is_kept(
    quick: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    """The n-th of the calls that keep a large result fails: it is put again, or as if it had never been."""
    original, left = getattr(os, call), 0

    def fail(*arguments: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            raise OSError(number, os.strerror(number))
        return original(*arguments, **named)

    monkeypatch.setattr(os, call, fail)
    body = os.urandom(LARGE)
    given = replace(representation("large", body), body=None, path=quick / "result")
    for nth in itertools.count(1):
        directory = quick / str(nth)
        (quick / "result").write_bytes(body)
        async with opened(directory) as store:
            left = nth
            try:
                kept = await store.cache.put(resource("large"), given)
            except StorageFull:
                assert (quick / "result").read_bytes() == body
                assert left_behind(directory) == []
                kept = await store.cache.put(resource("large"), given)
            over, left = left > 0, 0
            assert isinstance(kept, Representation)
            assert kept.path is not None
            assert kept.path.read_bytes() == body
            assert left_behind(directory) == []
        if over:
            break
    assert nth > 1


async def test_a_slow_disk_does_not_slow_pings(disk: FailingDisk, tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.runs.submit(resource("pinged"))
        disk.fault = Fault("sync", 1, persistent=True, delay=SYNC_SECONDS)
        writing = asyncio.gather(*(store.runs.submit(resource(f"n{n}")) for n in range(50)))
        slowest = 0.0
        while not writing.done():
            began = time.monotonic()
            await asyncio.sleep(0.001)
            assert store.runs.get("pinged")
            slowest = max(slowest, time.monotonic() - began)
        assert len(await writing) == 50
        disk.fault = None
    assert slowest < SYNC_SECONDS
