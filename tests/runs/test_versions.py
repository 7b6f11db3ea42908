"""Which versions were ever served, in either place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.valkey import Store

from etagere.core.clients import Access
from etagere.database import Database
from etagere.errors import StoreLost
from etagere.runs.shared_versions import SharedVersions
from etagere.runs.versions import Versions
from etagere.valkey import Valkey
from etagere.versions import Published, Record

pytestmark = pytest.mark.anyio
FIRST = {"heat@1": Published("3.11:01234567", Access.open), "rod@2.1": Published("3.11:89abcdef", Access.private)}
LATER = {"heat@1": Published("3.11:01234567", Access.keyed), "heat@2": Published("3.12:01234567", Access.open)}


@pytest.fixture
def server(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture(params=["one machine", "many machines"])
async def record(request: pytest.FixtureRequest, server: Store, tmp_path: Path) -> AsyncIterator[Record]:
    if request.param == "one machine":
        database = Database(tmp_path / "data")
        yield Versions(database)
        await database.close()
    else:
        server.start()
        store = Valkey(server.url, "etagere")
        yield SharedVersions(store)
        await store.close()
        server.stop()


async def test_what_was_served_is_known(record: Record) -> None:
    assert await record.load() == {}
    await record.save(FIRST)
    await record.save({})
    assert await record.load() == FIRST
    await record.save(LATER)
    assert await record.load() == FIRST | LATER


async def test_a_store_without_room_or_gone(server: Store, caplog: pytest.LogCaptureFixture) -> None:
    store = Valkey(server.start().url, "etagere")
    record = SharedVersions(store)
    try:
        server.command("CONFIG", "SET", "maxmemory", "1")
        await record.save(FIRST)
        assert "it is not written down" in caplog.text
        assert await record.load() == {}
    finally:
        server.stop()
    with pytest.raises(StoreLost):
        await record.load()
    await store.close()
