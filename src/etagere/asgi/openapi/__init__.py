"""The OpenAPI 3.1 document: everything that the service answers, as docs/conversation.md has it."""

from __future__ import annotations

from typing import Any

from etagere.asgi.openapi import aliases, components, models, service
from etagere.model import Model, Registry

__all__ = ["document"]

_DESCRIPTION = """\
A slow, deterministic model is an ordinary resource: the query string carries every input of a run. The first `GET`
starts the run and gets `202` with an entity tag. Ask again with that tag in `If-None-Match` after `Retry-After`
seconds: `304` while the run goes on, then `200` with the result, which everybody shares and every HTTP cache may keep.

`HEAD` is answered as `GET` is, without content, and starts the run too. Where a resource has `QUERY` (RFC 10008), which
OpenAPI 3.1 has no field for, it is described under `x-query`.
"""


def document(registry: Registry, version: str) -> dict[str, Any]:
    """The document of these models; `version` is the service's own.

    Its references are relative to where it is served, so that it holds wherever the application is mounted.
    """
    published = list(registry.models.values())
    newest = [model for model in published if registry.find(model.name)[0] is model]
    shared = components.components()
    paths: dict[str, Any] = {}
    for model in published:
        paths |= models.paths(model, newest=model in newest)
        shared["responses"] |= models.responses(model)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Etagere", "version": version, "description": _DESCRIPTION},
        "externalDocs": {"url": "docs", "description": "The models, for people, with commands to try."},
        "servers": [{"url": ".."}],
        "tags": _tags(newest),
        "paths": paths | aliases.paths(published) | service.paths(newest),
        "components": shared,
    }


def _tags(newest: list[Model]) -> list[dict[str, Any]]:
    tags = [
        {"name": model.name, "description": model.doc, "externalDocs": {"url": f"models/{model.name}"}}
        for model in newest
    ]
    aliases_tag = {"name": aliases.TAG, "description": "Short addresses of results and runs."}
    return [*tags, aliases_tag, {"name": service.TAG, "description": "What stands beside the models."}]
