"""The fields of a form, from the JSON Schema of a model's parameters."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_BOUNDS = {
    "exclusiveMinimum": "more than",
    "minimum": "at least",
    "exclusiveMaximum": "less than",
    "maximum": "at most",
    "multipleOf": "a multiple of",
    "minLength": "characters: at least",
    "maxLength": "characters: at most",
    "minItems": "items: at least",
    "maxItems": "items: at most",
    "pattern": "matching",
}
_FORMATS = {
    "date": "a date",
    "date-time": "a date and time with its offset, such as 2020-01-31T12:00:00Z",
    "duration": "an ISO 8601 duration, such as PT1H30M",
}
_KINDS = {"integer": "a whole number", "number": "a number", "string": "text", "boolean": "true or false"}
_ATTRIBUTES = {"minimum": "min", "maximum": "max", "minLength": "minlength", "maxLength": "maxlength"}


@dataclass(frozen=True)
class Field:
    """One control of a form.

    `control` is `input`, `select` or `json`; `nullable` says that it can be null, `optional` that it is
    unless it is given, so that an empty text may be left out; `needed` that an empty one cannot be sent;
    `hint` says what is accepted.
    """

    name: str
    control: str
    value: str
    nullable: bool
    optional: bool
    needed: bool
    hint: str
    description: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    choices: tuple[str, ...] = ()


def fields_of(schema: Mapping[str, Any]) -> list[Field]:
    """The fields for an object's schema, in the order of its properties."""
    return [_field(name, part, name in schema.get("required", ())) for name, part in schema["properties"].items()]


def _field(name: str, schema: Mapping[str, Any], required: bool) -> Field:
    inner, nullable = _without_null(schema)
    control, choices = _control(inner)
    hint = "; ".join((_kind(inner, choices), *_bounds(inner), *_default(schema, required)))
    # A text may be empty; of those that have to be given, an empty one is more likely forgotten.
    needed = required or not (nullable or inner.get("type") == "string")
    return Field(
        name=name,
        control=control,
        value=_text(schema.get("default")),
        nullable=nullable,
        optional=nullable and not required and schema.get("default") is None,
        needed=needed,
        hint=hint,
        description=str(schema.get("description") or inner.get("description") or ""),
        attributes=_attributes(inner) if control == "input" else {},
        choices=choices,
    )


def _without_null(schema: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """The schema of what is not null, and whether null is possible."""
    options = schema.get("anyOf", ())
    others = [option for option in options if option.get("type") != "null"]
    if len(others) == 1 and len(options) == 2:
        return {**schema, **others[0]}, True
    return schema, False


def _control(schema: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    if schema.get("type") == "boolean":
        return "select", ("true", "false")
    choices = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if choices is not None:
        return "select", tuple(_text(choice) for choice in choices)
    return ("input" if schema.get("type") in _KINDS else "json"), ()


def _kind(schema: Mapping[str, Any], choices: tuple[str, ...]) -> str:
    if choices:
        return "one of these"
    kind = schema.get("type")
    if kind == "array":
        return 'a JSON array, such as [1, 2] or ["a", "b"]'
    if kind == "object":
        return "a JSON object" + _members(schema)
    return _FORMATS.get(schema.get("format", ""), _KINDS.get(str(kind), "JSON"))


def _members(schema: Mapping[str, Any]) -> str:
    names = list(schema.get("properties", ()))
    return f" with {', '.join(names)}" if names else ""


def _bounds(schema: Mapping[str, Any]) -> Iterator[str]:
    for keyword, words in _BOUNDS.items():
        if keyword in schema:
            yield f"{words} {_text(schema[keyword])}"


def _default(schema: Mapping[str, Any], required: bool) -> Iterator[str]:
    if required:
        yield "required"
    elif (default := schema.get("default")) is not None:
        yield f"default {_text(default)}"
    else:
        yield "optional"


def _attributes(schema: Mapping[str, Any]) -> dict[str, str]:
    kind = schema["type"]
    attributes = {html: _text(schema[keyword]) for keyword, html in _ATTRIBUTES.items() if keyword in schema}
    if kind == "string":
        return {"type": "date" if schema.get("format") == "date" else "text", **attributes}
    if kind == "integer":
        return {"type": "number", "step": "1", **attributes, **_exclusive(schema)}
    return {"type": "number", "step": "any", **attributes}


def _exclusive(schema: Mapping[str, Any]) -> dict[str, str]:
    """The bounds of a whole number that must not be reached, as the ones that may."""
    bounds = {"min": ("exclusiveMinimum", 1), "max": ("exclusiveMaximum", -1)}
    return {html: _text(schema[word] + step) for html, (word, step) in bounds.items() if word in schema}


def _text(value: Any) -> str:
    """A value as a query string has it."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
