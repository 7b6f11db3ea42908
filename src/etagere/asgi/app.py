"""The ASGI application of the resources: a request target in, one of the kinds of response out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from typing import Any
from urllib.parse import quote

from etagere.asgi import problems, responses
from etagere.asgi.hosts import HostCheck
from etagere.asgi.negotiation import Wanted, negotiate
from etagere.asgi.responses import Receive, Response, Scope, Send
from etagere.asgi.selection import select
from etagere.asgi.status import pending_document, status_of
from etagere.core import etag
from etagere.core.conditions import UNCONDITIONAL, Conditions, Decision
from etagere.core.lifecycle import Run
from etagere.core.representation import Failure, Representation, Resource
from etagere.errors import (
    FieldsTooLarge,
    InternalError,
    MethodNotAllowed,
    NotFound,
    PreconditionFailed,
    Problem,
    TargetTooLong,
    UnknownMethod,
)
from etagere.logs import get_logger
from etagere.service import Address, Answer, Service, Start

log = get_logger("etagere.http")

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
        try:
            response = await self._respond(scope)
        except Problem as problem:
            response = problems.of_problem(problem, scope.get("root_path", ""))
        except Exception:
            log.exception("fault", method=scope["method"], path=scope.get("raw_path"))
            response = problems.of_problem(InternalError("The fault has been logged."), scope.get("root_path", ""))
        await response.send(send, head=scope["method"] == "HEAD")

    async def _respond(self, scope: Scope) -> Response:
        fields = _fields(scope["headers"])
        self._hosts.check(fields.get(b"host"), scope.get("server"))
        if scope["method"] not in ("GET", "HEAD"):
            return _other_method(scope["method"])
        target = b"%b?%b" % (_raw_path(scope), scope["query_string"])
        address = self._service.recall(target)
        if address is not None:
            return await self._resource(scope, fields, address, None)
        return await self._found(scope, fields, target)

    async def _found(self, scope: Scope, fields: Fields, target: bytes) -> Response:
        root, query = scope.get("root_path", ""), scope["query_string"]
        path = _path(scope, root)
        if (length := len(path) + 1 + len(query)) > self._max_target:
            raise TargetTooLong(f"It has {length} bytes; the limit is {self._max_target}.")
        if path in OWN_PATHS or path.startswith("/-/"):
            return self._pages(path, _limited(fields, b"accept"), root)
        if not path.startswith("/r/"):
            address, start = await self._service.locate(target, path[1:], query)
            return await self._resource(scope, fields, address, start)
        id, _, rest = path[3:].partition("/")
        address, start = self._service.locate_id(id)
        if rest == "status":
            return self._status(address, fields, root)
        if rest:
            raise NotFound(f"A resource has no {rest[:40]!r}.")
        return await self._resource(scope, fields, address, start)

    async def _resource(self, scope: Scope, fields: Fields, address: Address, start: Start | None) -> Response:
        choice = select(_limited(fields, b"accept"), _limited(fields, b"accept-encoding"), address)
        ping = _is_ping(fields, address.id)
        if ping and (run := self._service.runs.get(address.id)):
            return responses.still_pending(*self._told(run))
        address = choice.applied(address)
        # The pending tag matches in no other state, so a ping is then a plain GET.
        conditions = UNCONDITIONAL if ping else _conditions(fields)
        seen = await self._service.look(address.id)
        if isinstance(seen.found, Representation) and (address.codings or seen.found.format != address.format):
            seen = await self._service.present(address, seen)
        if conditions is UNCONDITIONAL and isinstance(seen.found, Representation) and seen.found.body is not None:
            # What most requests for a result want, at the price of a look.
            return responses.ready(seen.found, address, address.base, dev=self._dev)
        start = start or partial(self._bind, scope)
        answer = await self._service.answer(address, seen, conditions, start, partial(_is_asked_for, fields))
        if answer.decision is Decision.still_pending:
            return responses.still_pending(*self._told(answer.run))
        if answer.decision is Decision.accepted:
            return self._accepted(address, answer, page=choice.wanted is Wanted.page)
        response = self._settled(scope, address, answer)
        found = answer.found
        if answer.decision is Decision.send and isinstance(found, Representation) and found.body is None:
            response.stream = await self._stream(found)
            if response.stream is None:
                return await self._resource(scope, fields, address, start)
        return response

    async def _bind(self, scope: Scope) -> Resource:
        return await self._service.bind(_path(scope, scope.get("root_path", ""))[1:], scope["query_string"])

    def _told(self, run: Run | None) -> tuple[Run, int | None, float]:
        """What is told of a pending run: itself, its position, and the time that it is told."""
        assert run is not None
        return run, self._service.runs.position(run.id), self._service.clock.now()

    def _accepted(self, address: Address, answer: Answer, *, page: bool) -> Response:
        run, position, now = self._told(answer.run)
        base = address.base
        document = pending_document(run, position, now, base)
        if not page:
            return responses.accepted(run, position, now, base, document)
        body = self._waiting_page(document, base, f"{base}r/{run.id}")
        return responses.accepted_page(run, position, now, base, body)

    def _settled(self, scope: Scope, address: Address, answer: Answer) -> Response:
        found = answer.found
        if answer.decision is Decision.precondition_failed:
            raise PreconditionFailed("If-Match names another state than the present one.")
        if answer.decision is Decision.still_ready:
            known = found if isinstance(found, Representation) else None
            return responses.still_ready(answer.tag or _tag_of(found), address, dev=self._dev, found=known)
        if isinstance(found, Failure):
            return problems.of_failure(found, scope.get("root_path", ""), fresh=self._dev)
        assert isinstance(found, Representation)
        return responses.ready(found, address, address.base, dev=self._dev)

    async def _stream(self, found: Representation) -> AsyncIterator[bytes] | None:
        """The bytes of a file, its first chunk read before the answer begins; None where the file is lost."""
        stream = self._service.cache.stream(found)
        try:
            first = await anext(stream)
        except FileNotFoundError:
            # Gone, or not what was collected: never serve it, compute it again.
            log.error("stored result lost", id=found.key)
            await self._service.cache.discard(found.key)
            return None
        return _resumed(first, stream)

    def _status(self, address: Address, fields: Fields, root: str) -> Response:
        base = "../../"
        document = status_of(self._service, address, base, root)
        if negotiate(_limited(fields, b"accept"), responses.STATUS_MEDIA_TYPE.decode()) is Wanted.page:
            page = self._waiting_page(document, base, f"../{address.id}")
            return responses.page_response(page, control=b"no-store")
        response = responses.json_response(document, media_type=responses.STATUS_MEDIA_TYPE, control=b"no-store")
        response.headers.append((b"vary", b"Accept"))
        return response


def _tag_of(found: Representation | Failure | None) -> etag.EntityTag:
    assert isinstance(found, Representation)
    return etag.ready_tag(found.id, found.digest, found.name)


def _raw_path(scope: Scope) -> bytes:
    return scope.get("raw_path") or quote(scope["path"]).encode()


def _path(scope: Scope, root: str) -> str:
    """The path below the mount point, still percent-encoded."""
    path = _raw_path(scope).partition(b"?")[0].decode("latin-1")
    return path.removeprefix(root) if root and path.startswith(root + "/") else path


def _fields(headers: list[tuple[bytes, bytes]]) -> Fields:
    fields = dict(headers)
    if len(fields) != len(headers):
        for name in fields:
            fields[name] = b", ".join(value for other, value in headers if other == name)
    return fields


def _limited(fields: Fields, name: bytes) -> bytes | None:
    """A field that has to be parsed, and may be kept."""
    value = fields.get(name)
    if value is not None and len(value) > LONGEST_FIELD:
        raise FieldsTooLarge(f"{name.decode()} has {len(value)} bytes; the limit is {LONGEST_FIELD}.")
    return value


def _is_ping(fields: Fields, id: str) -> bool:
    """Whether the pending tag is the one condition, which is what nearly every request is."""
    return fields.get(b"if-none-match") == etag.pending_field(id) and b"if-match" not in fields


def _is_asked_for(fields: Fields) -> bool:
    """Whether somebody asks, and not a page that embeds us or a browser that looks ahead."""
    return fields.get(b"sec-fetch-mode") != b"no-cors" and b"prefetch" not in fields.get(b"sec-purpose", b"")


def _conditions(fields: Fields) -> Conditions:
    match, none_match = _limited(fields, b"if-match"), _limited(fields, b"if-none-match")
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


async def _resumed(first: bytes, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async with aclosing(stream):  # type: ignore[type-var]
        yield first
        async for chunk in stream:
            yield chunk
