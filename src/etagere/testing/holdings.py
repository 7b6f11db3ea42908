"""The public contract of `Holdings`, for the tests of whoever writes another cache."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import pytest

from etagere.core.representation import INLINE_BYTES, Kind, Representation
from etagere.ports import Cache, Holdings, Purged, Variants
from etagere.testing.samples import EPOCH, Contract, ManualClock, failure, representation, resource
from etagere.testing.variants import variant

LARGE = INLINE_BYTES + 1


class CacheThatIsHeld(Cache, Variants, Protocol):
    """What keeps results, and can tell of all of them."""

    @property
    def holdings(self) -> Holdings:
        """All that it keeps."""
        ...


class HoldingsContract(Contract):
    """Fixture `cache`: empty, of at least 20 MiB."""

    async def test_results_are_counted_and_all_bytes(self, cache: CacheThatIsHeld) -> None:
        """A failure is none."""
        assert await cache.holdings.totals() == (0, 0)
        primary = await _put(cache, "a", "heat@1", 10)
        await cache.put_variant(primary, variant(primary, b"x,y"))
        await _put(cache, "b", "heat@1", LARGE)
        await cache.put(resource("c"), failure("c", EPOCH + 60))
        assert await cache.holdings.totals() == (2, 13 + LARGE)

    @pytest.mark.parametrize(
        ("model", "gone"),
        [
            ("heat", "ab"),
            ("heat@1", "a"),
            ("heat@2", "b"),
            ("heating@1", "c"),
            ("heat@", ""),
            ("he", ""),
            (None, "abcd"),
        ],
    )
    async def test_a_model_or_a_version_is_forgotten(
        self, cache: CacheThatIsHeld, model: str | None, gone: str
    ) -> None:
        """And no other, whatever it is called."""
        for id, of in (("a", "heat@1"), ("b", "heat@2"), ("c", "heating@1"), ("d", "Heat@1")):
            await _put(cache, id, of, 10)
        assert await cache.holdings.purge(model, EPOCH + 1) == Purged(len(gone), 0, 10 * len(gone))
        assert [id for id in "abcd" if cache.get(id) is None] == list(gone)
        assert (await cache.holdings.totals())[0] == 4 - len(gone)

    async def test_what_is_as_old_or_younger_stays(self, cache: CacheThatIsHeld) -> None:
        """Failures like results."""
        for id, age in (("a", 2), ("b", 1), ("c", 0)):
            await _put(cache, id, "heat@1", 10, EPOCH - age)
            name = f"f{id}"
            await cache.put(resource(name), replace(failure(name, EPOCH + 600, Kind.refused), created=EPOCH - age))
        assert await cache.holdings.purge("heat", EPOCH - 1) == Purged(1, 1, 10)
        assert [id for id in ("a", "b", "c", "fa", "fb", "fc") if cache.get(id)] == ["b", "c", "fb", "fc"]

    @pytest.mark.parametrize("size", [10, LARGE])
    async def test_variants_leave_with_their_result_and_the_ghost_stays(
        self, cache: CacheThatIsHeld, size: int
    ) -> None:
        """So that what is computed again is compared with the first."""
        primary = await _put(cache, "a", "heat@1", size)
        kept = await cache.put_variant(primary, variant(primary, b"x" * size))
        assert await cache.holdings.purge("heat@1", EPOCH + 1) == Purged(1, 0, 2 * size)
        assert (cache.get("a"), cache.variant("a", kept.name)) == (None, None)
        assert await cache.holdings.totals() == (0, 0)
        ghost = cache.ghost("a")
        assert ghost is not None
        assert ghost.digest == primary.digest
        assert (await _put(cache, "a", "heat@1", size)).digest == primary.digest

    async def test_what_is_being_sent_is_sent_to_its_end(self, cache: CacheThatIsHeld) -> None:
        """By us, from the file that is open; by a server that was given the path."""
        primary = await _put(cache, "a", "heat@1", 4 * LARGE)
        assert primary.path is not None
        sending = cache.stream(primary)
        first = await anext(sending)
        assert [chunk async for chunk in cache.stream(primary, 0, 0)] == []
        assert (await cache.holdings.purge(None, EPOCH + 1)).results == 1
        assert len(first) + sum([len(chunk) async for chunk in sending]) == 4 * LARGE
        assert primary.path.stat().st_size == 4 * LARGE

    async def test_many_are_forgotten(self, cache: CacheThatIsHeld, clock: ManualClock) -> None:
        """More than one commit has."""
        for n in range(450):
            await _put(cache, f"id{n}", "heat@1", 1)
        assert await cache.holdings.purge("heat", clock.now() + 1) == Purged(450, 0, 450)
        assert await cache.holdings.totals() == (0, 0)


async def _put(cache: Cache, id: str, model: str, size: int, created: float = EPOCH) -> Representation:
    kept = await cache.put(resource(id, model), representation(id, (id * size)[:size].encode(), created))
    assert isinstance(kept, Representation)
    return kept
