"""The public contract of a `Cache` that is given other bytes for a resource that it knows."""

from __future__ import annotations

import hashlib

import pytest

from etagere.core.representation import Difference
from etagere.ports import Cache
from etagere.testing.samples import EPOCH, ManualClock, failure, representation, resource


@pytest.mark.anyio
class DifferencesContract:
    """Fixtures `cache`, empty, and `clock`, which it must be given."""

    async def test_the_same_bytes_again_are_no_difference(self, cache: Cache) -> None:
        """Whether they are there still or were evicted."""
        await _put(cache, b"one", b"one")
        await cache.discard("a")
        await _put(cache, b"one")
        assert _difference(cache) is None

    async def test_a_late_result_is_compared_with_what_is_there(self, cache: Cache, clock: ManualClock) -> None:
        """It is not kept, and known to be another."""
        await _put(cache, b"one")
        clock.advance(5)
        await _put(cache, b"two")
        assert _difference(cache) == Difference(_sha256(b"one"), _sha256(b"two"), clock.now())
        assert cache.get("a") == representation("a", b"one")

    async def test_a_result_is_compared_with_what_was_evicted(self, cache: Cache, clock: ManualClock) -> None:
        """Its bytes are served from now on."""
        await _put(cache, b"one")
        await cache.discard("a")
        await _put(cache, b"two")
        assert _difference(cache) == Difference(_sha256(b"one"), _sha256(b"two"), clock.now())
        assert cache.get("a") == representation("a", b"two")

    async def test_the_last_difference_is_told(self, cache: Cache) -> None:
        """Also where the first bytes have come back."""
        for body in (b"one", b"two", b"one"):
            await _put(cache, body)
            await cache.discard("a")
        found = _difference(cache)
        assert found is not None
        assert (found.first, found.later) == (_sha256(b"two"), _sha256(b"one"))

    async def test_a_failure_is_no_other_result(self, cache: Cache) -> None:
        """Only representations are compared, each with the last one."""
        await _put(cache, b"one")
        await cache.discard("a")
        await cache.put(resource("a"), failure("a", EPOCH + 60))
        await _put(cache, b"one")
        assert _difference(cache) is None


async def _put(cache: Cache, *bodies: bytes) -> None:
    for body in bodies:
        await cache.put(resource("a"), representation("a", body))


def _difference(cache: Cache) -> Difference | None:
    ghost = cache.ghost("a")
    return ghost.difference if ghost else None


def _sha256(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()
