"""The parameters of a model as OpenAPI describes those of a query string."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

import orjson

from etagere.core.grammar import INT64
from etagere.model import Model

Part = dict[str, Any]

# As many digits as cannot add up to more than a duration has room for.
_DURATION = (
    r"^-?P(?=[0-9T])([0-9]{1,7}W)?([0-9]{1,8}D)?"
    r"(T(?=[0-9])([0-9]{1,9}H)?([0-9]{1,9}M)?([0-9]{1,9}(\.[0-9]{1,6})?S)?)?$"
)
_LOWER, _UPPER = ("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")


def schema_of(model: Model) -> Part:
    """The schema of the parameters as one JSON object, as exact as their grammar is."""
    schema: Part = _mapped(model.parameters.json_schema(), _exact)
    return schema


def query_parameters(model: Model) -> list[Part]:
    """A parameter object for each parameter."""
    schema = schema_of(model)
    examples = example_values(model)
    return [
        _parameter(name, part, name in schema["required"], _shown(name, examples))
        for name, part in schema["properties"].items()
    ]


def example_objects(model: Model) -> Part:
    """The examples as Example objects of a JSON content, by their numbers."""
    return {str(number): {"value": value} for number, value in enumerate(example_values(model), 1)}


def example_values(model: Model) -> list[Part]:
    """The examples as they are written in JSON."""
    return [_values(model, example) for example in model.options.examples]


def example_queries(model: Model) -> list[str]:
    """The query string of each example, canonical but for the defaults, which are left out."""
    return [_query(model, example) for example in model.options.examples]


def _query(model: Model, example: Mapping[str, Any]) -> str:
    pairs = model.parameters.parse_values(example).query.split("&")
    return "&".join(pair for pair in pairs if unquote(pair.partition("=")[0]) in example)


def _values(model: Model, example: Mapping[str, Any]) -> Part:
    values = orjson.loads(model.parameters.parse_values(example).json)
    return {name: value for name, value in values.items() if name in example}


def _shown(name: str, examples: list[Part]) -> Part:
    values = {str(number): {"value": example[name]} for number, example in enumerate(examples, 1) if name in example}
    return {"examples": values} if values else {}


def _parameter(name: str, schema: Part, required: bool, examples: Part) -> Part:
    parameter: Part = {"name": name, "in": "query", "required": required}
    nullable, schema = "anyOf" in schema, _never_null(schema)
    if description := schema.pop("description", None):
        parameter["description"] = description
    flat = _is_flat_array(schema)
    if not flat and not _is_simple(schema):
        return {**parameter, "content": {"application/json": {"schema": schema, **examples}}}
    if nullable and not _is_text(schema):
        parameter["allowEmptyValue"] = True
    if flat:
        parameter |= {"style": "form", "explode": True}
        # An empty one has no name to repeat; it is sent as `[]`.
        schema |= {"minItems": max(1, schema.get("minItems", 1))} if required else {}
    return {**parameter, "schema": schema, **examples}


def _is_text(schema: Part) -> bool:
    """Whether it is text of its own, whose empty form is text too."""
    return schema.get("type") == "string" and not {"format", "enum"} & {*schema} and schema.get("pattern") != _DURATION


def _is_simple(schema: Part) -> bool:
    return bool({"enum", "const"} & {*schema}) or schema.get("type") in ("string", "number", "integer", "boolean")


def _is_flat_array(schema: Part) -> bool:
    return schema.get("type") == "array" and isinstance(schema.get("items"), dict) and _is_simple(schema["items"])


def _never_null(schema: Part) -> Part:
    """The schema without null, which in a query string is to leave the parameter out."""
    branches = [branch for branch in schema.get("anyOf", ()) if branch != {"type": "null"}]
    if len(branches) == 1:
        schema = {**branches[0], **_without(schema, "anyOf")}
    return _without(schema, "title", *(["default"] if schema.get("default", ...) is None else []))


def _without(schema: Part, *names: str) -> Part:
    return {name: part for name, part in schema.items() if name not in names}


def _exact(schema: Part) -> Part:
    """What the grammar says of a type and pydantic's schema does not."""
    if schema.get("type") == "integer" and "enum" not in schema:
        low = {} if {*_LOWER} & {*schema} else {"minimum": INT64[0]}
        high = {} if {*_UPPER} & {*schema} else {"maximum": INT64[1]}
        return {**schema, **low, **high}
    if schema.get("type") == "object" and "properties" in schema:
        return {**schema, "additionalProperties": False}
    if schema.get("uniqueItems"):
        # A set takes a repeated item, once.
        return _without(schema, "uniqueItems")
    if schema.get("format") == "duration":
        # RFC 3339 has durations in months and years, which have no length.
        return {**_without(schema, "format"), "pattern": _DURATION}
    return schema


def _mapped(schema: Any, change: Callable[[Part], Part]) -> Any:
    if isinstance(schema, list):
        return [_mapped(part, change) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return change({name: _mapped(part, change) for name, part in schema.items()})
