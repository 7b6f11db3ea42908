"""Parameters: the canonical form of every type, validators and the schema."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal, Optional
from urllib.parse import quote

import pytest
from annotated_types import Interval
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    Field,
    PositiveInt,
    create_model,
    field_validator,
    model_validator,
)
from tests.declared import Checked, Color, Grid, Level, Meters, Pair, Raw, Rod, Shape, Wall, declared, faults, heat

from etagere.errors import InternalError, InvalidParameters
from etagere.parameters import Bound, Parameters


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
    (str, {}, "x=a+b%2Bc&", "x=a b+c"),
    (str, {}, "x=", "x="),
    (str, {}, "x", "x="),
    (str, {}, "x=a=b", "x=a=b"),
    (date, {}, "x=2020-01-31", "x=2020-01-31"),
    (AwareDatetime, {}, "x=2020-01-01T01:00%2B01:00", "x=2020-01-01T00:00:00Z"),
    (timedelta, {"default": timedelta(hours=36)}, "", "x=P1DT12H"),
    (Color, {}, "x=2", "x=2"),
    (Color, {"default": Color.red}, "", "x=red"),
    (Level, {}, "x=10", "x=10"),
    (Shape, {}, "x=round+%26+flat", "x=round & flat"),
    (Raw, {}, 'x={"color":2}', 'x={"color":2}'),
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
    (list[int] | None, {"default": [1]}, "x=", "x="),
    (list[int | None], {}, "x=&x=1", "x=[null,1]"),
    (list[str], {}, "x=", 'x=[""]'),
    (list[str], {}, "x=[a&x=b", 'x=["[a","b"]'),
    (list[str], {}, 'x=["[a"]', 'x=["[a"]'),
    (list[list[int]], {}, "x=[1]&x=[]", "x=[[1],[]]"),
    (list[Color], {}, 'x=["red",2]', 'x=["red",2]'),
    (list[bool], {}, "x=[true]", "x=[true]"),
    (tuple[int, ...], {"default": (1, 2)}, "", "x=[1,2]"),
    (tuple[int, str], {}, "x=1&x=a", 'x=[1,"a"]'),
    (list[Pair], {}, "x=[[1, 2]]", "x=[[1,2]]"),
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
    name, equals, text = canonical.partition("=")
    assert bound.query == name + equals + quote(text, safe="")
    assert parameters.parse_query(bound.query.encode()) == bound
    assert parameters.parse_json(bound.json) == bound
    assert parameters.parse_values(bound.values) == bound


def test_the_values_have_the_types_that_are_declared() -> None:
    grid = declared(Grid).parse_query(b'x={"ny":1,"labels":{"a":[1]}}').values
    assert grid == {"x": Grid(nx=10, ny=1, labels={"a": [1.0]})}
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

    parameters = Parameters.from_signature(odd)
    query = parameters.parse_query(b"model_config=1&_private=2&schema=3&p0=4").query
    assert query.startswith("_private=2&model_config=1&p0=4&schema=3&%CE%B2=")
    assert parameters.names == ("model_config", "_private", "schema", "p0", "β")


def test_field_says_limits_and_defaults() -> None:
    def function(a: Annotated[int, Field(default=3, ge=1)], b: int = Field(4, le=9)) -> None: ...

    parameters = Parameters.from_signature(function)
    assert parameters.parse_query(b"").query == "a=3&b=4"
    assert set(faults(parameters, "a=0&b=10")) == {"a", "b"}


def test_pairs_of_a_command_line_are_taken_literally() -> None:
    parameters = declared(str)
    assert parameters.parse_pairs([("x", "a+b%20")]).query == "x=a%2Bb%2520"
    with pytest.raises(InvalidParameters):
        parameters.parse_pairs([("x", "\udcff")])


def test_python_values_need_their_types() -> None:
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
    fields: dict[str, Any] = {f"x{i}": (float, ...) for i in range(3000)}
    parameters = Parameters.from_model(create_model("Many", **fields))
    pairs = [f"x{i}={i}.50" for i in range(3000)]
    bound = parameters.parse_query("&".join(pairs).encode())
    assert bound == parameters.parse_query("&".join(reversed(pairs)).encode())
    assert bound.values["x2999"] == 2999.5
    assert len(faults(parameters, "&".join(pairs).replace(".50", "_0"))) == 3000


class Interlocked(BaseModel):
    """Two ends."""

    low: float = 0
    high: float

    @field_validator("low")
    @classmethod
    def check_low(cls, value: float) -> float:
        if value == 13:
            raise ValueError("not that one")
        return value

    @model_validator(mode="after")
    def check_order(self) -> Interlocked:
        if self.high < self.low:
            raise ValueError("high must not be below low")
        return self


def test_a_pydantic_model_declares_parameters() -> None:
    parameters = Parameters.from_model(Interlocked)
    assert parameters.parse_query(b"high=1").values == {"low": 0.0, "high": 1.0}
    assert faults(parameters, "high=-1") == {"*": "high must not be below low"}
    assert faults(parameters, "high=1&low=13") == {"low": "not that one"}
    assert set(faults(parameters, "high=x&low=13")) == {"high", "low"}
    assert parameters.json_schema()["description"] == "Two ends."


def test_validators_that_do_not_settle_are_an_internal_error() -> None:
    for validator in (lambda value: value + 1, lambda value: 2**63, lambda value: "text", lambda value: value / 0):
        with pytest.raises(InternalError, match="validator"):
            declared(Annotated[int, AfterValidator(validator)]).parse_query(b"x=1")


def test_a_validator_that_stumbles_over_missing_parameters_hides_no_fault() -> None:
    class Fragile(BaseModel):
        a: int
        b: int

        @model_validator(mode="before")
        @classmethod
        def check(cls, values: dict[str, int]) -> dict[str, int]:
            return values if not values or values["a"] <= values["b"] else {}

    assert set(faults(Parameters.from_model(Fragile), "a=1&b=x")) == {"b"}


def test_the_json_schema_is_self_contained_and_has_the_canonical_defaults() -> None:
    def function(
        a: float,
        grid: Grid,
        wait: timedelta = timedelta(hours=1),
        tags: set[str] = {"b", "a"},  # noqa: B006
        note: Annotated[str | None, Field(description="A note.")] = None,
    ) -> None: ...

    schema = Parameters.from_signature(function).json_schema()
    properties = schema["properties"]
    assert "$ref" not in json.dumps(schema)
    assert schema["required"] == ["a", "grid"]
    assert properties["grid"]["properties"]["nx"]["minimum"] == 1
    assert [properties[name]["default"] for name in ("wait", "tags", "note")] == ["PT1H", ["a", "b"], None]
    assert properties["note"]["description"] == "A note."
    assert schema["additionalProperties"] is False


def test_no_parameters() -> None:
    def function() -> None: ...

    parameters = Parameters.from_signature(function)
    assert parameters.json_schema()["properties"] == {}
    assert parameters.parse_query(b"&&") == Bound({}, "", b"{}")
    assert faults(parameters, "a=1") == {"a": "there is no such name here"}
