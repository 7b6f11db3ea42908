"""What explains the service: the OpenAPI document, the documentation made of it, and the problem types."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from etagere.asgi.negotiation import Wanted, negotiate
from etagere.asgi.openapi import document
from etagere.asgi.problem_types import ProblemType, problem_types
from etagere.asgi.responses import Response, json_response, page_response
from etagere.errors import NotFound
from etagere.model import Registry
from etagere.web.documentation import answers_of, models_of
from etagere.web.pages import Templates

_PROBLEMS = "/-/problems/"
# Descriptions are as large as all models together, and clients reach a few sets of them.
_REMEMBERED = 16


class Reference:
    """Answers for `/-/openapi.json`, `/-/docs`, `/-/problems/` and `/-/problems/{type}`."""

    def __init__(self, templates: Templates, version: str) -> None:
        self._templates = templates
        self._version = version
        self._problems = problem_types()
        self._document = lru_cache(maxsize=_REMEMBERED)(self._described)
        self._docs = lru_cache(maxsize=_REMEMBERED)(self._documented)

    def __call__(self, path: str, accept: bytes | None, root: str, registry: Registry) -> Response | None:
        """The answer for a path, None where it is another's; `registry` has the models to explain.

        Raises:
            NotFound: there is no such problem type.
        """
        if path == "/-/openapi.json":
            return json_response(self._document(registry))
        if path == "/-/docs":
            return page_response(self._docs(registry))
        if path.startswith(_PROBLEMS):
            return self._explained(path.removeprefix(_PROBLEMS), accept, root)
        return None

    def _described(self, registry: Registry) -> dict[str, Any]:
        return document(registry, self._version)

    def _documented(self, registry: Registry) -> bytes:
        described = self._document(registry)
        return self._templates.page("docs.html", "../", models=models_of(described), answers=answers_of(described))

    def _explained(self, name: str, accept: bytes | None, root: str) -> Response:
        kinds = list(self._problems.values())
        if name and name not in self._problems:
            raise NotFound("The problem types are listed at /-/problems/.")
        found = self._problems.get(name)
        if negotiate(accept, "application/json") is Wanted.page:
            return page_response(self._templates.page("problem_types.html", "../../", kinds=kinds, found=found))
        listed = _document_of(found, root) if found else {"problems": [_document_of(kind, root) for kind in kinds]}
        response = json_response(listed)
        response.headers.append((b"vary", b"Accept"))
        return response


def _document_of(kind: ProblemType, root: str) -> dict[str, Any]:
    return {
        "type": f"{root}{_PROBLEMS}{kind.name}",
        "title": kind.title,
        "status": kind.status,
        "meaning": kind.meaning,
        "advice": kind.advice,
    }
