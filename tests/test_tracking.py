"""Progress: nothing outside a run; inside, clamped, throttled, and of tracks the outermost."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etagere import progress, track
from etagere.tracking import report_to

Told = list[tuple[float, str]]


@pytest.fixture
def told() -> Iterator[Told]:
    heard: Told = []
    report_to(lambda fraction, message: heard.append((fraction, message)))
    yield heard
    report_to(None)


def test_outside_a_run_nothing_happens() -> None:
    progress(0.5, "nobody listens")
    items = [1, 2, 3]
    assert list(track(items)) == items
    assert list(track(iter(items), total=3)) == items


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats())
def test_fractions_are_clamped_and_nonsense_is_silent(told: Told, fraction: float) -> None:
    report_to(lambda value, message: told.append((value, message)))
    told.clear()
    progress(fraction)
    assert told == ([] if math.isnan(fraction) else [(min(1.0, max(0.0, fraction)), "")])


def test_the_same_again_is_not_told_again(told: Told) -> None:
    for _ in range(3):
        progress(0.5, "a")
    progress(0.5, "b")
    progress(0.25, "b")
    assert told == [(0.5, "a"), (0.5, "b"), (0.25, "b")]


def test_many_reports_are_few_and_the_end_is_always_told(told: Told) -> None:
    for n in range(100_000):
        progress(n / 200_000)
    assert 10 <= len(told) < 1000
    progress(1.0, "the end")
    assert told[-1] == (1.0, "the end")


def test_messages_are_short(told: Told) -> None:
    progress(0.5, "x" * 10_000)
    assert len(told[0][1]) == 500


def test_track_tells_what_is_done_before_each_item_and_the_end(told: Told) -> None:
    assert list(track("abcd", message="letters")) == list("abcd")
    assert told == [(0.0, "letters"), (0.25, "letters"), (0.5, "letters"), (0.75, "letters"), (1.0, "letters")]


def test_track_takes_the_total_where_the_iterable_has_none(told: Told) -> None:
    assert list(track((n for n in range(2)), total=2)) == [0, 1]
    assert [fraction for fraction, _ in told] == [0.0, 0.5, 1.0]
    told.clear()
    assert list(track(n for n in range(2))) == [0, 1]
    assert told == [] or told == [(1.0, "")]


def test_only_the_outermost_track_counts(told: Told) -> None:
    pairs = [(a, b) for a in track(range(2), message="outer") for b in track(range(3), message="inner")]
    assert len(pairs) == 6
    assert told == [(0.0, "outer"), (0.5, "outer"), (1.0, "outer")]


def test_a_track_that_is_left_early_makes_room_for_the_next(told: Told) -> None:
    with pytest.raises(KeyError):
        failing(told)
    list(track("a", message="second"))
    assert told[-1] == (1.0, "second")


def failing(told: Told) -> None:
    for _ in track(range(5), message="first"):
        assert told == [(0.0, "first")]
        raise KeyError


def test_threads_may_report_at_once(told: Told) -> None:
    ready = threading.Barrier(4)

    def work(name: str) -> None:
        ready.wait()
        for n in range(1000):
            progress(n / 1000, name)
        progress(1.0, name)

    threads = [threading.Thread(target=work, args=(str(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {message for fraction, message in told if fraction == 1.0} == {"0", "1", "2", "3"}
    assert all(0.0 <= fraction <= 1.0 for fraction, _ in told)
