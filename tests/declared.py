"""Types of parameters, and parameters declared in one line."""

from __future__ import annotations

import dataclasses
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Any, NewType, NotRequired, Required

import pytest
from pydantic import (
    BaseModel,
    Field,
)
from pydantic.dataclasses import dataclass as checked_dataclass
from typing_extensions import TypeAliasType, TypedDict

from etagere.errors import InvalidParameters
from etagere.parameters import Parameters


class Color(Enum):
    red = "red"
    two = 2


class Level(IntEnum):
    low = 1
    high = 10


class Shape(StrEnum):
    round = "round & flat"


class Grid(BaseModel):
    nx: int = Field(10, ge=1)
    ny: int | None
    labels: dict[str, list[float]] = {}


@dataclasses.dataclass
class Rod:
    length: float
    ends: tuple[float, float] = (0, 1)


@checked_dataclass
class Checked:
    size: int = Field(3, ge=1)


class Wall(TypedDict, total=False):
    width: Required[float]
    color: Color
    note: Annotated[NotRequired[str], Field(max_length=5)]


class Raw(BaseModel, use_enum_values=True):
    color: Color


Meters = NewType("Meters", float)
Pair = TypeAliasType("Pair", tuple[int, int])


def heat(alpha: float, length: float = 1.0, steps: int = 1000) -> dict[str, Any]:
    return {"alpha": alpha, "length": length, "steps": steps}


def declared(annotation: Any, **default: Any) -> Parameters:
    """The parameters of a function whose only parameter `x` has this annotation."""

    def function(x: Any) -> None: ...

    function.__annotations__ = {"x": annotation}
    function.__defaults__ = tuple(default.values())
    return Parameters.from_signature(function)


def faults(parameters: Parameters, raw: str | bytes) -> dict[str, str]:
    with pytest.raises(InvalidParameters) as caught:
        parameters.parse_query(raw.encode() if isinstance(raw, str) else raw)
    return {error.parameter: error.reason for error in caught.value.errors}
