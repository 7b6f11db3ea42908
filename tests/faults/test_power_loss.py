"""The power fails: whatever of the writes that were not synced is on the disk, what was acknowledged is there."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest
from tests.faults.figures import tell
from tests.faults.leftovers import is_sound
from tests.faults.recorded_disk import Entry, RecordedDisk, Replay
from tests.faults.stores import opened, quick_directory

from etagere.core.lifecycle import Event
from etagere.core.representation import Representation
from etagere.errors import StartError
from etagere.testing.samples import representation, resource

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(1800)]

PREFIXES = int(os.environ.get("FAULTS_PREFIXES", "60"))
SEED = int(os.environ.get("FAULTS_SEED", "0")) or int.from_bytes(os.urandom(4))
RUNS = 160
BODY = 12_000


def body(name: str) -> bytes:
    return name.encode() * (BODY // len(name))


async def work(disk: RecordedDisk, directory: Path, names: range) -> None:
    """Accept runs and keep the results of most; each is said when it is."""
    async with opened(directory) as store:
        for n in names:
            name = f"n{n}"
            await store.runs.submit(resource(name))
            disk.say(f"accepted {name}")
            if n % 4:
                await store.cache.put(resource(name), representation(name, body(name)))
                disk.say(f"kept {name}")
                await store.runs.advance(name, Event.succeed)


async def check(directory: Path, said: set[str]) -> None:
    async with opened(directory) as store:
        for line in said:
            what, _, name = line.partition(" ")
            found = store.cache.get(name)
            if what == "kept" or found is not None:
                assert isinstance(found, Representation), line
                assert found.body == body(name)
            else:
                assert store.runs.get(name), line
    assert is_sound(directory)


async def recorded(directory: Path) -> list[Entry]:
    """The log of a service's store, closed in order in between, so that SQLite empties its own log in both ways."""
    with RecordedDisk().used() as disk:
        await work(disk, directory, range(RUNS))
        await work(disk, directory, range(RUNS, 2 * RUNS))
    return disk.log


async def cut_and_check(log: list[Entry], times: int, random: Random) -> int:
    """Let the power fail so many times; how much had been acknowledged by the last."""
    replay, done = Replay(), 0
    for cut in sorted(random.randrange(len(log) + 1) for _ in range(times)):
        replay.advance(log[done:cut])
        done = cut
        with quick_directory() as directory:
            replay.cut(directory, random)
            await check(directory, replay.said)
    return len(replay.said)


async def test_what_was_acknowledged_survives(tmp_path: Path) -> None:
    print(f"FAULTS_SEED={SEED}")
    log = await recorded(tmp_path / "data")
    said = await cut_and_check(log, PREFIXES, Random(SEED))
    assert said > RUNS
    tell("power loss", f"{PREFIXES} prefixes of {len(log)} writes and syncs, {said} acknowledgements: none lost")


async def test_a_disk_that_does_not_sync_is_found_out(tmp_path: Path) -> None:
    """Else the silence of the test before would say nothing."""
    log = await recorded(tmp_path / "data")
    lying = [entry for entry in log if entry.what != "sync" or not entry.name.endswith("-wal")]
    with pytest.raises((AssertionError, StartError)):
        await cut_and_check(lying, 50, Random(SEED))
