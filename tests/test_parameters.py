"""Parameters: declarations, every fault at once, and the laws of the canonical form."""

from __future__ import annotations

import dataclasses
import json
import random
import typing
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from enum import Enum, Flag, IntEnum, StrEnum
from typing import Annotated, Any, Generic, Literal, NewType, Optional, TypeVar, Union
from urllib.parse import quote_plus

import pydantic
import pytest
from annotated_types import Interval
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    Field,
    PositiveInt,
    RootModel,
    create_model,
    field_validator,
    model_validator,
)
from typing_extensions import NotRequired, Required, TypeAliasType, TypedDict

from etagere.core.json_text import MAX_DEPTH
from etagere.errors import DeclarationError, InternalError, InvalidParameters, MalformedRequest
from etagere.parameters import Bound, Parameters


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


@pydantic.dataclasses.dataclass
class Checked:
    size: int = Field(3, ge=1)


class Wall(TypedDict, total=False):
    width: Required[float]
    color: Color
    note: Annotated[NotRequired[str], Field(max_length=5)]


Meters = NewType("Meters", float)
Pair = TypeAliasType("Pair", tuple[int, int])


def everything(
    i: int,
    f: float,
    b: bool,
    s: str,
    d: date,
    dt: datetime,
    td: timedelta,
    color: Color,
    letter: Literal["a", "b", 3],
    floats: list[float],
    pairs: tuple[Pair, ...],
    tags: set[str],
    frozen: frozenset[int],
    matrix: list[list[int]],
    grid: Grid,
    rod: Rod,
    wall: Wall,
    table: dict[str, Optional[int]],  # noqa: UP045
    oi: int | None = None,
    os: str | None = None,
    oi5: int | None = 5,
    ol: list[str] | None = None,
) -> None: ...


def declared(annotation: Any, **default: Any) -> Parameters:
    """The parameters of a function whose only parameter `x` has this annotation."""

    def function(x: Any) -> None: ...

    function.__annotations__ = {"x": annotation}
    if default:
        function.__defaults__ = (default["default"],)
    return Parameters.from_signature(function)


def query(parameters: Parameters, raw: str) -> str:
    return parameters.parse_query(raw.encode()).query


def faults(parameters: Parameters, raw: str | bytes) -> dict[str, str]:
    with pytest.raises(InvalidParameters) as caught:
        parameters.parse_query(raw.encode() if isinstance(raw, str) else raw)
    return {error.parameter: error.reason for error in caught.value.errors}


# What is accepted, and its canonical form.


def heat(alpha: float, length: float = 1.0, steps: int = 1000) -> dict[str, Any]:
    return {}


def test_defaults_are_filled_in_and_names_sorted() -> None:
    bound = Parameters.from_signature(heat).parse_query(b"length=2.0&alpha=.50")
    assert bound == Bound(
        values={"alpha": 0.5, "length": 2.0, "steps": 1000},
        query="alpha=0.5&length=2&steps=1000",
        json=b'{"alpha":0.5,"length":2,"steps":1000}',
    )
    assert type(bound.values["length"]) is float


