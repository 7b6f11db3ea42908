"""A patient client in a simulation: how often it asks for a result, and how late it learns of it."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

from benchmarks.figures import Figure
from etagere.core.lifecycle import Run, State
from etagere.core.pacing import pace
from etagere.core.schedule import Schedule

SCALES = (1, 10, 60, 600, 3600)
HISTORIES = 50
KNOWN = 20
"""Runs that a history has."""
MEASURED = 20
"""Runs that are asked for after each history."""

Wait = Callable[[float, int, float], int]
"""Seconds until the next ping: for the time gone by, the number of the ping, and how long the run will take."""

DISTRIBUTIONS: dict[str, Callable[[random.Random], float]] = {
    # The same work each time, on a machine that is not always as fast.
    "constant": lambda rng: rng.lognormvariate(0, 0.01),
    "exponential": lambda rng: rng.expovariate(math.log(2)),
    "log-normal, σ 0.5": lambda rng: rng.lognormvariate(0, 0.5),
    "log-normal, σ 1": lambda rng: rng.lognormvariate(0, 1),
    # Three of ten runs take ten times as long as the others.
    "bimodal": lambda rng: (1 if rng.random() < 0.7 else 10) * rng.lognormvariate(0, 0.1),
}
SIGMAS = {"log-normal, σ 0.5": 0.5, "log-normal, σ 1": 1.0}
OUT_OF_REACH = frozenset({"exponential", "log-normal, σ 1"})
"""Run times that scatter so much that asking without end has the least product of pings and delay."""


@dataclass(frozen=True)
class Asked:
    """What became of many runs: pings each and seconds from their end to the ping that learnt of it."""

    pings: list[int]
    delays: list[float]

    @property
    def usual(self) -> int:
        """Median pings."""
        return statistics.median_high(self.pings)

    @property
    def delay(self) -> float:
        """Mean delay."""
        return statistics.fmean(self.delays)

    @property
    def product(self) -> float:
        """Mean pings by mean delay."""
        return statistics.fmean(self.pings) * self.delay


@dataclass(frozen=True)
class Cell:
    """A distribution at one scale: its mean, and what each rule did with the same runs."""

    mean: float
    rules: dict[str, Asked]


def measure() -> Iterator[Figure]:
    """The figures, as they are found: a row has the scales from 1 s to 1 h."""
    for name, draw in DISTRIBUTIONS.items():
        yield from _figures(name, [_cell(name, draw, scale) for scale in SCALES])


def _figures(name: str, cells: list[Cell]) -> Iterator[Figure]:
    ours = [cell.rules["ours"] for cell in cells]
    shares = [asked.delay / cell.mean for asked, cell in zip(ours, cells, strict=True)]
    within = all(share <= 0.1 or asked.delay <= 1 for share, asked in zip(shares, ours, strict=True))
    pings = [asked.usual for asked in ours]
    yield Figure(f"pacing, {name}: pings, median", _row("{}", pings), "≤ 5 each", max(pings) <= 5)
    delays = f"{_row('{:.1%}', shares)} ({ours[0].delay:.2f} s at 1 s)"
    yield Figure(f"pacing, {name}: delay, mean", delays, "≤ 10 % or 1 s each", within)
    for other in ("1 s", "10 s", "back-off"):
        ratios = [cell.rules["ours"].product / cell.rules[other].product for cell in cells]
        what = f"pacing, {name}: pings × delay"
        found = f"{_row('{:.2f}', ratios)} × {other}"
        if name in OUT_OF_REACH:
            yield Figure(what, found, "none, see docs/performance.md", True)
        else:
            # A second is the shortest Retry-After, so that at the first scale all rules may be the same.
            yield Figure(what, found, "< 1 from 10 s on", all(ratio < 1 for ratio in ratios[1:]))
    for other in ("no history", "64 runs known", "progress"):
        yield Figure(
            f"pacing, {name}: pings, delay, {other}", " · ".join(_short(other, cell) for cell in cells), "none", True
        )
    if name == "exponential" or name in SIGMAS:
        least = 1.0 if name == "exponential" else _least(SIGMAS[name])
        yield Figure(f"pacing, {name}: the least pings × delay of any rule", f"{least:.2f} × 1 s", "none", True)


def _short(rule: str, cell: Cell) -> str:
    asked = cell.rules[rule]
    return f"{asked.usual}, {asked.delay / cell.mean:.1%} ({asked.product / cell.rules['1 s'].product:.2f} × 1 s)"


def _least(sigma: float) -> float:
    """What no rule for log-normal run times can be below, however often it asks, against asking all the time.

    Pings at the rate r(t) are ∫rS in the mean, for the share S(t) of longer runs, and the delay is ∫f/2r for
    the density f(t): by Cauchy and Schwarz the product is (∫√(Sf))²/2 at least, and half the mean for a constant r.
    """
    normal, steps = statistics.NormalDist(), 20_000
    at = [9 * sigma * (2 * (n + 0.5) / steps - 1) for n in range(steps)]
    total = sum(
        math.sqrt((1 - normal.cdf(log / sigma)) * normal.pdf(log / sigma) / sigma * math.exp(log)) for log in at
    )
    return (total * 18 * sigma / steps) ** 2 / math.exp(sigma**2 / 2)


def _row(form: str, values: list[int] | list[float]) -> str:
    return " · ".join(form.format(value) for value in values)


def _cell(name: str, draw: Callable[[random.Random], float], scale: int) -> Cell:
    rng = random.Random(f"{name}, {scale}")
    rules: dict[str, Asked] = {}
    total = 0.0
    for _ in range(HISTORIES):
        known = [scale * draw(rng) for _ in range(64)]
        few, many = Schedule.of(known[:KNOWN]), Schedule.of(known)
        waits: dict[str, Wait] = {
            "ours": _learnt(few),
            "64 runs known": _learnt(many),
            "no history": _learnt(None),
            "progress": _learnt(few, progress=True),
            "1 s": lambda gone, n, seconds: 1,
            "10 s": lambda gone, n, seconds: 10,
            "back-off": lambda gone, n, seconds: min(60, 2**n),
        }
        for _ in range(MEASURED):
            seconds = scale * draw(rng)
            total += seconds
            for rule, wait in waits.items():
                pings, delay = _ask(seconds, wait)
                asked = rules.setdefault(rule, Asked([], []))
                asked.pings.append(pings)
                asked.delays.append(delay)
    return Cell(total / (HISTORIES * MEASURED), rules)


def _learnt(schedule: Schedule | None, *, progress: bool = False) -> Wait:
    """The service's own rule; with `progress` the run reports each hundredth that it has done."""

    def wait(gone: float, n: int, seconds: float) -> int:
        done = math.floor(100 * gone / seconds) / 100 if progress else None
        run = Run("id", "model@1", "default", 0.0, State.running, 1, started=0.0, progress=done)
        return pace(run, None, gone, schedule, None).retry_after

    return wait


def _ask(seconds: float, wait: Wait) -> tuple[int, float]:
    """Pings until a run of so many seconds is known to have ended, and how late that is."""
    now = 0.0
    for n in count():
        now += wait(now, n, seconds)
        if now >= seconds:
            return n + 1, now - seconds
    raise AssertionError


if __name__ == "__main__":
    for figure in measure():
        print(f"| {figure.what} | {figure.found} | {figure.target} | {'yes' if figure.met else 'NO'} |", flush=True)
