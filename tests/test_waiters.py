from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etagere.waiters import Place, Waiters

pytestmark = pytest.mark.anyio

STEPS = st.lists(st.tuples(st.sampled_from(["enter", "leave", "wake", "close"]), st.sampled_from("ab")), max_size=40)


def taken(waiters: Waiters, id: str) -> Place:
    place = waiters.enter(id)
    assert place is not None
    return place


async def test_the_end_of_a_run_wakes_those_that_wait_for_it_and_nobody_else() -> None:
    waiters = Waiters(10)
    first, second, other = taken(waiters, "a"), taken(waiters, "a"), taken(waiters, "b")
    waiters.wake("a")
    waiters.wake("unknown")
    assert (first.done(), second.done(), other.done()) == (True, True, False)


async def test_there_are_so_many_places_and_no_more() -> None:
    waiters = Waiters(2)
    first = taken(waiters, "a")
    taken(waiters, "b")
    assert waiters.enter("c") is None
    waiters.wake("a")
    assert waiters.enter("c") is None, "who has been woken still holds a place"
    waiters.leave("a", first)
    assert waiters.enter("c") is not None


async def test_nobody_waits_after_the_end() -> None:
    waiters = Waiters(2)
    place = taken(waiters, "a")
    waiters.close()
    assert place.done()
    assert waiters.closed
    assert waiters.enter("a") is None


@given(steps=STEPS, limit=st.integers(0, 4))
def test_places_are_counted_rightly_whatever_happens(steps: list[tuple[str, str]], limit: int) -> None:
    async def go() -> None:
        waiters = Waiters(limit)
        held: list[tuple[str, Place]] = []
        for step, id in steps:
            if step == "enter":
                place = waiters.enter(id)
                assert (place is None) is (waiters.closed or len(held) >= limit)
                held += [(id, place)] if place is not None else []
            elif step == "leave" and held:
                waiters.leave(*held.pop())
            elif step == "wake":
                waiters.wake(id)
                assert all(place.done() for other, place in held if other == id)
            elif step == "close":
                waiters.close()
                assert all(place.done() for _, place in held)
            assert waiters.taken == len(held)
        for each in held:
            waiters.leave(*each)
        assert waiters.taken == 0

    asyncio.run(go())
