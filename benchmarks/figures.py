"""What a benchmark found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A row of the table: what was measured, the figure and its target in words, and whether it was met."""

    what: str
    found: str
    target: str
    met: bool


def at_least(what: str, ratio: float, target: float, aside: str) -> Figure:
    """A ratio to the bare application (or to what `aside` names) that should not be lower."""
    return Figure(what, f"{ratio:.2f} × {aside}", f"≥ {target}", ratio >= target)


def at_most(what: str, ratio: float, target: float, aside: str) -> Figure:
    """A ratio that should not be higher."""
    return Figure(what, f"{ratio:.2f} × {aside}", f"≤ {target}", ratio <= target)


def about(what: str, ratio: float, tolerance: float, aside: str) -> Figure:
    """A ratio that should be neither higher nor lower than 1 by more than that."""
    low, high = 1 - tolerance, 1 + tolerance
    return Figure(what, f"{ratio:.2f} × {aside}", f"{low:g} to {high:g}", low <= ratio <= high)
