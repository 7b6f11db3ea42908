"""What the documentation shows of the OpenAPI document, which is all that it is made of."""

from __future__ import annotations

import json
import shlex
from typing import Any

from etagere.asgi.openapi import aliases, service

Part = dict[str, Any]

_LIMITS = {
    "minimum": "from {}",
    "exclusiveMinimum": "above {}",
    "maximum": "to {}",
    "exclusiveMaximum": "below {}",
    "multipleOf": "in steps of {}",
    "minLength": "of at least {} characters",
    "maxLength": "of at most {} characters",
    "minItems": "at least {} of them",
    "maxItems": "at most {} of them",
    "pattern": "as {}",
}
_TYPES = {"integer": "whole number", "string": "text", "boolean": "true or false", "object": "JSON object"}
_FORMATS = {"date": "date", "date-time": "date and time with offset"}
_WIDEST = (-(2**63), 2**63 - 1)


def models_of(document: Part) -> list[Part]:
    """Each model with the parameters of its newest version, its other paths, and commands to try."""
    tags = [tag for tag in document["tags"] if tag["name"] not in (aliases.TAG, service.TAG)]
    return [_model(tag["name"], document["paths"]) for tag in tags]


def answers_of(document: Part) -> list[Part]:
    """Each kind of answer that a result may have: status, meaning, fields and media types."""
    operation = document["paths"]["/r/{id}"]["get"]
    shared = document["components"]["responses"]
    return [
        _answer(status, shared[response["$ref"].rpartition("/")[2]] if "$ref" in response else response)
        for status, response in sorted(operation["responses"].items())
    ]


def _model(name: str, paths: Part) -> Part:
    newest = paths[f"/{name}"]
    operation = newest["get"]
    queries = [parameter for parameter in operation["parameters"] if parameter.get("in") == "query"]
    versions = [path[1:] for path in paths if path.startswith(f"/{name}@") and not path.endswith("{format}")]
    targets = operation["x-example-targets"] or [_blank(name, queries)]
    return {
        "name": name,
        "summary": operation["summary"],
        "description": operation["description"].removeprefix(operation["summary"]).strip(),
        "parameters": [_parameter(parameter) for parameter in queries],
        "versions": versions,
        "formats": paths[f"/{name}.{{format}}"]["parameters"][0]["schema"]["enum"],
        "targets": targets,
        "contents": _contents(newest["x-query"]["requestBody"]["content"]["application/json"]),
    }


def _blank(name: str, queries: list[Part]) -> str:
    """A target to fill in, for a model without examples."""
    required = "&".join(f"{parameter['name']}=…" for parameter in queries if parameter["required"])
    return f"{name}?{required}" if required else name


def _contents(content: Part) -> list[str]:
    """The examples as JSON, quoted for a shell."""
    examples = content.get("examples", {}).values()
    return [shlex.quote(json.dumps(example["value"], ensure_ascii=False)) for example in examples]


def _parameter(parameter: Part) -> Part:
    schema = parameter.get("schema") or parameter["content"]["application/json"]["schema"]
    default = schema.get("default")
    return {
        "name": parameter["name"],
        "type": _type(schema),
        "required": parameter["required"],
        "default": None if default is None else default if isinstance(default, str) else json.dumps(default),
        "description": parameter.get("description", ""),
    }


def _type(schema: Part) -> str:
    if choices := schema.get("enum") or ([schema["const"]] if "const" in schema else []):
        return "one of " + ", ".join(map(str, choices))
    kind: str = schema.get("type", "JSON")
    if kind == "array":
        kind = f"list of {_type(schema['items'])}" if "items" in schema else "list"
    named = _FORMATS.get(schema.get("format", ""), _TYPES.get(kind, kind))
    limits = [
        words.format(schema[limit]) for limit, words in _LIMITS.items() if schema.get(limit, _WIDEST[0]) not in _WIDEST
    ]
    return " ".join([named, *limits])


def _answer(status: str, response: Part) -> Part:
    return {
        "status": status,
        "meanings": [line.removeprefix("* ") for line in response["description"].splitlines()],
        "fields": list(response.get("headers", ())),
        "types": list(response.get("content", ())),
    }
