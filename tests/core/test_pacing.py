from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etagere.core.pacing import LATEST, SOONEST, eta, patience, remember, retry_after


@pytest.mark.parametrize(
    ("elapsed", "seconds"), [(0, 1), (9, 1), (25, 2), (100, 10), (300, 30), (100_000, 30), (-5, 1)]
)
def test_retry_after_is_a_tenth_of_the_time_gone_by(elapsed: float, seconds: int) -> None:
    assert retry_after(elapsed) == seconds


@given(st.floats(-1e6, 1e9), st.floats(0, 1e6))
def test_it_grows_and_stays_within_its_limits(elapsed: float, more: float) -> None:
    assert SOONEST <= retry_after(elapsed) <= retry_after(elapsed + more) <= LATEST


@pytest.mark.parametrize(
    ("running", "progress", "left"), [(10, 0.5, 10.0), (10, None, None), (10, 0.0, None), (0, 0.5, None), (3, 1.0, 0.0)]
)
def test_eta_follows_progress(running: float, progress: float | None, left: float | None) -> None:
    assert eta(running, progress) == left


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_failure_outlives_three_pings(ttl: float, elapsed: float) -> None:
    assert remember(ttl, elapsed) >= max(ttl, 3 * retry_after(elapsed))


@pytest.mark.parametrize(("least", "told", "seconds"), [(600, 30, 600), (600, 60, 600), (600, 61, 610), (2, 1, 10)])
def test_a_client_that_misses_a_few_pings_has_not_given_up(least: float, told: float, seconds: float) -> None:
    assert patience(least, told) == seconds
