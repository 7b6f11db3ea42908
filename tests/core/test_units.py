"""What counts as a description, and as a unit."""

from __future__ import annotations

from typing import Any

import pytest

from etagere.core.units import undescribed, without_unit

NUMBER: dict[str, Any] = {"type": "number"}


@pytest.mark.parametrize(
    ("name", "description"),
    [
        ("length", "Length of the rod (m)."),
        ("length", "Length of the rod in m"),
        ("rate", "Growth [1/year]"),
        ("inflow", "Litres each second."),
        ("temperature", "In °C."),
        ("share", "A fraction of the whole."),
        ("height_mm", "How high it is."),
        ("days", "How long to follow it."),
    ],
)
def test_a_unit_is_recognised(name: str, description: str) -> None:
    assert without_unit("", {name: {**NUMBER, "description": description}}) == []


@pytest.mark.parametrize(("name", "description"), [("length", "How long it is."), ("m", "The mass of it")])
def test_a_missing_unit_is_noticed(name: str, description: str) -> None:
    assert without_unit("", {name: {**NUMBER, "description": description}}) == [name]


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (NUMBER, ["x"]),
        ({"anyOf": [NUMBER, {"type": "null"}]}, ["x"]),
        ({"type": "array", "items": NUMBER}, ["x"]),
        ({"type": "integer"}, []),
        ({"type": "string"}, []),
    ],
)
def test_only_numbers_that_are_not_whole_need_one(schema: dict[str, Any], expected: list[str]) -> None:
    assert without_unit("", {"x": {**schema, "description": "Something"}}) == expected


def test_the_docstring_may_describe_a_parameter() -> None:
    doc = """The level of a tank.

    area : float
        Of its bottom (m²).
    outlet: how much leaves it
    """
    properties = {"area": NUMBER, "outlet": NUMBER, "let": NUMBER}
    assert undescribed(doc, properties) == ["let"]
    assert without_unit(doc, properties) == ["outlet"]
