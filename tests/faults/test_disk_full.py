"""No room on the data directory's disk: nothing is half accepted, nothing computed is thrown away."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.faults.gates import Gates
from tests.faults.service import MODELS, Service, eventually
from tests.faults.small_disk import NoSmallDisk, SmallDisk
from tests.harness import Answer

from etagere.errors import StorageFull
from etagere.formats.converter import Converter

MIB = 1024 * 1024
numbers = itertools.count(1)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    try:
        mounted = SmallDisk(tmp_path / "disk", 16)
    except (NoSmallDisk, OSError) as reason:
        pytest.skip(f"a small file system cannot be mounted here: {reason}")
    with closing(mounted):
        yield mounted


@pytest.fixture
def service(disk: SmallDisk, gates: Gates) -> Iterator[Service]:
    data = disk.path / "data"
    options = ("--runs", "4")
    with Service(MODELS / "gated.py", data, *options, env=gates.environment, wrapper=disk.enter) as started:
        yield started


def opened(gates: Gates) -> str:
    gate = gates.new()
    gates.open(gate)
    return gate


def fill_until_refused(service: Service, disk: SmallDisk, gate: str) -> tuple[dict[str, Answer], str, Answer]:
    """What was accepted on the last bytes of the disk, and what was not any more."""
    disk.fill()
    accepted = {}
    for n in range(2000):
        target = f"/memory?gate={gate}&size={n + 1}"
        answer = service.get(target)
        if answer.status != 202:
            return accepted, target, answer
        accepted[target] = answer
        disk.fill()
    raise AssertionError("a full disk accepts everything")


def test_nothing_is_half_accepted(service: Service, disk: SmallDisk, gates: Gates) -> None:
    done, closed = opened(gates), gates.new()
    ready = service.result(f"/gated?gate={done}")
    large = service.result(f"/memory?gate={done}&size={2 * MIB}")
    waits = service.get(f"/gated?gate={closed}")
    eventually(gates.waiting, 20, "a run waits at its gate")

    accepted, target, refused = fill_until_refused(service, disk, closed)
    for answer in (refused, service.get(target)):
        assert answer.status == 503
        assert answer.json()["type"] == "/-/problems/storage-unavailable"
        assert int(answer["Retry-After"]) >= 1
        assert answer["Cache-Control"] == "no-store"
        assert answer.headers["ETag"] is None
    id = waits.etag[3:-1]
    assert service.get(f"/r/{id}/status").json()["state"] == "running"
    assert service.get(f"/gated?gate={closed}", waits.etag).status == 304
    assert service.get(f"/gated?gate={closed}").status == 202
    again = service.get(f"/gated?gate={done}")
    assert (again.status, again.body, again.etag) == (200, ready.body, ready.etag)
    assert service.get(f"/gated?gate={done}", ready.etag).status == 304
    again = service.get(f"/memory?gate={done}&size={2 * MIB}")
    assert (again.status, again.body) == (200, large.body)
    for joined, answer in accepted.items():
        assert service.get(joined, answer.etag).status == 304

    disk.empty()
    gates.open(closed)
    eventually(lambda: service.get(target).status in (202, 200), 5, "what was refused is accepted")
    everything = [*accepted, target, f"/gated?gate={closed}"]
    assert {answer.status for answer in service.results(everything).values()} == {200}
    assert len(gates.begun()) == len(set(everything)) + 2, "each was computed once"


def test_what_was_refused_is_not_found_by_a_restart(service: Service, disk: SmallDisk, gates: Gates) -> None:
    closed = gates.new()
    accepted, _, _ = fill_until_refused(service, disk, closed)
    service.kill()
    disk.empty()
    service.start()
    for target, answer in accepted.items():
        assert service.get(target, answer.etag).status == 304
    gates.open(closed)
    assert {answer.status for answer in service.results(list(accepted)).values()} <= {200}
    eventually(lambda: len(set(service.executions())) >= len(accepted), 20, "the accepted ones were computed")
    started = [name for name in gates.begun() if name == closed]
    assert len(started) <= len(accepted) + 4, "the accepted ones, and those lost when it was killed"


@pytest.mark.parametrize("size", [100, 3 * MIB], ids=["small", "large"])
@pytest.mark.parametrize("model", ["file", "memory"])
def test_a_result_without_room_is_kept_and_collected_later(
    service: Service, disk: SmallDisk, gates: Gates, model: str, size: int
) -> None:
    """`file` has written its result before the disk is full, `memory` has not."""
    closed = gates.new()
    target = f"/{model}?gate={closed}&size={size}"
    tag = service.get(target).etag
    eventually(gates.waiting, 20, "the run waits at its gate")
    other = gates.new()
    disk.fill()
    fill_until_refused(service, disk, other)
    gates.open(closed)
    eventually(lambda: not gates.waiting() or gates.waiting() == [other] * len(gates.waiting()), 20, "it has ended")
    eventually(lambda: service.get(target, tag).status == 304, 1, "it is pending")
    for _ in range(20):
        assert service.get(target, tag).status == 304
        assert service.get("/").status == 200
    disk.empty()
    answer = service.result(target, 20)
    assert answer.status == 200
    assert hashlib.sha256(answer.body).digest() == hashlib.sha256(bytes(size)).digest()
    assert gates.begun().count(closed) == 1, "it was computed once"
    gates.open(other)


def test_a_start_on_a_full_disk_says_so(disk: SmallDisk, gates: Gates) -> None:
    service = Service(MODELS / "gated.py", disk.path / "data", env=gates.environment, wrapper=disk.enter)
    disk.fill()
    with pytest.raises(AssertionError, match="exit 2"):
        service.start()
    lines = [line for line in service.log.splitlines() if line]
    assert len(lines) == 1
    assert "Traceback" not in service.log
    disk.empty()
    with service:
        assert service.get("/").status == 200


def test_a_conversion_without_room_says_so(disk: SmallDisk, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.write_text(f'{{"a": {list(range(100_000))}}}')
    disk.fill(leave=8192)
    with pytest.raises(StorageFull):
        asyncio.run(Converter().convert("json", source, "csv", disk.inside / "out"))
