"""The geometry of charts."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etagere.web.charts import BOTTOM, HEIGHT, LEFT, MOST_POINTS, MOST_SERIES, RIGHT, TOP, WIDTH, chart_of

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path)]


def test_the_first_column_that_grows_is_what_the_others_stand_against() -> None:
    chart = chart_of({"y": [3, 1, 2], "x": [0, 1, 4], "z": [1.0, 2.0, 3.0], "name": ["a", "b", "c"]})
    assert chart is not None
    assert chart.x_name == "x"
    assert [line.name for line in chart.lines] == ["y", "z"]
    assert chart.summary == "y, z against x: 3 points"
    across = [x for x, _ in points(chart.lines[0].path)]
    assert across == [LEFT, pytest.approx(LEFT + (WIDTH - RIGHT - LEFT) / 4), WIDTH - RIGHT]


def test_a_single_column_stands_against_its_position() -> None:
    chart = chart_of({"value": [1, 2, 4]})
    assert chart is not None
    assert chart.x_name == ""
    heights = [y for _, y in points(chart.lines[0].path)]
    assert heights == sorted(heights, reverse=True)


@pytest.mark.parametrize(
    "columns",
    [
        {"a": ["x", "y", "z"]},
        {"a": [True, False, True]},
        {"a": [1, 2]},
        {"a": [None, None, 1]},
        {"a": [10**400, 1, 2]},
        {"a": [1.7e308, -1.7e308, 0]},
        {"a": [5e-324, 0, 0]},
        {"a": [math.nan, math.inf, 1]},
    ],
)
def test_what_cannot_be_drawn_is_not(columns: dict[str, list[object]]) -> None:
    assert chart_of(columns) is None


def test_a_gap_interrupts_the_line() -> None:
    chart = chart_of({"value": [1, 2, None, 3, 4]})
    assert chart is not None
    assert chart.lines[0].path.count("M") == 2


def test_series_beyond_the_limit_are_counted() -> None:
    chart = chart_of({f"s{n}": [3, 1, n] for n in range(MOST_SERIES + 3)})
    assert chart is not None
    assert len(chart.lines) == MOST_SERIES
    assert chart.left_out == 3


def test_many_points_are_thinned_and_a_spike_stays() -> None:
    values = [0.0] * 100_000
    values[54_321] = 7.0
    chart = chart_of({"value": values})
    assert chart is not None
    drawn = points(chart.lines[0].path)
    assert len(drawn) <= MOST_POINTS + 2
    assert min(y for _, y in drawn) < TOP + 30


@given(st.lists(st.none() | FINITE | st.integers(), min_size=1, max_size=50), st.lists(FINITE, max_size=50))
def test_whatever_is_drawn_lies_inside_the_axes(first: list[float | None], second: list[float]) -> None:
    count = min(len(first), len(second)) or len(first)
    columns = {"a": first[:count], **({"b": second[:count]} if second else {})}
    chart = chart_of(columns)
    if chart is None:
        return
    for line in chart.lines:
        for x, y in points(line.path):
            assert LEFT <= x <= WIDTH - RIGHT
            assert TOP <= y <= HEIGHT - BOTTOM
    for tick in chart.x_ticks:
        assert LEFT - 0.1 <= tick.at <= WIDTH - RIGHT + 0.1
    for tick in chart.y_ticks:
        assert TOP - 0.1 <= tick.at <= HEIGHT - BOTTOM + 0.1


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_an_axis_has_a_few_marks_that_differ(low: float, span: float) -> None:
    chart = chart_of({"value": [low, low + span, low + span / 2]})
    assert chart is not None
    labels = [tick.label for tick in chart.y_ticks]
    assert 2 <= len(labels) <= 12
    assert len(set(labels)) == len(labels)
