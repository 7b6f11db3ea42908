"""The resources that stand beside the models."""

from __future__ import annotations

from typing import Any

from etagere.asgi.openapi import schemas
from etagere.asgi.openapi.components import DOCUMENT_FIELDS, PAGE, Part, headers, problems, response
from etagere.asgi.problem_types import problem_types
from etagere.model import Model

TAG = "/-/"

_TEXT: Part = {"text/plain": {"schema": {"type": "string"}}}
_MAYBE = ("Vary", "Content-Security-Policy")
# There are no parameters to be wrong, no states, and no parts.
_UNCALLED_FOR = (400, 406, 412, 416, 422, 429, 504)


def paths(newest: list[Model]) -> dict[str, Any]:
    """The path items of what is at the root and under `/-/`."""
    names = [model.name for model in newest]
    return {
        "/": _path("catalogue", "The models", {**_json(schemas.CATALOGUE), **PAGE}),
        "/-/models/{model}": _path("model", "One model", {**_json(schemas.MODEL), **PAGE}, model=names),
        "/-/openapi.json": _path("openapi", "This document", _json({"type": "object"})),
        "/-/docs": _path("docs", "The models, for people", PAGE),
        "/-/problems/": _path("problems", "The problem types", {**_json(schemas.PROBLEM_TYPES), **PAGE}),
        "/-/problems/{type}": _path(
            "problem", "One problem type", {**_json(schemas.PROBLEM_TYPE), **PAGE}, type=[*problem_types()]
        ),
        "/-/health/live": _unstored("live", "Whether the process answers", _json(schemas.HEALTH)),
        "/-/health/ready": _unstored("ready", "Whether it starts runs: 503 while it stops", _json(schemas.HEALTH)),
        "/-/metrics": _unstored("metrics", "Metrics in the text format of Prometheus", _TEXT),
        "/robots.txt": _path("robots", "Keeps robots out", _TEXT),
    }


def _json(schema: Part) -> Part:
    return {"application/json": {"schema": schema}}


def _path(name: str, summary: str, content: Part, **variables: list[str]) -> Part:
    """A document that caches may keep, and have to validate before each use."""
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "enum": values}}
        for name, values in variables.items()
    ]
    missing = [404] if variables else []
    fields = headers("DocumentTag", "Cache-Control", "X-Content-Type-Options", sometimes=_MAYBE)
    found = {
        "200": {"description": summary, "headers": fields, "content": content},
        "304": response("UnchangedDocument"),
    }
    return {
        "get": {
            **_about(name, summary),
            "parameters": [*parameters, *DOCUMENT_FIELDS],
            "responses": {**found, **problems(*missing, without=_UNCALLED_FOR)},
        }
    }


def _unstored(name: str, summary: str, content: Part) -> Part:
    fields = headers("Cache-Control", "X-Content-Type-Options")
    found = {"description": summary, "headers": fields, "content": content}
    return {
        "get": {**_about(name, summary), "responses": {"200": found, **problems(without=_UNCALLED_FOR)}},
    }


def _about(name: str, summary: str) -> Part:
    return {"operationId": f"etagere.{name}", "tags": [TAG], "summary": summary}
