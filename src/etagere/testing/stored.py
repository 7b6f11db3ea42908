"""The public contract of `Stored`, for the tests of whoever writes another cache."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Protocol

import pytest

from etagere.core.representation import INLINE_BYTES, Representation
from etagere.ports import Cache, Checked, Stored
from etagere.testing.samples import representation, resource
from etagere.testing.variants import CacheWithVariants, variant

Damage = Callable[[Representation], Awaitable[None]]
SIZES = (1, 5000, INLINE_BYTES, INLINE_BYTES + 1)


class CacheThatIsChecked(CacheWithVariants, Protocol):
    """What keeps bodies, and can check them."""

    @property
    def stored(self) -> Stored:
        """All that it keeps."""
        ...


@pytest.mark.anyio
class StoredContract:
    """Fixtures `cache`: empty, of at least 20 MiB; `damage`: changes a byte of what is stored of a representation."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        """The service runs on asyncio."""
        return "asyncio"

    async def test_every_body_is_compared_once(self, cache: CacheThatIsChecked) -> None:
        """And what is sound stays."""
        kept = [await put(cache, f"id{n}", os.urandom(size)) for n, size in enumerate(SIZES)]
        steps, paced = await checked(cache.stored)
        assert (sum(step.bodies for step in steps), sum(step.size for step in steps)) == (len(SIZES), sum(SIZES))
        assert paced >= sum(SIZES)
        assert await cache.stored.sweep() == 0
        assert [cache.get(each.id) for each in kept] == kept

    @pytest.mark.parametrize("size", SIZES)
    async def test_a_damaged_body_is_forgotten(self, cache: CacheThatIsChecked, damage: Damage, size: int) -> None:
        """With its variants; the ghost stays, and what is computed again is kept."""
        body = os.urandom(size)
        primary, other = await put(cache, "a", body), await put(cache, "b", b"other")
        await cache.put_variant(primary, variant(primary, b"x,y"))
        await damage(primary)
        steps, _ = await checked(cache.stored)
        assert sum(step.damaged for step in steps) == 1
        assert (cache.get("a"), cache.variant("a", "csv"), cache.get("b")) == (None, None, other)
        assert cache.ghost("a") is not None
        await put(cache, "a", body)
        steps, _ = await checked(cache.stored)
        assert sum(step.damaged for step in steps) == 0

    async def test_a_damaged_variant_leaves_alone(self, cache: CacheThatIsChecked, damage: Damage) -> None:
        """Its primary stays."""
        primary = await put(cache, "a", b"primary")
        await damage(await cache.put_variant(primary, variant(primary, b"x,y")))
        steps, _ = await checked(cache.stored)
        assert sum(step.damaged for step in steps) == 1
        assert (cache.get("a"), cache.variant("a", "csv")) == (primary, None)


async def put(cache: Cache, id: str, body: bytes) -> Representation:
    """What is kept of it."""
    kept = await cache.put(resource(id), representation(id, body))
    assert isinstance(kept, Representation)
    return kept


async def checked(stored: Stored) -> tuple[list[Checked], int]:
    """The steps of a whole round, and how many bytes the pace was told of."""
    paced = 0

    async def pace(read: int) -> None:
        nonlocal paced
        paced += read

    steps: list[Checked] = []
    while step := await stored.check(steps[-1].last if steps else "", pace):
        assert not steps or step.last > steps[-1].last, "a round goes on"
        steps.append(step)
    return steps, paced
