"""Parameters that are not valid: every fault at once, with its place, its reason and what was sent."""

from __future__ import annotations

import json
import re
from datetime import date, datetime
from typing import Annotated, Any, Literal

import pytest
from pydantic import (
    Field,
)
from tests.declared import Color, Grid, Level, Rod, Wall, declared, faults, heat

from etagere.core.json_text import MAX_DEPTH
from etagere.errors import InvalidParameters, MalformedRequest
from etagere.parameters import Parameters


def test_every_fault_is_told_at_once() -> None:
    def function(
        a: int, b: float, c: Annotated[float, Field(gt=0)], d: Grid, e: list[int], f: int = 1, g: str = ""
    ) -> None: ...

    query = b'b=1e+16&c=-1&d={"nx":0.5,"nz":1,"ny":1,"ny":2}&e=1&e=x&f=1&f=2&g=%ff&h=1&%zz=1'
    assert faults(Parameters.from_signature(function), query) == {
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
    (Annotated[int, Field(ge=0, le=9)], "x=9223372036854775808", "out of range: expected 0 to 9$"),
    (Annotated[int, Field(gt=0, lt=9)], "x=-9223372036854775809", "out of range: expected 1 to 8$"),
    (Annotated[int, Field(ge=-3)], "x=9223372036854775808", "out of range: expected -3 to 9223372036854775807$"),
    (float, "x=NaN", "finite number"),
    (float, "x=1e400", "too large"),
    (datetime, "x=2020-01-01T00:00:00+01:00", "%2B"),
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
    told = list(faults(declared(annotation), raw).values())
    assert len(told) == 1
    assert re.search(reason, told[0])


def test_only_so_many_faults_of_one_array_are_told() -> None:
    assert len(faults(declared(list[int]), "x=[" + "true," * 5000 + "1]")) == 100


def test_values_are_shown_shortened_and_can_always_be_written() -> None:
    with pytest.raises(InvalidParameters) as caught:
        declared(list[int]).parse_json(rb'{"x": ["' + b"a" * 500 + rb'", "\ud800"], "\udfff": 1}')
    long, odd, name = caught.value.errors
    assert long.value == "a" * 99 + "…"
    assert odd.value == r"\ud800"
    assert name.parameter == r"\udfff"
    assert json.dumps(caught.value.extensions["errors"], ensure_ascii=False).encode()


def test_malformed_content() -> None:
    parameters = Parameters.from_signature(heat)
    many = json.dumps(dict.fromkeys(map(str, range(5001)), 1)).encode()
    for raw in (b"", b"[]", b"1", b"{", b"\xff", b'{"alpha":NaN}', b'{"alpha":' + b"[" * MAX_DEPTH, many):
        with pytest.raises(MalformedRequest):
            parameters.parse_json(raw)
    with pytest.raises(MalformedRequest):
        parameters.parse_query(b"alpha=1&" * 5001)


def test_json_members_follow_the_same_grammar() -> None:
    parameters = Parameters.from_signature(heat)
    assert parameters.parse_json(b'{"steps": 7, "alpha": 5E-1}') == parameters.parse_query(b"alpha=.5&steps=07")
    with pytest.raises(InvalidParameters) as caught:
        parameters.parse_json(b'{"alpha": "1", "steps": 1.0, "steps": 1e0, "beta": null}')
    told = [(error.parameter, error.value) for error in caught.value.errors]
    assert told == [("alpha", "1"), ("steps", "1e0"), ("beta", None), ("steps", None)]


def test_what_pydantic_refuses_is_shown_as_it_was_sent() -> None:
    def function(a: Annotated[float, Field(gt=0)], b: Annotated[date, Field(gt=date(2020, 1, 1))]) -> None: ...

    with pytest.raises(InvalidParameters) as caught:
        Parameters.from_signature(function).parse_query(b"a=-1.0&b=2019-01-01")
    assert [error.value for error in caught.value.errors] == ["-1", "2019-01-01"]
