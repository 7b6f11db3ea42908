"""The result queue in a store: what is handed over comes to a collector, whatever becomes of collectors and places."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.valkey import Store

from etagere.caches.blobstore import BlobStore
from etagere.core.lifecycle import LOSSES_ALLOWED
from etagere.core.representation import INLINE_BYTES, Kind, Outcome
from etagere.errors import StorageFull, StoreLost
from etagere.runs.stream import AGAIN_S, ResultStream
from etagere.testing.samples import outcome, resource
from etagere.valkey import Valkey, read_scripts

pytestmark = pytest.mark.anyio

SCRIPTS = read_scripts("etagere.runs")
IDLE_S = 0.3


class Place(BlobStore):
    """A directory that can be away."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        super().__init__(f"file://{directory}")
        self.away = False
        self.asked = asyncio.Event()

    async def fetch(self, name: str, target: Path, size: int, digest: bytes) -> None:
        self.asked.set()
        if self.away:
            raise StorageFull("It is away.")
        await super().fetch(name, target, size, digest)

    async def clear(self) -> int:
        """Remove all that is on its way; how many there were."""
        found = await self.listed("incoming")
        for blob in found:
            await self.remove(blob.name)
        return len(found)


@pytest.fixture
async def store(server: Store) -> AsyncIterator[Valkey]:
    server.wipe()
    store = Valkey(server.url, "test")
    yield store
    await store.close()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "blobs")


async def stream(store: Valkey, place: Place | None, directory: Path, *, largest: int = 1 << 30) -> ResultStream:
    made = ResultStream(store, SCRIPTS, place, directory, asyncio.Event(), idle=IDLE_S, largest=largest)
    await made.open()
    return made


def ended(name: str, folder: Path, body: bytes | None) -> Outcome:
    """An outcome with its result in a file, if it has one."""
    if body is None:
        return replace(outcome(resource(name)), kind=Kind.failed, facts={"a": [1]})
    path = folder / name / "result"
    path.parent.mkdir(parents=True)
    path.write_bytes(body)
    return outcome(resource(name), path=path)


async def test_what_is_small_comes_with_its_bytes_and_in_order(store: Valkey, tmp_path: Path) -> None:
    results = await stream(store, None, tmp_path / "in")
    sent = [ended("a", tmp_path, b"\xff\0"), ended("b", tmp_path, None)]
    for each in sent:
        await results.put(each)
    assert not (tmp_path / "a").exists(), "the run's directory goes when it is handed over"
    taken = [await results.take() for _ in sent]
    assert taken == [replace(sent[0], path=None, body=b"\xff\0"), sent[1]]
    await results.defer(taken[0])
    assert await results.take() == taken[0]
    for each in taken:
        await results.done(each)
    assert await store.do("XLEN", store.key("results")) == 0


async def test_however_many_are_deferred_what_comes_has_its_turn(store: Valkey, place: Place, tmp_path: Path) -> None:
    results = await stream(store, place, tmp_path / "in")
    names = [f"a{n}" for n in range(20)]
    for name in names:
        await results.put(ended(name, tmp_path, b"1"))
    for _ in names:
        await results.defer(await results.take())
    await results.put(ended("b", tmp_path, b"2"))
    assert (await results.take()).resource.id == "b"
    assert [(await results.take()).resource.id for _ in names] == names


async def test_what_is_large_and_a_second_format_come_as_files(store: Valkey, place: Place, tmp_path: Path) -> None:
    results = await stream(store, place, tmp_path / "in")
    sent = ended("a", tmp_path, bytes(INLINE_BYTES + 1))
    assert sent.path is not None
    sent.path.with_name("result.svg").write_bytes(b"<svg/>")
    await results.put(sent)
    taken = await results.take()
    assert taken.path is not None
    assert taken.path.read_bytes() == bytes(INLINE_BYTES + 1)
    assert taken.path.with_name("result.svg").read_bytes() == b"<svg/>"
    await results.done(taken)
    assert await place.clear() == 0, "what was on its way is removed"


