"""The fields of a form, from the schema of the parameters."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from enum import Enum
from typing import Annotated, Any, Literal

from pydantic import Field as Bounds
from typing_extensions import TypedDict

from etagere.parameters import Parameters
from etagere.web.forms import Field, fields_of


class Colour(Enum):
    red = "red"
    blue = "blue"


class Place(TypedDict):
    x: float
    y: float


def declared(
    plain: float,
    counted: Annotated[int, Bounds(ge=0, lt=10, description="How many.")] = 3,
    bounded: Annotated[float, Bounds(gt=0, le=1.5)] = 0.5,
    text: Annotated[str, Bounds(min_length=1, max_length=5)] = "a",
    maybe_text: str | None = None,
    maybe_count: Annotated[int, Bounds(ge=1)] | None = None,
    maybe_given: int | None = 4,
    flag: bool = True,
    maybe_flag: bool | None = None,
    choice: Literal["a", "b"] = "b",
    level: Literal[1, 2] | None = None,
    colour: Colour = Colour.blue,
    day: date | None = None,
    moment: datetime | None = None,
    long: timedelta = timedelta(hours=1),
    items: list[float] = [0.5],  # noqa: B006
    pair: tuple[int, str] | None = None,
    place: Place | None = None,
    table: dict[str, float] = {"é": 1.0},  # noqa: B006
) -> None: ...


def declared_fields() -> dict[str, Field]:
    return {field.name: field for field in fields_of(Parameters.from_signature(declared).json_schema())}


def test_every_parameter_has_a_field_in_order() -> None:
    assert list(declared_fields()) == list(Parameters.from_signature(declared).names)


def test_numbers_have_their_bounds() -> None:
    fields = declared_fields()
    assert fields["plain"].attributes == {"type": "number", "step": "any"}
    assert fields["plain"].hint == "a number; required"
    assert fields["counted"].attributes == {"type": "number", "step": "1", "min": "0", "max": "9"}
    assert fields["counted"].description == "How many."
    assert fields["counted"].hint == "a whole number; at least 0; less than 10; default 3"
    assert fields["bounded"].attributes == {"type": "number", "step": "any", "max": "1.5"}
    assert "more than 0" in fields["bounded"].hint
    assert fields["maybe_count"].attributes["min"] == "1"


def test_texts_and_dates() -> None:
    fields = declared_fields()
    assert fields["text"].attributes == {"type": "text", "minlength": "1", "maxlength": "5"}
    assert fields["day"].attributes == {"type": "date"}
    assert fields["moment"].attributes == {"type": "text"}
    assert "offset" in fields["moment"].hint
    assert fields["long"].value == "PT1H"


def test_choices() -> None:
    fields = declared_fields()
    assert (fields["flag"].choices, fields["flag"].value) == (("true", "false"), "true")
    assert (fields["choice"].choices, fields["choice"].value) == (("a", "b"), "b")
    assert (fields["level"].choices, fields["level"].value) == (("1", "2"), "")
    assert (fields["colour"].choices, fields["colour"].value) == (("red", "blue"), "blue")


def test_what_has_structure_is_json() -> None:
    fields = declared_fields()
    assert {name for name, field in fields.items() if field.control == "json"} == {"items", "pair", "place", "table"}
    assert fields["items"].value == "[0.5]"
    assert fields["table"].value == '{"é": 1}'
    assert fields["place"].hint.startswith("a JSON object with x, y")


def test_what_may_be_empty() -> None:
    fields = declared_fields()
    optional = {name for name, field in fields.items() if field.optional}
    assert optional == {
        "maybe_text", "maybe_count", "maybe_flag", "level", "day", "moment", "pair", "place",
    }  # fmt: skip
    assert not fields["text"].needed
    assert (fields["maybe_given"].nullable, fields["maybe_given"].needed) == (True, False)
    assert fields["counted"].needed


def test_the_form_as_it_stands_is_what_the_defaults_are() -> None:
    parameters = Parameters.from_signature(declared)
    given: dict[str, Any] = {"plain": "1"}
    pairs = [(f.name, given.get(f.name, f.value)) for f in declared_fields().values() if f.name != "maybe_text"]
    left_out = [(name, text) for name, text in pairs if text or name in given]
    assert parameters.parse_pairs(pairs).query == parameters.parse_pairs(left_out).query
    assert parameters.parse_pairs(left_out).query == parameters.parse_query(b"plain=1").query
