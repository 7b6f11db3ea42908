"""The laws of quotas."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etagere.core.quota import Quota

NOW = 1_700_000_000.0
QUOTAS = st.builds(Quota, st.integers(1, 50), st.sampled_from([1, 60, 3600, 86400]))


@pytest.mark.parametrize(
    ("text", "quota"),
    [("100/hour", (100, 3600)), ("1/s", (1, 1)), ("20/min", (20, 60)), ("999999999/day", (999_999_999, 86400))],
)
def test_what_is_a_quota(text: str, quota: tuple[int, float]) -> None:
    found = Quota.parse(text)
    assert (found.runs, found.seconds) == quota


@pytest.mark.parametrize(
    "text", ["", "0/s", "-1/s", "1/week", "1 / s", "1/S", "1.5/s", "1", "/s", "1/s ", "9" * 10 + "/s"]
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="such as 100/hour"):
        Quota.parse(text)


def start(quota: Quota, moments: list[float]) -> list[float]:
    """When runs were started of those that were tried at these moments."""
    whole, started = 0.0, []
    for now in moments:
        after = quota.charge(whole, now)
        if after is not None:
            whole = after
            started.append(now)
    return started


@given(QUOTAS)
def test_a_rested_client_starts_all_at_once_and_no_more(quota: Quota) -> None:
    assert len(start(quota, [NOW] * (quota.runs + 5))) == quota.runs
    # After the whole time again.
    assert len(start(quota, [NOW] * 60 + [NOW + quota.seconds] * 60)) == 2 * quota.runs


@given(QUOTAS, st.lists(st.floats(0, 3), max_size=300))
def test_in_no_time_twice_as_much(quota: Quota, gaps: list[float]) -> None:
    """A burst, and what comes back meanwhile: in any so many seconds at most twice the quota."""
    now, moments = NOW, []
    for gap in gaps:
        now += gap * quota.seconds / quota.runs
        moments.append(now)
    started = start(quota, moments)
    for first in started:
        assert sum(first <= moment < first + quota.seconds for moment in started) <= 2 * quota.runs


@given(QUOTAS, st.integers(1, 60))
def test_after_the_wait_one_more_starts_and_not_before(quota: Quota, tried: int) -> None:
    whole = 0.0
    for _ in range(tried):
        whole = quota.charge(whole, NOW) or whole
    wait = quota.wait(whole, NOW)
    assert (wait == 0) is (quota.charge(whole, NOW) is not None)
    assert quota.charge(whole, NOW + wait) is not None
    if wait > 1:
        assert quota.charge(whole, NOW + wait - 1.01) is None


@given(QUOTAS)
def test_what_was_not_started_is_given_back(quota: Quota) -> None:
    whole = 0.0
    for _ in range(3 * quota.runs):
        after = quota.charge(whole, NOW)
        assert after is not None
        whole = quota.refund(after)


@given(QUOTAS, st.floats(0, 1e9))
def test_a_clock_that_is_set_back_keeps_nobody_for_longer(quota: Quota, back: float) -> None:
    whole = 0.0
    for _ in range(quota.runs):
        whole = quota.charge(whole, NOW) or whole
    assert quota.wait(whole, NOW - back) <= quota.seconds / quota.runs + 1