async def test_what_is_large_is_sent_once_however_long_the_store_has_no_room(
    server: Store, store: Valkey, place: Place, tmp_path: Path
) -> None:
    results = await stream(store, place, tmp_path / "in")
    server.command("CONFIG", "SET", "maxmemory", "1")
    try:
        putting = asyncio.create_task(results.put(ended("a", tmp_path, bytes(INLINE_BYTES + 1))))
        await asyncio.wait([putting], timeout=3 * AGAIN_S)
        assert not putting.done()
        assert len(await place.listed("incoming")) == 1
    finally:
        server.command("CONFIG", "SET", "maxmemory", "0")
    await putting
    assert (await results.take()).path is not None
    assert await place.clear() == 1


async def test_what_cannot_be_acknowledged_is_deferred_like_any_other(
    server: Store, store: Valkey, tmp_path: Path
) -> None:
    results = await stream(store, None, tmp_path / "in")
    await results.put(ended("a", tmp_path, b"1"))
    taken = await results.take()
    server.command("CONFIG", "SET", "min-replicas-to-write", "1")
    try:
        with pytest.raises(StoreLost):
            await results.done(taken)
        await results.defer(taken)
    finally:
        server.command("CONFIG", "SET", "min-replicas-to-write", "0")
    assert await results.take() == taken
    await results.done(taken)
    assert await store.do("XLEN", store.key("results")) == 0


async def test_a_second_format_that_is_no_file_is_a_failure(store: Valkey, place: Place, tmp_path: Path) -> None:
    """However often it is looked at: neither the run nor what looks at it is tried again for ever."""
    results = await stream(store, place, tmp_path / "in")
    sent = ended("a", tmp_path, b"1")
    assert sent.path is not None
    sent.path.with_name("result.svg").mkdir()
    before = len(os.listdir("/proc/self/fd"))
    put = await results.put(sent)
    assert (put.kind, put.detail) == (Kind.failed, "the result is not a regular file")
    assert len(os.listdir("/proc/self/fd")) == before
    assert (await results.take()).kind is Kind.failed


