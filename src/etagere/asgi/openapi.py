"""The OpenAPI 3.1 document of the models."""

from __future__ import annotations

from typing import Any

from etagere.model import Model, Registry

_TAG = {"schema": {"type": "string"}, "description": "An entity tag; send it back in If-None-Match."}
_RETRY = {"schema": {"type": "integer"}, "description": "Seconds to wait before the next request."}
_RUN_STATUS = {
    "schema": {"type": "string"},
    "description": "A dictionary of structured fields (RFC 9651): state, progress, eta, position.",
}
_PROBLEMS = {
    "400": "Parameters are bad, missing, repeated or unknown: every fault at once.",
    "404": "There is no such model, version or format.",
    "406": "The model gives no format that the request accepts.",
    "412": "If-Match names another state.",
    "414": "The request target is too long.",
    "422": "The model refuses these parameters.",
    "500": "The run failed, or was stopped at a limit.",
    "503": "Too many runs are pending, or the run could not be recorded.",
}


def document(registry: Registry, title: str, version: str) -> dict[str, Any]:
    """One path for each model (its newest version) and one for each version, pinned."""
    paths: dict[str, Any] = {}
    for model in registry.models.values():
        paths[f"/{model.key}"] = {"get": _operation(model, f"{model.name}_{model.version}")}
        if registry.find(model.name)[0] is model:
            paths[f"/{model.name}"] = {"get": _operation(model, model.name)}
    components = {"schemas": {"Problem": _problem_schema(), "Status": _status_schema()}}
    return {"openapi": "3.1.0", "info": {"title": title, "version": version}, "paths": paths, "components": components}


def _operation(model: Model, operation_id: str) -> dict[str, Any]:
    schema = model.parameters.json_schema()
    required = schema.get("required", [])
    definitions = schema.get("$defs")
    parameters = [_parameter(name, part, name in required, definitions) for name, part in schema["properties"].items()]
    problems = {status: _problem(text) for status, text in _PROBLEMS.items()}
    return {
        "operationId": operation_id,
        "summary": model.doc.partition("\n")[0] or model.name,
        "description": model.doc,
        "parameters": [*parameters, {"name": "If-None-Match", "in": "header", "schema": {"type": "string"}}],
        "responses": {"200": _ready(model), "202": _accepted(), "304": _unchanged(), **problems},
    }


def _parameter(name: str, schema: dict[str, Any], required: bool, definitions: Any) -> dict[str, Any]:
    parameter: dict[str, Any] = {"name": name, "in": "query", "required": required}
    if description := schema.get("description"):
        parameter["description"] = description
    if definitions:
        schema = {**schema, "$defs": definitions}
    structured = "$ref" in schema or schema.get("type") == "object"
    if structured:
        return {**parameter, "content": {"application/json": {"schema": schema}}}
    return {**parameter, "schema": schema}


def _ready(model: Model) -> dict[str, Any]:
    return {
        "description": "The result.",
        "headers": {"ETag": _TAG, "Cache-Control": {"schema": {"type": "string"}}},
        "content": {model.media_type: {}},
    }


def _accepted() -> dict[str, Any]:
    return {
        "description": "The run is recorded; ask again with the tag after Retry-After seconds.",
        "headers": {
            "ETag": _TAG,
            "Retry-After": _RETRY,
            "Run-Status": _RUN_STATUS,
            "Link": {"schema": {"type": "string"}},
        },
        "content": {"application/vnd.etagere.status+json": {"schema": {"$ref": "#/components/schemas/Status"}}},
    }


def _unchanged() -> dict[str, Any]:
    return {
        "description": "With the pending tag: still running. With a ready tag: the result that you have is right.",
        "headers": {"ETag": _TAG, "Retry-After": _RETRY, "Run-Status": _RUN_STATUS},
    }


def _problem(text: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": text, "content": {"application/problem+json": {"schema": schema}}}


def _problem_schema() -> dict[str, Any]:
    texts = {name: {"type": "string"} for name in ("type", "title", "detail")}
    fault = {"type": "object", "properties": {n: {"type": "string"} for n in ("parameter", "value", "reason")}}
    properties = {**texts, "status": {"type": "integer"}, "errors": {"type": "array", "items": fault}}
    return {"type": "object", "required": ["type", "title", "status"], "properties": properties}


def _status_schema() -> dict[str, Any]:
    texts = ("id", "model", "version", "outcome", "message")
    times = ("created", "started", "finished")
    states = ["absent", "queued", "running", "succeeded", "failed", "cancelled"]
    return {
        "type": "object",
        "required": ["id", "model", "version", "state", "links"],
        "properties": {
            **{name: {"type": "string"} for name in texts},
            **{name: {"type": "string", "format": "date-time"} for name in times},
            "state": {"enum": states},
            "attempt": {"type": "integer"},
            "position": {"type": "integer"},
            "progress": {"type": "number", "minimum": 0, "maximum": 1},
            "eta": {"type": "number", "description": "Seconds."},
            "links": {"type": "object", "additionalProperties": {"type": "string", "format": "uri-reference"}},
            "problem": {"$ref": "#/components/schemas/Problem"},
        },
    }
