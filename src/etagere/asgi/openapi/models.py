"""The paths of a model: newest and pinned version, negotiated and pinned format."""

from __future__ import annotations

from typing import Any

from etagere.asgi.openapi.components import PAGE, REQUEST_FIELDS, Part, headers, problems, response
from etagere.asgi.openapi.parameters import example_objects, example_queries, query_parameters, schema_of
from etagere.model import Model

_ALWAYS = ("Cache-Control", "X-Content-Type-Options", "Content-Security-Policy")
# Those of the result itself: where a browser gets a page instead, it has none of them.
_RESULT = (
    "ReadyTag", "Vary", "Accept-Ranges", "Content-Encoding", "Repr-Digest", "Link", "Cache-Status", "Server-Timing",
)  # fmt: skip


def paths(model: Model, *, newest: bool) -> dict[str, Any]:
    """The path items of one version, and of the URIs without a version if it is the newest."""
    named = [model.key, model.name] if newest else [model.key]
    return {path: item for name in named for path, item in _items(model, name).items()}


def media_types(model: Model) -> list[str]:
    """The media types of a result, the primary one first."""
    return [format.media_type for format in model.formats]


def ready(types: list[str]) -> Part:
    """The responses that carry a result, whole or in part."""
    content: Part = {name: {} for name in types}
    return {
        "200": {
            "description": "The result, or for a browser a page that shows it.",
            "headers": headers(*_ALWAYS, sometimes=_RESULT),
            "content": {**PAGE, **content},
        },
        "206": {
            "description": "The part of the result that `Range` names.",
            "headers": headers(*_ALWAYS, "ReadyTag", sometimes=[*_RESULT[1:], "Content-Range"]),
            "content": {**content, "multipart/byteranges": {}},
        },
    }


def responses(model: Model) -> dict[str, Any]:
    """The responses of one version that carry a result, by the names that its operations refer to."""
    whole, part = ready(media_types(model)).values()
    return {f"{model.name}.{model.version}": whole, f"{model.name}.{model.version}.part": part}


def format_parameter(names: list[str]) -> Part:
    """The format in a path, one of these."""
    return {
        "name": "format", "in": "path", "required": True, "description": "Pins the format, whatever `Accept` says.",
        "schema": {"type": "string", "enum": names},
    }  # fmt: skip


def pinned(operation: Part) -> Part:
    """The operation of the path that names a format, which may be none of the model's."""
    return {
        **operation,
        # No version has braces.
        "operationId": f"{operation['operationId']}.{{format}}",
        "responses": {**operation["responses"], "404": response("Problem404")},
    }


def _items(model: Model, name: str) -> dict[str, Any]:
    negotiated, fixed = f"/{name}", f"/{name}.{{format}}"
    get, query = _get(model, name), _query(model, name)
    targets = [f"{name}?{query}" for query in example_queries(model)]
    format_ = format_parameter([format.name for format in model.formats])
    return {
        negotiated: {"get": {**get, "x-example-targets": targets}, "x-query": query},
        fixed: {"parameters": [format_], "get": pinned(get), "x-query": pinned(query)},
    }


def _get(model: Model, name: str) -> Part:
    return {
        **_about(model, name),
        "parameters": [*query_parameters(model), *REQUEST_FIELDS],
        "responses": {
            "200": response(f"{model.name}.{model.version}"),
            "206": response(f"{model.name}.{model.version}.part"),
            "202": response("Accepted"),
            "304": response("Unchanged"),
            **problems(),
        },
    }


def _about(model: Model, operation: str) -> Part:
    return {
        "operationId": operation,
        "tags": [model.name],
        "summary": model.doc.partition("\n")[0] or model.name,
        "description": model.doc,
    }


def _query(model: Model, name: str) -> Part:
    schema, examples = schema_of(model), example_objects(model)
    json = {"schema": schema, "examples": examples} if examples else {"schema": schema}
    content = {"application/json": json, "application/x-www-form-urlencoded": {"schema": schema}}
    return {
        **_about(model, f"{name}?"),
        "description": "The same resource, for parameters too long for a URI.",
        "requestBody": {"required": True, "content": content},
        "responses": {"303": response("SeeOther"), **problems(408, 413, 415, without=[412, 414, 416, 422])},
    }
