"""Making variants over a real cache and a real converter: once, within the limit, and not from what was lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from etagere.caches.sqlite import SqliteCache
from etagere.core.media import Format
from etagere.core.representation import Representation
from etagere.database import Database
from etagere.errors import Evicted, NotAcceptable, StorageFull
from etagere.formats.converter import Converter
from etagere.testing.samples import ManualClock, representation, resource
from etagere.variants import Deriver

pytestmark = pytest.mark.anyio

CSV, SVG = Format("csv", "text/csv"), Format("svg", "image/svg+xml")
JSON = Format("json", "application/json")
MIB = 1024 * 1024


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Counted(Converter):
    """A converter that counts."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def convert(self, source_format: str, source: Path, target_format: str, target: Path) -> None:
        self.asked += 1
        await super().convert(source_format, source, target_format, target)


class Bench:
    def __init__(self, folder: Path, largest: int = 100 * MIB) -> None:
        self.database = Database(folder / "data")
        self.cache = SqliteCache(self.database, ManualClock(), folder / "blobs", 100 * MIB, MIB)
        self.converter = Counted()
        self.folder = folder / "variants"
        self.deriver = Deriver(self.cache, self.converter, self.folder, largest)

    async def primary(self, body: bytes, id: str = "a") -> Representation:
        given = replace(representation(id, body), format=JSON.name, media_type=JSON.media_type)
        kept = await self.cache.put(resource(id), given)
        assert isinstance(kept, Representation)
        return kept


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    assert list(bench.folder.iterdir()) == []
    await bench.database.close()


async def test_a_variant_is_made_once_for_all_and_then_kept(bench: Bench) -> None:
    primary = await bench.primary(b'{"a": [1, 2]}')
    made = await asyncio.gather(*(bench.deriver.derive(primary, CSV, ()) for _ in range(5)))
    assert {given.body for given in made} == {b"a\r\n1\r\n2\r\n"}
    assert await bench.deriver.derive(primary, CSV, ()) == bench.cache.variant("a", "csv")
    assert bench.converter.asked == 1


async def test_what_is_no_table_is_looked_at_once(bench: Bench) -> None:
    primary = await bench.primary(b"[1]")
    for _ in range(3):
        with pytest.raises(NotAcceptable, match="not an object of arrays"):
            await bench.deriver.derive(primary, CSV, ())
    assert bench.converter.asked == 1


async def test_a_coding_of_a_derived_format(bench: Bench) -> None:
    primary = await bench.primary(b'{"a": [%b]}' % b",".join([b"1"] * 5000))
    coded = await bench.deriver.derive(primary, CSV, ("gzip", "identity"))
    assert (coded.name, coded.key, coded.coding) == ("csv.gz", "a.csv.gz", "gzip")
    plain = await bench.deriver.derive(primary, CSV, ("identity",))
    assert (plain.name, coded.size < plain.size) == ("csv", True)


async def test_a_variant_beyond_the_limit_is_not_acceptable(tmp_path: Path) -> None:
    bench = Bench(tmp_path, largest=MIB)
    primary = await bench.primary(b'{"a": [%b]}' % b",".join([b"1"] * 400_000))
    with pytest.raises(NotAcceptable, match="more than the limit"):
        await bench.deriver.derive(primary, CSV, ())
    await bench.database.close()


async def test_what_was_evicted_meanwhile_is_told(bench: Bench) -> None:
    primary = await bench.primary(b'{"a": [1]}')
    await bench.cache.discard("a")
    with pytest.raises(Evicted):
        await bench.deriver.derive(primary, CSV, ())


async def test_a_file_that_was_changed_is_not_converted(bench: Bench) -> None:
    primary = await bench.primary(b'{"a": [%b]}' % b",".join([b"1"] * MIB))
    assert primary.path is not None
    primary.path.write_bytes(b'{"a": [2]}')
    for codings in ((), ("gzip",)):
        with pytest.raises(FileNotFoundError):
            await bench.deriver.derive(primary, JSON if codings else CSV, codings)


async def test_what_only_a_run_writes_is_lost_where_it_is_not_kept(bench: Bench) -> None:
    with pytest.raises(FileNotFoundError):
        await bench.deriver.derive(await bench.primary(b"{}"), SVG, ())


async def test_without_room_nothing_is_kept_and_later_it_is_made(bench: Bench) -> None:
    primary = await bench.primary(b'{"a": [1, 2]}')
    (bench.folder / "a.csv.source").symlink_to("/dev/full")
    with pytest.raises(StorageFull):
        await bench.deriver.derive(primary, CSV, ())
    assert bench.cache.variant("a", "csv") is None
    assert (await bench.deriver.derive(primary, CSV, ())).body == b"a\r\n1\r\n2\r\n"
