from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etagere.core.history import INHERITED, LENGTH, History

run_times = st.lists(st.floats(0, 1e7), max_size=2 * LENGTH)


@given(run_times)
def test_it_has_the_last_runs_and_no_more(seconds: list[float]) -> None:
    history = History()
    for value in seconds:
        history.add(value)
    assert history.seconds == tuple(round(value, 3) for value in seconds[-LENGTH:])
    assert history.heir().seconds == history.seconds[-INHERITED:]


@given(run_times)
def test_it_survives_a_restart(seconds: list[float]) -> None:
    history = History(seconds)
    assert History.from_json(history.to_json()).seconds == history.seconds


@pytest.mark.parametrize("text", ["", "[1.0,", "null", "[null]", '["x"]', "7", "[[1]]"])
def test_what_cannot_be_read_is_learnt_again(text: str) -> None:
    assert History.from_json(text).seconds == ()


@given(st.lists(st.sampled_from([math.nan, math.inf, -1.0, 2.5])))
def test_no_run_time_is_negative_or_endless(seconds: list[float]) -> None:
    read = History.from_json(History(seconds).to_json()).seconds
    assert read == tuple(value for value in seconds if value == 2.5)
