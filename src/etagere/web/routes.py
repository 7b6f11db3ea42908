"""The service resources: what stands beside the models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal

from etagere.asgi.fields import limited
from etagere.asgi.negotiation import Wanted, negotiate
from etagere.asgi.openapi.parameters import example_values
from etagere.asgi.operator import admit
from etagere.asgi.request import Request
from etagere.asgi.responses import NOSNIFF, Response, json_response, page_response
from etagere.errors import NotFound, Stopping, UnknownModel
from etagere.metrics import MEDIA_TYPE, Metrics
from etagere.model import Model, Registry
from etagere.operations import Operations
from etagere.service import Service
from etagere.web.pages import Templates, static_files
from etagere.web.reference import Reference

# A robot that follows links would start runs.
ROBOTS = b"User-agent: *\nDisallow: /\n"

_NO_CACHE, _PRIVATE = (b"cache-control", b"no-cache"), (b"cache-control", b"private, no-cache")
_REMEMBERED = 256

# What people type, and the way from there to what they mean.
_MEANT = {"/-/": "../", "/-/models": "../", "/-/models/": "../../", "/-/problems": "problems/"}


class Routes:
    """Answers for `/`, `/robots.txt` and for everything under `/-/`."""

    def __init__(
        self,
        service: Service,
        operations: Operations,
        templates: Templates,
        version: str,
        metrics: Metrics,
        *,
        guarded: bool,
        measured: Literal["open", "operator"],
    ) -> None:
        self._service = service
        self._operations = operations
        self._templates = templates
        self._metrics = metrics
        self._reference = Reference(templates, version)
        self._static = static_files()
        self._described = lru_cache(maxsize=_REMEMBERED)(self._model)
        self._form = lru_cache(maxsize=_REMEMBERED)(self._form_page)
        self._guarded = guarded
        self._is_measured_by_all = measured == "open"
        self._fixed: dict[str, Callable[[Request], Response]] = {
            "/": self._catalogue,
            "/-/health/live": self._live,
            "/-/health/ready": self._ready,
            "/-/metrics": self._measured,
            "/-/runs": self._runs,
        }

    def __call__(self, request: Request) -> Response:
        """The answer for a path.

        Raises:
            NotFound: there is nothing at this path, or not for this client.
            Unauthorized: it is for operators, and who asks is not known.
        """
        response = self._answer(request, request.path)
        if self._guarded and _NO_CACHE in response.headers:
            # What one client sees of the models, another may not.
            response = replace(response, headers=[_PRIVATE if f == _NO_CACHE else f for f in response.headers])
        return response

    def _answer(self, request: Request, path: str) -> Response:
        if path == "/robots.txt":
            return _text(ROBOTS)
        if meant := _MEANT.get(path):
            return Response(303, [(b"location", meant.encode()), _NO_CACHE, (b"content-length", b"0")])
        if path.endswith("/") and path not in ("/", "/-/problems/"):
            self._answer(request, path.rstrip("/"))
            raise NotFound(f"Leave out the slash at the end: {path[1:].rstrip('/')}")
        if found := self._fixed.get(path):
            return found(request)
        accept, registry = _accept(request), request.reach.registry
        if explained := self._reference(path, accept, request.root, registry):
            return explained
        folder, _, name = path.removeprefix("/-/").partition("/")
        if folder == "models" and name:
            page = negotiate(accept, "application/json") is Wanted.page
            return self._form(registry, name) if page else self._described(registry, name)
        if folder == "static" and name in self._static:
            return self._file(name)
        raise NotFound("The models are listed at the root.")

    def _catalogue(self, request: Request) -> Response:
        models = [_summary(model) for model in _newest(request.reach.registry)]
        if negotiate(_accept(request), "application/json") is Wanted.page:
            return page_response(self._templates.catalogue(models, ""))
        return _negotiated({"models": models})

    def _runs(self, request: Request) -> Response:
        admit(request)
        listed = self._operations.listed()
        if negotiate(_accept(request), "application/json") is Wanted.page:
            page = self._templates.page("runs.html", "../", status=self._operations.counted(), **listed)
            return page_response(page, control=b"no-store")
        response = json_response(listed, control=b"no-store")
        response.headers.append((b"vary", b"Accept"))
        return response

    def _form_page(self, registry: Registry, name: str) -> Response:
        return page_response(self._templates.model(*_versions(registry, name), "../../"))

    def _model(self, registry: Registry, name: str) -> Response:
        model, versions = _versions(registry, name)
        return _negotiated(
            {
                "name": model.name,
                "version": model.version,
                "versions": versions,
                "description": model.doc,
                "media_type": model.media_type,
                "format": model.format,
                "formats": [given._asdict() for given in model.formats],
                "time_limit": model.options.time_limit,
                "parameters": model.parameters.json_schema(),
                "examples": example_values(model),
                "links": {"self": f"../../{model.name}", "pinned": f"../../{model.key}"},
            }
        )

    def _live(self, _: Request) -> Response:
        return json_response({"status": "live"}, control=b"no-store")

    def _ready(self, _: Request) -> Response:
        if self._service.stopping:
            raise Stopping("The service is stopping.", retry_after=5)
        if self._service.draining:
            raise Stopping("The service starts nothing new at the moment.", retry_after=5)
        return json_response({"status": "ready"}, control=b"no-store")

    def _measured(self, request: Request) -> Response:
        if not self._is_measured_by_all:
            admit(request)
        return _text(self._metrics.render(), MEDIA_TYPE, control=b"no-store")

    def _file(self, name: str) -> Response:
        return _text(self._static[name][1], self._static[name][0])


def _accept(request: Request) -> bytes | None:
    return limited(request.fields, b"accept")


def _newest(registry: Registry) -> list[Model]:
    names = dict.fromkeys(model.name for model in registry.models.values())
    return [registry.find(name)[0] for name in names]


def _summary(model: Model) -> dict[str, Any]:
    links = {"self": model.name, "description": f"-/models/{model.name}"}
    return {"name": model.name, "version": model.version, "summary": model.doc.partition("\n")[0], "links": links}


def _versions(registry: Registry, name: str) -> tuple[Model, list[str]]:
    """The newest version of a model, and the names of all."""
    versions = [model.version for model in registry.models.values() if model.name == name]
    if not versions:
        raise UnknownModel("The models are listed at the root.")
    return registry.find(name)[0], versions


def _negotiated(document: dict[str, Any]) -> Response:
    """A document that people get as a page."""
    response = json_response(document)
    response.headers.append((b"vary", b"Accept"))
    return response


def _text(body: bytes, media_type: bytes = b"text/plain; charset=utf-8", *, control: bytes = b"no-cache") -> Response:
    length = (b"content-length", b"%d" % len(body))
    return Response(200, [(b"cache-control", control), (b"content-type", media_type), length, NOSNIFF], body)
