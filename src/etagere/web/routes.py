"""The service resources: what stands beside the models."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from etagere.asgi.negotiation import Wanted, negotiate
from etagere.asgi.openapi.parameters import example_values
from etagere.asgi.responses import NOSNIFF, Response, json_response, page_response
from etagere.errors import NotFound, Stopping, UnknownModel
from etagere.metrics import MEDIA_TYPE, Metrics
from etagere.model import Model
from etagere.service import Service
from etagere.web.pages import Templates, static_files
from etagere.web.reference import Reference

# A robot that follows links would start runs.
ROBOTS = b"User-agent: *\nDisallow: /\n"

# What people type, and the way from there to what they mean.
_MEANT = {"/-/": "../", "/-/models": "../", "/-/models/": "../../", "/-/problems": "problems/"}


class Routes:
    """Answers for `/`, `/robots.txt` and for everything under `/-/`."""

    def __init__(self, service: Service, templates: Templates, version: str, metrics: Metrics) -> None:
        self._service = service
        self._templates = templates
        self._metrics = metrics
        self._reference = Reference(service.registry, templates, version)
        self._static = static_files()
        self._described = lru_cache(maxsize=256)(self._model)
        self._form = lru_cache(maxsize=256)(self._form_page)
        self._fixed: dict[str, Callable[[], Response]] = {
            "/-/health/live": self._live,
            "/-/health/ready": self._ready,
            "/-/metrics": self._measured,
        }

    def __call__(self, path: str, accept: bytes | None, root: str) -> Response:
        """The answer for a path.

        Raises:
            NotFound: there is nothing at this path.
        """
        if path == "/":
            return self._catalogue(accept)
        if path == "/robots.txt":
            return _text(ROBOTS)
        if meant := _MEANT.get(path):
            return Response(
                303, [(b"location", meant.encode()), (b"cache-control", b"no-cache"), (b"content-length", b"0")]
            )
        if path.endswith("/") and path != "/-/problems/":
            self(path.rstrip("/"), accept, root)
            raise NotFound(f"Leave out the slash at the end: {path[1:].rstrip('/')}")
        if found := self._fixed.get(path):
            return found()
        if explained := self._reference(path, accept, root):
            return explained
        folder, _, name = path.removeprefix("/-/").partition("/")
        if folder == "models" and name:
            page = negotiate(accept, "application/json") is Wanted.page
            return self._form(name) if page else self._described(name)
        if folder == "static" and name in self._static:
            return self._file(name)
        raise NotFound("The models are listed at the root.")

    def _catalogue(self, accept: bytes | None) -> Response:
        models = [self._summary(model) for model in self._newest()]
        if negotiate(accept, "application/json") is Wanted.page:
            return page_response(self._templates.catalogue(models, ""))
        return _negotiated({"models": models})

    def _newest(self) -> list[Model]:
        names = dict.fromkeys(model.name for model in self._service.registry.models.values())
        return [self._service.registry.find(name)[0] for name in names]

    def _summary(self, model: Model) -> dict[str, Any]:
        summary = model.doc.partition("\n")[0]
        links = {"self": model.name, "description": f"-/models/{model.name}"}
        return {"name": model.name, "version": model.version, "summary": summary, "links": links}

    def _versions(self, name: str) -> tuple[Model, list[str]]:
        """The newest version of a model, and the names of all."""
        versions = [model.version for model in self._service.registry.models.values() if model.name == name]
        if not versions:
            raise UnknownModel("The models are listed at the root.")
        return self._service.registry.find(name)[0], versions

    def _form_page(self, name: str) -> Response:
        return page_response(self._templates.model(*self._versions(name), "../../"))

    def _model(self, name: str) -> Response:
        model, versions = self._versions(name)
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

    def _live(self) -> Response:
        return json_response({"status": "live"}, control=b"no-store")

    def _ready(self) -> Response:
        if self._service.stopping:
            raise Stopping("The service is stopping.", retry_after=5)
        if self._service.draining:
            raise Stopping("The service starts nothing new at the moment.", retry_after=5)
        return json_response({"status": "ready"}, control=b"no-store")

    def _measured(self) -> Response:
        return _text(self._metrics.render(), MEDIA_TYPE, control=b"no-store")

    def _file(self, name: str) -> Response:
        return _text(self._static[name][1], self._static[name][0])


def _negotiated(document: dict[str, Any]) -> Response:
    """A document that people get as a page."""
    response = json_response(document)
    response.headers.append((b"vary", b"Accept"))
    return response


def _text(body: bytes, media_type: bytes = b"text/plain; charset=utf-8", *, control: bytes = b"no-cache") -> Response:
    length = (b"content-length", b"%d" % len(body))
    return Response(200, [(b"cache-control", control), (b"content-type", media_type), length, NOSNIFF], body)
