"""The ASGI application of the resources: a request target in, one of the kinds of response out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, NamedTuple
from urllib.parse import quote

import structlog

from etagere.asgi import problems, responses
from etagere.asgi.hosts import HostCheck
from etagere.asgi.negotiation import Wanted, negotiate
from etagere.asgi.responses import Receive, Response, Scope, Send
from etagere.asgi.status import pending_document, status_of
from etagere.core import etag
from etagere.core.conditions import UNCONDITIONAL, Conditions, Decision
from etagere.core.lifecycle import Run
from etagere.core.representation import Failure, Representation
from etagere.errors import (
    FieldsTooLarge,
    InternalError,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    PreconditionFailed,
    Problem,
    TargetTooLong,
    UnknownMethod,
)
from etagere.service import Address, Answer, Service, Start

log = structlog.get_logger("etagere.http")

ALLOW = "GET, HEAD, OPTIONS"
OWN_PATHS = frozenset({"/", "/robots.txt"})
LONGEST_FIELD = 8192
OTHER_METHODS = frozenset({"POST", "PUT", "DELETE", "PATCH", "CONNECT", "TRACE"})
Fields = dict[bytes, bytes]
Pages = Callable[[str, bytes | None, str], Response]
WaitingPage = Callable[[dict[str, Any], str, str], bytes]


class Application:
    """Answers for `/{model}` and `/r/{id}`.

    `pages` answers for everything else, given the path, the Accept field and where the application
    is mounted; `waiting_page` renders the page that a person sees while a run goes on, from the status document,
    the way to the root, and the way to the result. `dev` forbids caches to keep anything.
    """

    def __init__(
        self,
        service: Service,
        pages: Pages,
        waiting_page: WaitingPage,
        hosts: HostCheck,
        *,
        max_target: int,
        dev: bool = False,
    ) -> None:
        self._service = service
        self._pages = pages
        self._waiting_page = waiting_page
        self._hosts = hosts
        self._max_target = max_target
        self._dev = dev

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        method, root = scope["method"], scope.get("root_path", "")
        path = _path(scope, root)
        try:
            response = await self._respond(scope, method, path, root)
        except Problem as problem:
            response = problems.of_problem(problem, root)
        except Exception:
            log.exception("fault", method=method, path=path)
            response = problems.of_problem(InternalError("The fault has been logged."), root)
        await response.send(send, head=method == "HEAD")

    async def _respond(self, scope: Scope, method: str, path: str, root: str) -> Response:
        fields = _fields(scope["headers"])
        self._hosts.check(fields.get(b"host"), scope.get("server"))
        if method not in ("GET", "HEAD"):
            return _other_method(method)
        query: bytes = scope["query_string"]
        if (length := len(path) + 1 + len(query)) > self._max_target:
            raise TargetTooLong(f"It has {length} bytes; the limit is {self._max_target}.")
        if path in OWN_PATHS or path.startswith("/-/"):
            return self._pages(path, fields.get(b"accept"), root)
        if not path.startswith("/r/"):
            address, start = await self._service.locate(path[1:], query)
            return await self._resource(_Request(address, start, fields, "../" * (path.count("/") - 1), root))
        id, _, rest = path[3:].partition("/")
        address, start = self._service.locate_id(id)
        if rest == "status":
            return self._status(_Request(address, start, fields, "../../", root))
        if rest:
            raise NotFound(f"A resource has no {rest[:40]!r}.")
        return await self._resource(_Request(address, start, fields, "../", root))

    async def _resource(self, request: _Request) -> Response:
        address = request.address
        wanted = negotiate(request.fields.get(b"accept"), address.media_type)
        if wanted is Wanted.nothing and not address.fixed:
            raise NotAcceptable(
                f"{address.model} is given as {address.media_type}.",
                formats=[{"name": address.format, "media_type": address.media_type}],
            )
        if run := self._pinged(address.id, request.fields):
            return responses.still_pending(*self._told(run))
        fields = request.fields
        answer = await self._service.answer(
            address, _conditions(fields), request.start, may_start=_is_asked_for(fields)
        )
        if answer.decision is Decision.still_pending:
            return responses.still_pending(*self._told(answer.run))
        if answer.decision is Decision.accepted:
            return self._accepted(request, answer, page=wanted is Wanted.page)
        return await self._settled(request, answer)

    def _pinged(self, id: str, fields: Fields) -> Run | None:
        """The pending run whose tag is the one condition, which is what nearly every request is."""
        plain = fields.get(b"if-none-match") == etag.pending_field(id) and b"if-match" not in fields
        return self._service.runs.get(id) if plain else None

    def _told(self, run: Run | None) -> tuple[Run, int | None, float]:
        """What is told of a pending run: itself, its position, and the time that it is told."""
        assert run is not None
        return run, self._service.runs.position(run.id), self._service.clock.now()

    def _accepted(self, request: _Request, answer: Answer, *, page: bool) -> Response:
        run, position, now = self._told(answer.run)
        document = pending_document(run, position, now, request.base)
        if not page:
            return responses.accepted(run, position, now, request.base, document)
        body = self._waiting_page(document, request.base, f"{request.base}r/{run.id}")
        return responses.accepted_page(run, position, now, request.base, body)

    async def _settled(self, request: _Request, answer: Answer) -> Response:
        found = answer.found
        if answer.decision is Decision.precondition_failed:
            raise PreconditionFailed("If-Match names another state than the present one.")
        if answer.decision is Decision.still_ready:
            return responses.still_ready(answer.tag or _tag_of(found), request.address, dev=self._dev)
        if isinstance(found, Failure):
            return problems.of_failure(found, request.root, fresh=self._dev)
        assert isinstance(found, Representation)
        response = responses.ready(found, request.address, request.base, dev=self._dev)
        if found.body is not None:
            return response
        try:
            response.stream = await _primed(self._service.cache.stream(found))
        except FileNotFoundError:
            # The file is gone or not what was collected: never serve it, compute it again.
            log.error("stored result lost", id=found.id)
            await self._service.cache.discard(found.id)
            return await self._resource(request)
        return response

    def _status(self, request: _Request) -> Response:
        address = request.address
        document = status_of(self._service, address, request.base, request.root)
        if negotiate(request.fields.get(b"accept"), responses.STATUS_MEDIA_TYPE.decode()) is Wanted.page:
            page = self._waiting_page(document, request.base, f"../{address.id}")
            return responses.page_response(page, control=b"no-store")
        response = responses.json_response(document, media_type=responses.STATUS_MEDIA_TYPE, control=b"no-store")
        response.headers.append((b"vary", b"Accept"))
        return response


class _Request(NamedTuple):
    """A request for a resource; `base` leads from its URI to the root, `root` is where we are mounted."""

    address: Address
    start: Start
    fields: Fields
    base: str
    root: str


def _tag_of(found: Representation | Failure | None) -> etag.EntityTag:
    assert isinstance(found, Representation)
    return etag.ready_tag(found.id, found.digest, found.format)


def _path(scope: Scope, root: str) -> str:
    """The path below the mount point, still percent-encoded."""
    raw = scope.get("raw_path")
    path = raw.partition(b"?")[0].decode("latin-1") if raw else quote(scope["path"])
    return path.removeprefix(root) if root and path.startswith(root + "/") else path


def _fields(headers: list[tuple[bytes, bytes]]) -> Fields:
    fields = dict(headers)
    if len(fields) != len(headers):
        for name in fields:
            fields[name] = b", ".join(value for other, value in headers if other == name)
    for name, value in fields.items():
        if len(value) > LONGEST_FIELD:
            raise FieldsTooLarge(f"{name.decode('latin-1')} has {len(value)} bytes; the limit is {LONGEST_FIELD}.")
    return fields


def _is_asked_for(fields: Fields) -> bool:
    """Whether somebody asks, and not a page that embeds us or a browser that looks ahead."""
    return fields.get(b"sec-fetch-mode") != b"no-cors" and b"prefetch" not in fields.get(b"sec-purpose", b"")


def _conditions(fields: Fields) -> Conditions:
    match, none_match = fields.get(b"if-match"), fields.get(b"if-none-match")
    if match is None and none_match is None:
        return UNCONDITIONAL
    return Conditions(_tags(match), _tags(none_match))


def _tags(field: bytes | None) -> tuple[etag.EntityTag, ...] | None:
    return None if field is None else etag.parse(field.decode("latin-1"))


def _other_method(method: str) -> Response:
    if method == "OPTIONS":
        return Response(204, [(b"allow", ALLOW.encode())])
    if method in OTHER_METHODS:
        raise MethodNotAllowed(f"Use one of {ALLOW}.", headers={"allow": ALLOW})
    raise UnknownMethod(f"Use one of {ALLOW}.")


async def _primed(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The stream with its first chunk read, so that a missing file shows before the answer begins."""
    first = await anext(stream)
    return _resumed(first, stream)


async def _resumed(first: bytes, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async with aclosing(stream):  # type: ignore[type-var]
        yield first
        async for chunk in stream:
            yield chunk
