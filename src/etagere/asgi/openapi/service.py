"""The resources that stand beside the models."""

from __future__ import annotations

from typing import Any

from etagere.asgi.openapi import schemas
from etagere.asgi.openapi.components import PAGE, Part, headers, problems
from etagere.asgi.problem_types import problem_types
from etagere.model import Model

TAG = "/-/"


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
        "/-/health/live": _path("live", "Whether the process answers", _json(schemas.HEALTH)),
        "/-/health/ready": _path("ready", "Whether it starts runs: 503 while it stops", _json(schemas.HEALTH)),
        "/robots.txt": _path("robots", "Keeps robots out", {"text/plain": {"schema": {"type": "string"}}}),
    }


def _json(schema: Part) -> Part:
    return {"application/json": {"schema": schema}}


def _path(operation: str, summary: str, content: Part, **names: list[str]) -> Part:
    fields = headers("Cache-Control", "X-Content-Type-Options", sometimes=["Vary", "Content-Security-Policy"])
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "enum": values}}
        for name, values in names.items()
    ]
    missing = [404] if names else []
    return {
        "get": {
            "operationId": f"etagere.{operation}",
            "tags": [TAG],
            "summary": summary,
            "parameters": parameters,
            "responses": {
                "200": {"description": summary, "headers": fields, "content": content},
                **problems(*missing, without=[400, 406, 412, 416, 422, 429, 504]),
            },
        }
    }
