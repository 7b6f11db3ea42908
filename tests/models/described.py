"""Models whose parameters have every type that there is a grammar for, to be held against their description."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from typing import Annotated, Literal

from pydantic import BaseModel, Field

import etagere

app = etagere.Etagere(max_pending=100_000)


class Material(Enum):
    """What a rod is made of."""

    copper = "copper"
    iron = "iron"


class Point(BaseModel):
    """A place."""

    x: float
    y: Annotated[float, Field(ge=0)] = 0.0


ORIGIN = Point(x=0.0)
MOMENT = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass
class Span:
    """From where to where."""

    first: int
    last: int = 9


@app.model(version="1", examples=[{"n": 3, "day": date(2020, 1, 31)}])
def simple(
    n: int,
    small: Annotated[int, Field(ge=-3, lt=10)] = 0,
    share: Annotated[float, Field(ge=0, le=1, description="A share.")] = 0.5,
    loud: bool = False,
    word: Annotated[str, Field(max_length=20)] = "a",
    code: Annotated[str, Field(pattern="^[a-z]{1,4}$")] = "ab",
    day: date = date(2020, 1, 1),
    moment: datetime = MOMENT,
    lasts: timedelta = timedelta(hours=1),
    material: Material = Material.copper,
    shape: Literal["round", "square"] = "round",
    order: Literal[1, 2] = 1,
) -> str:
    """Every simple type.

    Answers at once.
    """
    return f"{n}"


@app.model(version="1", examples=[{"weights": [1.0, 2.5], "place": Point(x=1.0)}])
def compound(
    weights: list[float],
    place: Point = ORIGIN,
    words: tuple[str, ...] = (),
    marks: frozenset[int] = frozenset(),
    pair: tuple[int, str] = (1, "a"),
    note: str | None = None,
    span: Span | None = None,
    table: dict[str, int] | None = None,
    grid: list[list[int]] | None = None,
) -> int:
    """Every compound type."""
    return len(weights)


@app.model(version="1")
def optional(moment: datetime | None = None, limit: float | None = None) -> str:
    """What may be left empty."""
    return f"{moment} {limit}"


@app.model(version="2", media_type="text/csv")
def picky(level: int) -> bytes:
    """Refuses what is odd."""
    if level % 2:
        raise etagere.Refused("level must be even")
    return b"%d\n" % level


@app.model(version="1", name="picky")
def picky_before(level: int = 0) -> int:
    """The former version, which takes anything."""
    return level
