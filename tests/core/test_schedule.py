from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etagere.core.schedule import SHORTEST, TAIL, Schedule

run_times = st.lists(st.floats(0, 1e6), min_size=1, max_size=64)
moments = st.floats(0, 2e6)


@given(run_times, moments)
def test_a_wait_leads_to_a_later_moment(seconds: list[float], running: float) -> None:
    wait = Schedule.of(seconds).wait(running)
    assert wait > 0 or running == 0 == wait
    assert wait <= max(seconds) * 3 + 2 or wait == pytest.approx(running * TAIL)


@given(run_times, moments, st.floats(0, 1e6))
def test_who_asks_later_is_sent_to_no_earlier_moment(seconds: list[float], running: float, more: float) -> None:
    schedule = Schedule.of(seconds)
    last = schedule.moments[-1]
    sooner, later = (min(last, at) + schedule.wait(min(last, at)) for at in (running, running + more))
    assert later >= sooner - 1e-6
    if (now := schedule.left(running)) is not None and (after := schedule.left(running + more)) is not None:
        assert running + more + after >= running + now - 1e-6


@given(run_times)
def test_the_moments_are_whole_seconds_that_grow(seconds: list[float]) -> None:
    schedule = Schedule.of(seconds)
    assert schedule.moments[0] == 0
    assert all(after - before >= 1 for before, after in pairwise(schedule.moments))
    assert all(target in schedule.moments for target in schedule.targets)
    assert list(schedule.targets) == sorted(schedule.targets)


@given(run_times, st.randoms())
def test_it_does_not_depend_on_the_order_of_the_runs(seconds: list[float], shuffler: random.Random) -> None:
    shuffled = seconds[:]
    shuffler.shuffle(shuffled)
    assert Schedule.of(shuffled) == Schedule.of(seconds)


@given(run_times, moments)
def test_what_is_left_is_what_a_longer_run_had_left(seconds: list[float], running: float) -> None:
    left = Schedule.of(seconds).left(running)
    longer = sorted(value for value in (max(value, SHORTEST) for value in seconds) if value > running)
    if left is None:
        assert not longer
    else:
        assert running + left == pytest.approx(longer[len(longer) // 2])


@pytest.mark.parametrize("seconds", [3.0, 42.0, 600.0, 5000.0])
def test_runs_that_take_the_same_are_asked_for_once_at_their_end(seconds: float) -> None:
    wait = Schedule.of([seconds] * 30).wait(0)
    assert seconds <= wait <= seconds * 1.03 + 1


def test_of_two_kinds_of_runs_nobody_asks_between_them() -> None:
    schedule = Schedule.of([10.0] * 20 + [600.0] * 20)
    first = schedule.wait(0)
    assert 10 <= first <= 12
    assert 600 <= first + schedule.wait(first) <= 630


def test_few_runs_are_trusted_less_than_many() -> None:
    one, many = Schedule.of([100.0]), Schedule.of([100.0] * 50)
    assert one.wait(0) < 100 <= many.wait(0)


def test_where_nothing_can_be_foretold_it_asks_evenly() -> None:
    rng = random.Random(7)
    schedule = Schedule.of([rng.expovariate(1 / 1000) for _ in range(64)])
    asked = [0.0]
    while asked[-1] < 1500:
        asked.append(asked[-1] + schedule.wait(asked[-1]))
    assert 5 <= len(asked) <= 20


def test_a_run_longer_than_all_others_is_asked_for_in_proportion() -> None:
    schedule = Schedule.of([10.0] * 10)
    assert schedule.wait(1000.0) == pytest.approx(100.0)
    assert schedule.left(1000.0) is None