async def test_a_place_that_removes_nothing_holds_up_nothing(
    store: Valkey, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(name: str) -> None:
        raise StorageFull("It may not be done.")

    results = await stream(store, place, tmp_path / "in")
    await results.put(ended("a", tmp_path, bytes(INLINE_BYTES + 1)))
    taken = await results.take()
    with monkeypatch.context() as patched:
        patched.setattr(place, "remove", refuse)
        await results.done(taken)
    assert await store.do("XLEN", store.key("results")) == 0


async def test_what_is_large_and_has_no_place_is_a_failure_that_says_so(store: Valkey, tmp_path: Path) -> None:
    results = await stream(store, None, tmp_path / "in")
    await results.put(ended("a", tmp_path, bytes(INLINE_BYTES + 1)))
    taken = await results.take()
    assert (taken.kind, taken.path) == (Kind.failed, None)
    assert "set blobs" in taken.detail


async def test_take_waits(store: Valkey, tmp_path: Path) -> None:
    results = await stream(store, None, tmp_path / "in")
    taking = asyncio.ensure_future(results.take())
    await store.do("PING")
    assert not taking.done()
    await results.put(ended("a", tmp_path, b"1"))
    assert (await taking).body == b"1"


async def test_another_takes_over_what_was_taken_and_not_done(store: Valkey, tmp_path: Path) -> None:
    first, second = await stream(store, None, tmp_path / "1"), await stream(store, None, tmp_path / "2")
    await first.put(ended("a", tmp_path, b"1"))
    taken = await first.take()
    async with asyncio.timeout(10):
        assert await second.take() == taken


async def test_a_place_that_is_away_costs_time_alone(store: Valkey, place: Place, tmp_path: Path) -> None:
    results = await stream(store, place, tmp_path / "in")
    await results.put(ended("large", tmp_path, bytes(INLINE_BYTES + 1)))
    place.away = True
    taking = asyncio.ensure_future(results.take())
    await place.asked.wait()
    await results.put(ended("small", tmp_path, b"1"))
    async with asyncio.timeout(10):
        assert (await taking).resource.id == "small"
        place.away = False
        assert (await results.take()).resource.id == "large"


@pytest.mark.parametrize("here", ["nowhere", "elsewhere"])
async def test_what_lies_where_a_collector_does_not_look_waits_for_one_that_does(
    store: Valkey, place: Place, tmp_path: Path, caplog: pytest.LogCaptureFixture, here: str
) -> None:
    """To lose it would be to compute it again and again."""
    caplog.set_level("INFO", "etagere")
    other = None if here == "nowhere" else Place(tmp_path / "other")
    wrong = await stream(store, other, tmp_path / "wrong")
    await (await stream(store, place, tmp_path / "worker")).put(ended("large", tmp_path, bytes(INLINE_BYTES + 1)))
    await wrong.put(ended("a", tmp_path, b"1"))
    assert (await wrong.take()).resource.id == "a"
    # It is taken over by whoever finds it, though both look.
    again = asyncio.ensure_future(wrong.take())
    right = await stream(store, place, tmp_path / "right")
    async with asyncio.timeout(10):
        while (await right.take()).resource.id != "large":
            pass
    again.cancel()
    said = [record for record in caplog.records if record.levelname == "ERROR"]
    assert [record.fields["theirs"] for record in said] == [place.url]  # type: ignore[attr-defined]
    assert "set blobs as the workers have it" in said[0].message


async def test_an_emptied_store_has_a_group_again(store: Valkey, server: Store, tmp_path: Path) -> None:
    results = await stream(store, None, tmp_path / "in")
    server.wipe()
    await results.put(ended("a", tmp_path, b"1"))
    async with asyncio.timeout(10):
        assert (await results.take()).body == b"1"


@pytest.mark.parametrize(
    "fields",
    [
        ("kind", "succeeded"),
        ("kind", "nonsense"),
        ("kind", "succeeded", "body", "1"),
        ("kind", "failed", "facts", "[" * 100_000),
    ],
    ids=["no body", "no kind", "no times", "facts that are nested too deeply"],
)
async def test_what_is_no_outcome_is_forgotten(store: Valkey, tmp_path: Path, fields: tuple[str, ...]) -> None:
    results = await stream(store, None, tmp_path / "in")
    await store.do("XADD", store.key("results"), "*", "id", "a", "attempt", "1", *fields)
    await results.put(ended("b", tmp_path, b"1"))
    async with asyncio.timeout(10):
        assert (await results.take()).resource.id == "b"
    assert await store.do("XLEN", store.key("results")) == 1


async def test_one_larger_than_a_result_may_be_is_none(store: Valkey, place: Place, tmp_path: Path) -> None:
    results = await stream(store, place, tmp_path / "in", largest=INLINE_BYTES)
    await results.put(ended("a", tmp_path, bytes(INLINE_BYTES + 1)))
    await results.put(ended("b", tmp_path, b"1"))
    assert (await results.take()).resource.id == "b"


async def test_a_run_whose_last_outcome_is_gone_is_given_up(store: Valkey, place: Place, tmp_path: Path) -> None:
    """It had no lease any more; it is not to be pending for ever."""
    results = await stream(store, place, tmp_path / "in")
    offered = {
        "id": "a", "model": "heat@1", "queue": "default", "tenant": "", "client": "", "urgency": 3, "trace": "",
        "limit": 0, "max_pending": 9, "share": 9, "largest": 999, "patience": 99,
    }  # fmt: skip
    await store.script(SCRIPTS["offer"], json.dumps(offered), "/heat@1?name=a")
    claim = json.dumps({"queues": ["default"], "models": False, "lease": 9, "worker": "w"})
    await store.script(SCRIPTS["claim"], claim)
    await store.do("HSET", store.key("run:a"), "losses", LOSSES_ALLOWED - 1)
    await results.put(ended("a", tmp_path, bytes(INLINE_BYTES + 1)))
    assert await place.clear() == 1
    async with store.subscribed("events") as changes:
        taking = asyncio.ensure_future(results.take())
        while b'"lose"' not in ((await changes.get_message(timeout=5)) or {}).get("data", b""):
            pass
    await store.do("ZADD", store.key("leases"), "0", "a")
    await store.script(SCRIPTS["claim"], claim)
    async with asyncio.timeout(10):
        given_up = await taking
    assert (given_up.kind, given_up.resource) == (Kind.poison, resource("a"))
    assert given_up.facts["lost"] == LOSSES_ALLOWED
