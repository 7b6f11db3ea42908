"""The public contract of `Prints`, for the tests of whoever writes another store of what runs print."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import pytest

from etagere.core.representation import Printed
from etagere.ports import Cache, Prints
from etagere.testing.samples import EPOCH, failure, representation, resource

PRINTED = Printed("a", 2, "crashed", EPOCH, "last words\n\0\N{SNOWMAN}", "Traceback")


class Store(Protocol):
    """A cache with the prints that are recorded with its entries."""

    cache: Cache
    prints: Prints


@pytest.mark.anyio
class PrintsContract:
    """Fixture `store`: empty."""

    async def test_what_was_noted_is_there_once_something_is_recorded(self, store: Store) -> None:
        """The next record takes it along."""
        store.prints.note(PRINTED)
        await store.cache.put(resource("b"), failure("b", EPOCH))
        assert await store.prints.printed("a") == PRINTED
        assert await store.prints.printed("b") is None

    async def test_the_last_attempt_that_printed_counts(self, store: Store) -> None:
        """One that printed nothing leaves what there was."""
        store.prints.note(PRINTED)
        later = replace(PRINTED, attempt=3, outcome="failed", output="other words")
        await store.cache.put(resource("a"), failure("a", EPOCH), later)
        assert await store.prints.printed("a") == later
        await store.cache.put(resource("a"), representation("a", b"result"))
        assert await store.prints.printed("a") == later

    async def test_what_a_success_printed_is_kept_with_it(self, store: Store) -> None:
        """However large the result."""
        for id, size in (("a", 10), ("b", 2 * 1024 * 1024)):
            await store.cache.put(resource(id), representation(id, b"x" * size), replace(PRINTED, id=id))
            assert await store.prints.printed(id) == replace(PRINTED, id=id)