CANONICAL: list[tuple[Any, dict[str, Any], str, str]] = [
    (int, {}, "x=007", "x=7"),
    (Annotated[int, Field(le=10**30)], {}, f"x={10**30}", f"x={10**30}"),
    (Annotated[int, Interval(ge=-(10**20))], {}, f"x=-{10**20}", f"x=-{10**20}"),
    (PositiveInt, {}, "x=1", "x=1"),
    (float, {"default": 1}, "", "x=1"),
    (Meters, {}, "x=1e0", "x=1"),
    (bool, {}, "x=TRUE", "x=true"),
    (str, {}, "x=a+b%2Bc&", "x=a%20b%2Bc"),
    (str, {}, "x=", "x="),
    (str, {}, "x", "x="),
    (str, {}, "x=a=b", "x=a%3Db"),
    (date, {}, "x=2020-01-31", "x=2020-01-31"),
    (AwareDatetime, {}, "x=2020-01-01T01:00%2B01:00", "x=2020-01-01T00%3A00%3A00Z"),
    (timedelta, {"default": timedelta(hours=36)}, "", "x=P1DT12H"),
    (Color, {}, "x=2", "x=2"),
    (Color, {"default": Color.red}, "", "x=red"),
    (Level, {}, "x=10", "x=10"),
    (Shape, {}, "x=round+%26+flat", "x=round%20%26%20flat"),
    (Literal["a", 1], {}, "x=1", "x=1"),
    (int | None, {}, "", ""),
    (int | None, {}, "x=", ""),
    (int | None, {"default": 5}, "", "x=5"),
    (int | None, {"default": 5}, "x=", "x="),
    (str | None, {}, "", ""),
    (str | None, {}, "x=", "x="),
    (Optional[Annotated[int | None, Field(ge=1)]], {}, "x=", ""),  # noqa: UP045
    (list[int], {}, "x=3&x=01&x=3", "x=[3,1,3]"),
    (list[int], {}, "x=3", "x=[3]"),
    (list[int], {}, "x=[ 3, 1 ]", "x=[3,1]"),
    (list[int], {"default": []}, "", "x=[]"),
    (list[int] | None, {}, "x=", ""),
    (list[int | None], {}, "x=&x=1", "x=[null,1]"),
    (list[str], {}, "x=", 'x=[""]'),
    (list[str], {}, "x=[a&x=b", 'x=["[a","b"]'),
    (list[str], {}, 'x=["[a"]', 'x=["[a"]'),
    (list[list[int]], {}, "x=[1]&x=[]", "x=[[1],[]]"),
    (list[Color], {}, 'x=["red",2]', 'x=["red",2]'),
    (list[bool], {}, "x=[true]&", "x=[true]"),
    (tuple[int, ...], {"default": (1, 2)}, "", "x=[1,2]"),
    (tuple[int, str], {}, "x=1&x=a", 'x=[1,"a"]'),
    (set[int], {}, "x=9&x=10&x=9", "x=[10,9]"),
    (set[str], {}, 'x=b&x="&x=a', 'x=["\\"","a","b"]'),
    (frozenset[float], {}, "x=0&x=-0", "x=[0]"),
    (dict[str, float], {}, 'x={"b":1.50,"a":2}', 'x={"a":2,"b":1.5}'),
    (Grid, {}, 'x={"nx":3}', 'x={"labels":{},"nx":3,"ny":null}'),
    (Grid, {"default": Grid(ny=1)}, "", 'x={"labels":{},"nx":10,"ny":1}'),
    (Rod, {}, 'x={"length":1.0}', 'x={"ends":[0,1],"length":1}'),
    (Checked, {}, "x={}", 'x={"size":3}'),
    (Wall, {}, 'x={"width":1}', 'x={"width":1}'),
    (Wall, {}, 'x={"width":1,"color":"red","note":"n"}', 'x={"color":"red","note":"n","width":1}'),
    (Annotated[str, AfterValidator(str.lower)], {"default": "ABC"}, "", "x=abc"),
    (Annotated[str, BeforeValidator(str.strip)], {}, "x=+a+", "x=a"),
]


@pytest.mark.parametrize(("annotation", "default", "raw", "canonical"), CANONICAL)
def test_the_canonical_query(annotation: Any, default: dict[str, Any], raw: str, canonical: str) -> None:
    parameters = declared(annotation, **default)
    bound = parameters.parse_query(raw.encode())
    name, equals, value = canonical.partition("=")
    expected = name + equals + (value if value[:1] not in ("[", "{") else quote_plus(value))
    assert bound.query == expected
    assert parameters.parse_query(bound.query.encode()) == bound
    assert parameters.parse_json(bound.json) == bound


