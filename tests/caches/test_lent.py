from __future__ import annotations

from pathlib import Path

import pytest

from etagere.caches.lent import LENT_S, Lent
from etagere.testing.samples import ManualClock

ONE, OTHER = "ab/abc", "cd/cde"


def test_what_is_lent_is_kept_until_its_time_is_over() -> None:
    clock = ManualClock()
    lent = Lent(clock)
    lent.lend(Path("/blobs", ONE))
    with lent.removing([ONE, OTHER]) as free:
        assert free == {OTHER}
    assert lent.kept == {ONE}
    clock.advance(LENT_S)
    with lent.removing(lent.kept) as free:
        assert free == {ONE}
    assert lent.kept == frozenset()


def test_what_is_being_removed_is_not_lent() -> None:
    lent = Lent(ManualClock())
    with lent.removing([ONE]), pytest.raises(FileNotFoundError):
        lent.lend(Path("/blobs", ONE))
    # The same content may have arrived again.
    lent.lend(Path("/blobs", ONE))
    with lent.removing([ONE]) as free:
        assert free == frozenset()


def test_lending_again_prolongs() -> None:
    clock = ManualClock()
    lent = Lent(clock)
    for _ in range(3):
        lent.lend(Path("/blobs", ONE))
        clock.advance(LENT_S * 0.75)
        with lent.removing([ONE]) as free:
            assert free == frozenset()


def test_in_the_end_nothing_is_lent() -> None:
    lent = Lent(ManualClock())
    lent.lend(Path("/blobs", ONE))
    with lent.removing([ONE]) as free:
        assert free == frozenset()
    with lent.removing(lent.end()) as free:
        assert free == {ONE}
