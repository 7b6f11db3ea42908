"""The public contract of `Variants`, for the tests of whoever writes another cache."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Protocol

import pytest

from etagere.core.media import IDENTITY
from etagere.core.representation import INLINE_BYTES, Representation
from etagere.errors import Evicted
from etagere.ports import Cache, Variants
from etagere.testing.samples import representation, resource


class CacheWithVariants(Cache, Variants, Protocol):
    """What keeps both."""


def variant(primary: Representation, body: bytes, format: str = "csv", coding: str = IDENTITY) -> Representation:
    """A variant with its body in memory."""
    digest = hashlib.sha256(body).digest()
    made = replace(primary, format=format, media_type="text/csv", coding=coding, derived=True)
    return replace(made, digest=digest, size=len(body), body=body, path=None)


@pytest.mark.anyio
class VariantsContract:
    """Fixture `cache`: empty, of at least 20 MiB."""

    async def test_a_variant_is_found_under_its_name_alone(self, cache: CacheWithVariants) -> None:
        """And its primary as before."""
        primary = await _put(cache)
        plain, coded = variant(primary, b"x,y"), variant(primary, b"zzz", coding="gzip")
        assert await cache.put_variant(primary, plain) == plain
        assert await cache.put_variant(primary, coded) == coded
        assert (cache.variant("a", "csv"), cache.variant("a", "csv.gz")) == (plain, coded)
        assert cache.variant("a", "csv.zst") is None
        assert cache.get("a") == primary

    async def test_the_first_of_a_name_wins(self, cache: CacheWithVariants) -> None:
        """Like that of an id."""
        primary = await _put(cache)
        first = variant(primary, b"first")
        await cache.put_variant(primary, first)
        assert await cache.put_variant(primary, variant(primary, b"second")) == first
        assert cache.variant("a", "csv") == first

    async def test_a_variant_of_what_is_not_there_is_refused(self, cache: CacheWithVariants) -> None:
        """Or of other bytes."""
        absent = representation("a", b"primary")
        with pytest.raises(Evicted):
            await cache.put_variant(absent, variant(absent, b"x"))
        primary = await _put(cache)
        with pytest.raises(Evicted):
            await cache.put_variant(replace(primary, digest=b"other"), variant(primary, b"x"))
        assert cache.variant("a", "csv") is None

    async def test_variants_leave_with_their_primary(self, cache: CacheWithVariants) -> None:
        """And do not come back with it."""
        primary = await _put(cache)
        await cache.put_variant(primary, variant(primary, b"x"))
        await cache.discard("a")
        assert cache.variant("a", "csv") is None
        await _put(cache)
        assert cache.variant("a", "csv") is None

    async def test_a_variant_leaves_alone(self, cache: CacheWithVariants) -> None:
        """By its key."""
        primary = await _put(cache)
        kept = await cache.put_variant(primary, variant(primary, b"x"))
        await cache.discard(kept.key)
        assert (cache.get("a"), cache.variant("a", "csv")) == (primary, None)

    async def test_the_file_to_make_a_variant_of(self, cache: CacheWithVariants) -> None:
        """Has what was put, as long as that is kept."""
        small = await _put(cache)
        assert await cache.file(small) is None
        body = b"x" * (INLINE_BYTES + 1)
        large = await cache.put(resource("b"), representation("b", body))
        assert isinstance(large, Representation)
        path = await cache.file(large)
        assert path is not None
        assert path.read_bytes() == body
        await cache.discard("b")
        with pytest.raises(FileNotFoundError):
            await cache.file(large)


async def _put(cache: Cache) -> Representation:
    kept = await cache.put(resource("a"), representation("a", b"primary"))
    assert isinstance(kept, Representation)
    return kept
