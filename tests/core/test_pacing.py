from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etagere.core.lifecycle import Run, State
from etagere.core.pacing import LATEST, LONGEST, SOONEST, TELLING, Places, eta, pace, patience, remember, retry_after
from etagere.core.schedule import Schedule

seconds = st.floats(0, 1e6)
schedules = st.none() | st.lists(seconds, min_size=1, max_size=20).map(Schedule.of)
progresses = st.none() | st.floats(0, 1)
THE_SAME = Schedule.of([100.0] * 20)


def queued() -> Run:
    return Run("a", "heat@1", "default", 1000.0)


def running(progress: float | None = None) -> Run:
    return Run("a", "heat@1", "default", 1000.0, State.running, 1, started=1000.0, progress=progress)


@pytest.mark.parametrize(
    ("elapsed", "seconds"), [(0, 1), (9, 1), (25, 2), (100, 10), (300, 30), (100_000, 30), (-5, 1)]
)
def test_retry_after_is_a_tenth_of_the_time_gone_by(elapsed: float, seconds: int) -> None:
    assert retry_after(elapsed) == seconds
    assert pace(running(), None, 1000 + elapsed, None, None) == (seconds, None)
    assert pace(queued(), 3, 1000 + elapsed, None, None) == (seconds, None)


@given(st.floats(-1e6, 1e9), st.floats(0, 1e6))
def test_it_grows_and_stays_within_its_limits(elapsed: float, more: float) -> None:
    assert SOONEST <= retry_after(elapsed) <= retry_after(elapsed + more) <= LATEST


@given(schedules, st.floats(-1e6, 1e7), progresses)
def test_a_running_run_has_a_whole_wait_within_the_limits(
    schedule: Schedule | None, elapsed: float, progress: float | None
) -> None:
    found = pace(running(progress), None, 1000 + elapsed, schedule, None)
    assert isinstance(found.retry_after, int)
    assert SOONEST <= found.retry_after <= LONGEST
    assert found.eta is None or found.eta >= 0


@given(schedules, st.integers(1, 10_000), st.integers(0, 1000), st.integers(1, 64), st.integers(-3, 64))
def test_a_queued_run_waits_the_longer_the_more_are_before_it(
    schedule: Schedule | None, position: int, more: int, at_once: int, free: int
) -> None:
    places = Places(at_once, min(at_once, free))
    first, second = (pace(queued(), place, 1000.0, schedule, places) for place in (position, position + more))
    assert SOONEST <= first.retry_after <= second.retry_after <= LONGEST
    assert first.eta is None or (second.eta is not None and 0 <= first.eta <= second.eta)


@given(st.lists(seconds, min_size=1), st.integers(1, 8))
def test_a_run_that_begins_at_once_is_as_good_as_begun(times: list[float], at_once: int) -> None:
    schedule = Schedule.of(times)
    begun = pace(running(), None, 1000.0, schedule, None)
    assert pace(queued(), 1, 1000.0, schedule, Places(at_once, 1)) == begun


def test_a_queued_run_waits_for_those_before_it() -> None:
    found = pace(queued(), 4, 1000.0, THE_SAME, Places(2, 0))
    assert found.eta == pytest.approx(300.0)
    assert 200 <= found.retry_after <= 204


def test_what_is_before_it_may_be_of_another_model() -> None:
    found = pace(queued(), 300, 1000.0, THE_SAME, Places(1, 0, each=0.1))
    assert found.eta == pytest.approx(130.0)
    assert 115 <= found.retry_after <= 119
    quick = Schedule.of([0.01] * 20)
    found = pace(queued(), 6, 1000.0, quick, Places(1, 0, each=8.0))
    assert found.eta == pytest.approx(48.0, abs=0.1)
    assert found.retry_after == 25


@pytest.mark.parametrize(
    ("elapsed", "progress", "left"), [(10, 0.5, 10.0), (10, None, None), (10, 0.0, None), (0, 0.5, None), (3, 1.0, 0.0)]
)
def test_the_estimate_follows_progress(elapsed: float, progress: float | None, left: float | None) -> None:
    assert pace(running(progress), None, 1000 + elapsed, None, None).eta == left


@given(seconds, st.floats(TELLING, 1), seconds)
def test_eta_lies_between_what_progress_and_history_say(running: float, progress: float, usual: float) -> None:
    found = eta(running, progress, usual)
    low, high = sorted([usual, eta(running, progress)])
    assert low * 0.999999 <= found <= high * 1.000001


def test_a_run_that_is_nearly_done_is_not_asked_for_each_second() -> None:
    """A model may report its last step and then write for an hour."""
    assert pace(running(1.0), None, 1000.0 + 3600, None, None).retry_after == 72


def test_progress_is_waited_for_within_the_time_gone_by() -> None:
    assert pace(running(0.1), None, 1000.0 + 20, None, None).retry_after == 10
    assert pace(running(0.9), None, 1000.0 + 90, None, None).retry_after == 10
    # History says 100 s, the run itself that it will be 200.
    assert pace(running(0.5), None, 1000.0 + 99, THE_SAME, None).retry_after == 50


@given(st.floats(0, 1e6))
def test_a_failure_outlives_three_pings(told: float) -> None:
    assert remember(told) >= 3 * told


def test_a_run_without_a_position_has_begun() -> None:
    assert pace(queued(), None, 1000.0, THE_SAME, Places(1, 0)) == pace(running(), None, 1000.0, THE_SAME, None)


def test_a_run_may_have_begun_with_the_epoch() -> None:
    begun = Run("a", "heat@1", "default", 0.0, State.running, 1, started=0.0)
    assert pace(begun, None, 60.0, THE_SAME, None).eta == 40.0


@pytest.mark.parametrize(("least", "told", "seconds"), [(600, 30, 600), (600, 60, 600), (600, 61, 610), (2, 1, 10)])
def test_a_client_that_misses_a_few_pings_has_not_given_up(least: float, told: float, seconds: float) -> None:
    assert patience(least, told) == seconds