def test_the_values_have_the_types_that_are_declared() -> None:
    values = declared(Grid).parse_query(b'x={"ny":1,"labels":{"a":[1]}}').values
    assert values == {"x": Grid(nx=10, ny=1, labels={"a": [1.0]})}
    assert declared(set[int]).parse_query(b"x=1").values == {"x": {1}}
    assert declared(tuple[int, str]).parse_query(b"x=1&x=2").values == {"x": (1, "2")}
    assert declared(Rod).parse_query(b'x={"length":1}').values == {"x": Rod(1.0, (0.0, 1.0))}
    assert declared(Color).parse_query(b"x=red").values == {"x": Color.red}
    assert declared(datetime).parse_query(b"x=2020-01-01T00:00-01:00").values["x"].utcoffset() == timedelta(0)


def test_defaults_are_not_shared_between_requests() -> None:
    parameters = declared(list[int], default=[1])
    parameters.parse_query(b"").values["x"].append(2)
    assert parameters.parse_query(b"").values == {"x": [1]}


def test_names_that_pydantic_keeps_for_itself_are_possible() -> None:
    def odd(model_config: int, _private: int, schema: int, *, p0: int, β: Rod = Rod(1)) -> None: ...  # noqa: B008

    raw = "model_config=1&_private=2&schema=3&p0=4"
    parameters = Parameters.from_signature(odd)
    assert query(parameters, raw).startswith("_private=2&model_config=1&p0=4&schema=3&%CE%B2=")
    assert parameters.names == ("model_config", "_private", "schema", "p0", "β")


def test_annotations_as_defaults_and_field_as_default() -> None:
    def function(a: Annotated[int, Field(default=3, ge=1)], b: int = Field(4, le=9)) -> None: ...

    parameters = Parameters.from_signature(function)
    assert query(parameters, "") == "a=3&b=4"
    assert set(faults(parameters, "a=0&b=10")) == {"a", "b"}


def test_pairs_of_a_command_line_are_taken_literally() -> None:
    parameters = declared(str)
    assert parameters.parse_pairs([("x", "a+b%20")]).query == "x=a%2Bb%2520"
    with pytest.raises(InvalidParameters):
        parameters.parse_pairs([("x", "\udcff")])


def test_python_values_are_taken_too() -> None:
    parameters = Parameters.from_signature(everything)
    bound = parameters.parse_query(full_query().encode())
    assert parameters.parse_values(bound.values) == bound
    with pytest.raises(InvalidParameters) as caught:
        Parameters.from_signature(heat).parse_values({"alpha": "1", "beta": 1})
    assert [error.parameter for error in caught.value.errors] == ["alpha", "beta"]


def test_json_null_is_explicit_only_where_it_differs_from_the_default() -> None:
    def function(a: int | None, b: int | None = 5, c: int | None = None) -> None: ...

    parameters = Parameters.from_signature(function)
    assert parameters.parse_json(b'{"a":null,"b":null}').json == b'{"b":null}'
    assert parameters.parse_query(b"b=").json == b'{"b":null}'
    assert parameters.parse_json(b"{}").query == "b=5"


def test_three_thousand_parameters() -> None:
    model = create_model("Many", **{f"x{i}": (float, ...) for i in range(3000)})  # type: ignore[call-overload]
    pairs = [f"x{i}={i}.50" for i in range(3000)]
    parameters = Parameters.from_model(model)
    one, other = parameters.parse_query("&".join(pairs).encode()), parameters.parse_query("&".join(pairs[::-1]).encode())
    assert one == other
    assert one.values["x2999"] == 2999.5
    assert len(faults(parameters, "&".join(pairs).replace(".50", "_0"))) == 3000


# Every fault at once.


def test_every_fault_is_told_at_once() -> None:
    def function(
        a: int, b: float, c: Annotated[float, Field(gt=0)], d: Grid, e: list[int], f: int = 1, g: str = ""
    ) -> None: ...

    parameters = Parameters.from_signature(function)
    told = faults(parameters, b'b=1e+16&c=-1&d={"nx":0.5,"nz":1,"ny":1,"ny":2}&e=1&e=x&f=1&f=2&g=%ff&h=1&%zz=1')
    assert told == {
        "a": "is required: expected a whole number such as 42",
        "b": "expected a finite number such as 0.5 or 1e-3; a '+' in a query string means a space, send it as %2B",
        "c": "Input should be greater than 0",
        "d.nx": "expected a whole number such as 42",
        "d.ny": "given 2 times",
        "d.nz": "there is no such name here; there is: nx, ny, labels",
        "e.1": "expected a whole number such as 42",
        "f": "given 2 times, but takes one value",
        "g": "not valid UTF-8: byte 0xFF",
        "h": "there is no such name here; there is: a, b, c, d, e, f, g",
        "%zz": "a percent sign needs two hex digits, at byte 1",
    }


