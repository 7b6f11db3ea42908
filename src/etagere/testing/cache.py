"""The public contract of `Cache`, for the tests of whoever writes another one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from etagere.core.representation import Representation
from etagere.ports import Cache
from etagere.testing.samples import EPOCH, Contract, ManualClock, failure, representation, resource


class CacheContract(Contract):
    """Fixture `cache`: empty, of at least 20 MiB."""

    LARGE = 3 * 1024 * 1024

    async def test_nothing_is_known_at_first(self, cache: Cache) -> None:
        assert cache.get("a") is None
        assert cache.ghost("a") is None

    async def test_a_small_representation_is_kept(self, cache: Cache) -> None:
        given = representation("a", b"small")
        assert await cache.put(resource("a"), given) == given
        assert cache.get("a") == given
        assert await self._streamed(cache, given) == b"small"

    async def test_an_empty_body_is_a_body(self, cache: Cache) -> None:
        given = representation("a", b"")
        await cache.put(resource("a"), given)
        assert cache.get("a") == given

    async def test_a_large_file_is_moved_in(self, cache: Cache, tmp_path: Path) -> None:
        body = bytes(range(256)) * (self.LARGE // 256)
        given = self._in_file(tmp_path / "result", body)
        kept = await cache.put(resource("a"), given)
        assert isinstance(kept, Representation)
        assert (kept.digest, kept.size, kept.body) == (given.digest, given.size, None)
        assert given.path is not None
        assert not given.path.exists()
        assert cache.get("a") == kept
        assert await self._streamed(cache, kept) == body

    async def test_a_small_file_is_moved_in(self, cache: Cache, tmp_path: Path) -> None:
        given = self._in_file(tmp_path / "result", b"small")
        kept = await cache.put(resource("a"), given)
        assert isinstance(kept, Representation)
        assert given.path is not None
        assert not given.path.exists()
        assert await self._streamed(cache, kept) == b"small"

    async def test_the_first_representation_wins(self, cache: Cache) -> None:
        first = representation("a", b"first")
        await cache.put(resource("a"), first)
        assert await cache.put(resource("a"), representation("a", b"second")) == first
        assert await cache.put(resource("a"), failure("a", EPOCH + 60)) == first
        assert cache.get("a") == first

    async def test_a_failure_is_forgotten_when_it_expires(self, cache: Cache, clock: ManualClock) -> None:
        given = failure("a", clock.now() + 60)
        assert await cache.put(resource("a"), given) == given
        assert cache.get("a") == given
        clock.advance(60)
        assert cache.get("a") is None

    async def test_a_representation_replaces_a_failure(self, cache: Cache, clock: ManualClock) -> None:
        await cache.put(resource("a"), failure("a", clock.now() + 60))
        await cache.put(resource("a"), representation("a", b"late"))
        assert cache.get("a") == representation("a", b"late")

    async def test_a_discarded_representation_leaves_its_ghost(self, cache: Cache) -> None:
        given = representation("a", b"body")
        await cache.put(resource("a"), given)
        await cache.discard("a")
        await cache.discard("a")
        assert cache.get("a") is None
        ghost = cache.ghost("a")
        assert ghost is not None
        assert (ghost.uri, ghost.digest, ghost.seconds) == (resource("a").uri, given.digest, given.seconds)

    async def test_the_ghost_of_a_failure_has_no_digest(self, cache: Cache) -> None:
        await cache.put(resource("a"), failure("a", EPOCH + 60))
        ghost = cache.ghost("a")
        assert ghost is not None
        assert (ghost.digest, ghost.seconds) == (None, 0.5)

    async def test_a_discarded_file_is_not_found(self, cache: Cache, tmp_path: Path) -> None:
        kept = await cache.put(resource("a"), self._in_file(tmp_path / "result", b"x" * self.LARGE))
        assert isinstance(kept, Representation)
        await cache.discard("a")
        with pytest.raises(FileNotFoundError):
            await self._streamed(cache, kept)

    async def test_discarding_does_not_break_a_stream(self, cache: Cache, tmp_path: Path) -> None:
        kept = await cache.put(resource("a"), self._in_file(tmp_path / "result", b"x" * self.LARGE))
        assert isinstance(kept, Representation)
        stream = cache.stream(kept)
        received = await anext(stream)
        await cache.discard("a")
        async for chunk in stream:
            received += chunk
        assert received == b"x" * self.LARGE

    @pytest.mark.parametrize("size", [5, LARGE])
    @pytest.mark.parametrize("span", [(0, 0), (0, 1), (1, 4), (3, None), (5, 5), (2, LARGE - 1)])
    async def test_a_stream_is_what_lies_between(
        self, cache: Cache, tmp_path: Path, size: int, span: tuple[int, int | None]
    ) -> None:
        body = hashlib.shake_128(b"").digest(size)
        kept = await cache.put(resource("a"), self._in_file(tmp_path / "result", body))
        assert isinstance(kept, Representation)
        assert b"".join([chunk async for chunk in cache.stream(kept, *span)]) == body[slice(*span)]

    async def test_a_file_that_is_lent_can_be_opened_after_it_was_discarded(self, cache: Cache, tmp_path: Path) -> None:
        body = b"x" * self.LARGE
        kept = await cache.put(resource("a"), self._in_file(tmp_path / "result", body))
        assert isinstance(kept, Representation)
        assert [chunk async for chunk in cache.stream(kept, 0, 0)] == []
        await cache.discard("a")
        assert cache.get("a") is None
        if kept.path is not None:
            assert kept.path.read_bytes() == body

    async def test_two_ids_may_have_the_same_content(self, cache: Cache, tmp_path: Path) -> None:
        body = b"y" * self.LARGE
        for name in "ab":
            await cache.put(resource(name), self._in_file(tmp_path / name, body, id=name))
        await cache.discard("a")
        kept = cache.get("b")
        assert isinstance(kept, Representation)
        assert await self._streamed(cache, kept) == body

    async def _streamed(self, cache: Cache, kept: Representation) -> bytes:
        return b"".join([chunk async for chunk in cache.stream(kept)])

    def _in_file(self, path: Path, body: bytes, id: str = "a") -> Representation:
        path.write_bytes(body)
        digest = hashlib.sha256(body).digest()
        return Representation(id, "bin", "application/octet-stream", digest, len(body), EPOCH, 1.5, path=path)
