"""Line charts of numeric columns, as geometry for a template to draw."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 84, 28, 12, 48
MOST_SERIES = 8
MOST_POINTS = 600
"""More are drawn as the lowest and highest of each of half as many stretches."""

Numbers = list[float | None]


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: where, and what it says."""

    at: float
    label: str


@dataclass(frozen=True)
class Line:
    """One series: its name, and the data of an SVG path."""

    name: str
    path: str


@dataclass(frozen=True)
class Chart:
    """A chart in a box of `WIDTH` by `HEIGHT`; `left_out` counts series beyond the limit."""

    x_name: str
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    summary: str
    left_out: int = 0


@dataclass(frozen=True)
class Scale:
    """A range of values and the places of its ends."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Where a value stands."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> tuple[Tick, ...]:
        """About five marks at round values."""
        step = _round_step((self.high - self.low) / 5)
        first = math.ceil(self.low / step)
        count = math.floor(self.high / step) - first + 1
        values = [(first + index) * step for index in range(min(count, 12))]
        return tuple(Tick(round(self.place(value), 1), _label(value, step)) for value in values)


def chart_of(columns: Mapping[str, Sequence[Any]]) -> Chart | None:
    """The chart of those columns that are numbers, over the first of them that grows; None where there is nothing."""
    numeric = {name: numbers for name, values in columns.items() if (numbers := _numbers(values))}
    if not numeric:
        return None
    x_name = next((name for name, numbers in numeric.items() if len(numeric) > 1 and _grows(numbers)), "")
    count = len(next(iter(numeric.values())))
    x: Numbers = numeric.pop(x_name) if x_name else [float(index) for index in range(count)]
    series = dict(list(numeric.items())[:MOST_SERIES])
    across = _scale(x, LEFT, WIDTH - RIGHT, padded=False)
    up = _scale([y for numbers in series.values() for y in numbers], HEIGHT - BOTTOM, TOP, padded=True)
    if across is None or up is None:
        return None
    lines = tuple(Line(name, _path(x, numbers, across, up)) for name, numbers in series.items())
    summary = f"{', '.join(series)} against {x_name or 'the position'}: {count:,} points"
    return Chart(x_name, lines, across.ticks(), up.ticks(), summary, len(numeric) - len(series))


def _numbers(values: Sequence[Any]) -> Numbers | None:
    """The values as floats, gaps as None; None where some are no numbers or fewer than three are."""
    if any(isinstance(value, bool) or not isinstance(value, int | float | None) for value in values):
        return None
    try:
        numbers = [None if value is None else float(value) for value in values]
    except OverflowError:
        return None
    finite = [None if value is None or not math.isfinite(value) else value for value in numbers]
    return finite if sum(value is not None for value in finite) > 2 else None


def _grows(numbers: Numbers) -> bool:
    return all(a is not None and b is not None and a < b for a, b in pairwise(numbers))


def _scale(numbers: Numbers, start: float, end: float, *, padded: bool) -> Scale | None:
    present = [value for value in numbers if value is not None]
    low, high = min(present), max(present)
    if low == high:
        low, high = low - (abs(low) or 1), high + (abs(high) or 1)
    elif padded:
        margin = high / 20 - low / 20
        low, high = low - margin, high + margin
    # The smallest and the largest floats leave no room for a scale.
    span = high - low
    return Scale(low, high, start, end) if math.isfinite(span) and span / 1000 > 5e-300 else None


def _path(x: Numbers, y: Numbers, across: Scale, up: Scale) -> str:
    parts, pen = [], "M"
    for index in _shown(y):
        a, b = x[index], y[index]
        if a is None or b is None:
            pen = "M"
            continue
        parts.append(f"{pen}{across.place(a):.1f} {up.place(b):.1f}")
        pen = "L"
    return "".join(parts)


def _shown(y: Numbers) -> Sequence[int]:
    """Which points to draw: all, or the extremes of each stretch, in order."""
    if len(y) <= MOST_POINTS:
        return range(len(y))
    width = math.ceil(len(y) / (MOST_POINTS // 2))
    chosen = {0, len(y) - 1}
    for start in range(0, len(y), width):
        stretch = range(start, min(start + width, len(y)))
        present = [(value, index) for index in stretch if (value := y[index]) is not None]
        chosen |= {min(present)[1], max(present)[1]} if present else {start}
    return sorted(chosen)


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not below."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * 0.999)


def _label(value: float, step: float) -> str:
    largest = abs(value)
    if largest < step / 2:
        return "0"
    if not 1e-4 <= largest < 1e7:
        return f"{value:.6g}"
    return f"{value:.{max(0, -math.floor(math.log10(step)))}f}" if step >= 1e-6 else f"{value:.8g}"