def test_faults_inside_objects_are_located() -> None:
    def function(grid: Grid, rods: list[Rod]) -> None: ...

    parameters = Parameters.from_signature(function)
    assert faults(parameters, 'grid={"nx":0}&rods=[{"length":1},{"ends":[1,"2"]}]') == {
        "grid.nx": "Input should be greater than or equal to 1",
        "rods.1.ends.1": "expected a finite number such as 0.5 or 1e-3, as a JSON number",
        "rods.1.length": "is required: expected a finite number such as 0.5 or 1e-3",
    }


REFUSED: list[tuple[Any, str, str]] = [
    (int, "x=1_0", "whole number"),
    (int, "x=%EF%BC%91", "whole number"),
    (int, "x=9223372036854775808", "out of range"),
    (int, "x=1.0", "whole number"),
    (Annotated[int, Field(ge=0, le=9)], "x=10", "less than or equal to 9"),
    (float, "x=NaN", "finite number"),
    (float, "x=1e400", "too large"),
    (Color, "x=blue", "one of: red, 2$"),
    (Color, "x=02", "one of"),
    (Literal[tuple(range(30))], "x=99", "one of: .*19, …$"),
    (Level, "x=low", "one of: 1, 10"),
    (list[Color], 'x=["2"]', "one of"),
    (list[Color], "x=[true]", "one of"),
    (list[Literal["1"]], "x=[1]", "one of"),
    (list[int], "x=[1", "JSON array.*not JSON"),
    (list[int], "x=", "whole number"),
    (list[int], 'x=["1"]', "as a JSON number"),
    (list[int], "x=[1.0]", "whole number"),
    (list[int], "x=[null]", "as a JSON number"),
    (list[int], "x=[[1]]", "as a JSON number"),
    (list[float], "x=[1e+16]", "%2B"),
    (list[bool], 'x=["true"]', "as a JSON boolean"),
    (list[str], "x=[1]", "as a JSON string"),
    (list[str], 'x=["\\ud800"]', "UTF-8"),
    (list[list[int]], "x=[1]", "expected a JSON array"),
    (list[int], f"x={'[' * 33}{']' * 33}", "deeper than 32"),
    (list[int], "x=[" + "1," * 100_000 + "1]", "100001 items; the most are 100000"),
    (tuple[int, str], "x=1", "has 1 items; expected 2"),
    (dict[str, int], 'x={"a":1,"a":1}', "given 2 times"),
    (dict[str, int], 'x={"\\udfff":1}', "UTF-8"),
    (dict[str, int], "x=[]", "a JSON object"),
    (dict[str, int], "x={" + ",".join(f'"{i}":1' for i in range(5001)) + "}", "5001 members; the most are 5000"),
    (Grid, "x=1", "a JSON object"),
    (Grid, "x=", "a JSON object; not JSON"),
    (Wall, "x={}", "is required"),
    (Wall, 'x={"width":1,"note":"too long"}', "at most 5"),
    (Annotated[list[int], Field(max_length=1)], "x=1&x=2", "at most 1"),
    (Annotated[str, Field(pattern="^a+$")], "x=b", "pattern"),
]


@pytest.mark.parametrize(("annotation", "raw", "reason"), REFUSED)
def test_what_is_refused(annotation: Any, raw: str, reason: str) -> None:
    with pytest.raises(InvalidParameters) as caught:
        declared(annotation).parse_query(raw.encode())
    assert [error for error in caught.value.errors if pytest.match(reason, error.reason)]
