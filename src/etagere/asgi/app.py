"""The ASGI application of the resources: a request target in, one of the kinds of response out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from urllib.parse import quote

from etagere.asgi import content, events, people, problems, responses, waiting
from etagere.asgi.at_hand import AtHand, chosen
from etagere.asgi.fields import LONGEST_FIELD, Fields, combined, limited, text
from etagere.asgi.hosts import HostCheck, origin_form
from etagere.asgi.intent import Intent, refuse_if_only_cached
from etagere.asgi.negotiation import Wanted, negotiate
from etagere.asgi.people import PeoplePages
from etagere.asgi.query import OWN_PATHS, Contents, allowed, is_json, options, see_other
from etagere.asgi.responses import ANSWER, Receive, Response, Scope, Send
from etagere.asgi.selection import select
from etagere.asgi.status import pending_document, status_of
from etagere.asgi.validation import validated
from etagere.core import etag
from etagere.core.conditions import UNCONDITIONAL, Conditions, Decision
from etagere.core.preferences import wait_seconds
from etagere.core.representation import Failure, Representation, Resource
from etagere.core.tally import Answered
from etagere.errors import (
    InternalError,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    PreconditionFailed,
    Problem,
    TargetTooLong,
    UnknownMethod,
)
from etagere.locator import Address, Start
from etagere.logs import get_logger
from etagere.service import Answer, Service

log = get_logger("etagere.http")

OTHER_METHODS = frozenset({"POST", "PUT", "DELETE", "PATCH", "CONNECT", "TRACE"})
Pages = Callable[[str, bytes | None, str], Response]


class Application:
    """Answers for `/{model}` and `/r/{id}`.

    `pages` answers for everything else, given the path, the Accept field and where the application
    is mounted; `people` renders what a person sees of a resource. `max_wait` is the longest wait in
    seconds; `dev` forbids caches to keep anything. With `log` an `AccessLog` around it finds the response
    in the scope.
    """

    def __init__(
        self,
        service: Service,
        pages: Pages,
        people: PeoplePages,
        hosts: HostCheck,
        intent: Intent,
        *,
        max_target: int,
        max_wait: int,
        max_query_content: int,
        dev: bool = False,
        log: bool = False,
    ) -> None:
        self._service = service
        self._pages = pages
        self._people = people
        self._hosts = hosts
        self._intent = intent
        self._max_target = max_target
        self._max_wait = max_wait
        self._contents = Contents(max_query_content)
        self._dev = dev
        self._at_hand = AtHand(service, dev=dev)
        self._answers = service.tally.answers
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            response = await self._respond(scope, receive)
        except Problem as problem:
            response = problems.of_problem(problem, scope.get("root_path", ""))
        except Exception:
            log.exception("fault", method=scope["method"], path=_raw_path(scope).partition(b"?")[0])
            response = problems.of_problem(InternalError("The fault has been logged."), scope.get("root_path", ""))
        if response.stream is not None:
            response.stream = content.until_gone(response.stream, receive)
        if response.problem is not None:
            self._explain(scope, response)
        self._answers[response.answer] += 1
        if self._log:
            scope[ANSWER] = response
        await response.send(send, head=scope["method"] == "HEAD")

    async def _respond(self, scope: Scope, receive: Receive) -> Response:
        fields = combined(scope["headers"])
        self._hosts.check(scope, fields.get(b"host"))
        if scope["method"] not in ("GET", "HEAD"):
            return await self._other_method(scope, receive, fields)
        target = b"%b?%b" % (_raw_path(scope), scope["query_string"])
        address = self._service.locator.recall(target)
        if address is not None and (response := self._at_hand.answer(fields, address)):
            return response
        if b"prefer" in fields or b"cache-control" in fields:
            return await self._patiently(scope, fields, receive)
        return await self._answer(scope, fields, receive)

    async def _patiently(self, scope: Scope, fields: Fields, receive: Receive) -> Response:
        """The answer of a request that may wait for a pending run, or want none of it."""
        seconds = min(wait_seconds(text(fields, b"prefer")), self._max_wait)
        response = await self._answer(scope, fields, receive)
        id = response.pending
        if id is None:
            return response
        refuse_if_only_cached(fields)
        if not seconds:
            return response
        started = response.started
        del response  # thousands may wait
        waited = await waiting.hold(self._service, id, receive, seconds)
        response = await self._answer(scope, fields, receive)
        if response.pending is None:
            response.headers = responses.missed(response.headers, collapsed=not started)
            if response.answer is Answered.hit:
                response.answer = Answered.waited
        elif waited:
            response.headers.append((b"preference-applied", b"wait=%d" % seconds))
        return response

    async def _answer(self, scope: Scope, fields: Fields, receive: Receive) -> Response:
        target = b"%b?%b" % (_raw_path(scope), scope["query_string"])
        address = self._service.locator.recall(target)
        if address is not None:
            return await self._resource(scope, fields, address, None)
        return await self._found(scope, fields, target, receive)

    async def _other_method(self, scope: Scope, receive: Receive, fields: Fields) -> Response:
        method, path = scope["method"], _path(scope, scope.get("root_path", ""))
        allow = allowed(path)
        if method == "OPTIONS":
            return options(path)
        if method == "QUERY" and method in allow:
            return await self._query(scope, receive, fields, path)
        if method == "QUERY" or method in OTHER_METHODS:
            raise MethodNotAllowed(f"Use one of {allow}.", headers={"allow": allow})
        raise UnknownMethod(f"Use one of {allow}.")

    async def _query(self, scope: Scope, receive: Receive, fields: Fields, path: str) -> Response:
        published, json = self._service.locator.published(path[1:]), is_json(fields)
        if scope["query_string"]:
            raise MalformedRequest("The inputs of a QUERY are its content; there may be no query string beside it.")
        async with self._contents.received(receive, fields) as content:
            address, start = await self._service.locator.locate_content(published, content, json=json)
        select(limited(fields, b"accept"), None, address)
        seen = await self._service.look(address.id)
        if seen.run is None and seen.found is None:
            may_start = partial(self._intent.may_start, fields)
            answer = await self._service.answer(address, seen, UNCONDITIONAL, start, may_start)
            return see_other(address, Answered.started if answer.started else Answered.joined)
        return see_other(address, Answered.joined if seen.run else Answered.other)

    async def _found(self, scope: Scope, fields: Fields, target: bytes, receive: Receive) -> Response:
        root, query = scope.get("root_path", ""), scope["query_string"]
        path = _path(scope, root)
        if (length := len(path) + 1 + len(query)) > self._max_target:
            raise TargetTooLong(f"It has {length} bytes; the limit is {self._max_target}.")
        if path in OWN_PATHS or path.startswith("/-/"):
            page = self._pages(path, limited(fields, b"accept"), root)
            return validated(page, limited(fields, b"if-none-match"))
        if not path.startswith("/r/"):
            address, start = await self._service.locator.locate(target, path[1:], query)
            return await self._resource(scope, fields, address, start)
        id, _, rest = path[3:].partition("/")
        if not rest:
            id, dot, name = id.partition(".")
            address, start = self._service.locator.locate_id(id, name if dot else None)
            return await self._resource(scope, fields, address, start)
        address, _ = self._service.locator.locate_id(id)
        if rest == "status":
            return self._status(address, fields, root)
        if rest == "events":
            return events.respond(self._service, address, root, text(fields, b"last-event-id"), receive)
        raise NotFound(f"A resource has no {rest[:40]!r}.")

    async def _resource(self, scope: Scope, fields: Fields, address: Address, start: Start | None) -> Response:
        choice = chosen(fields, address)
        address = choice.applied(address)
        conditions = _conditions(fields)
        seen = await self._service.look(address.id)
        if choice.wanted is Wanted.page and isinstance(seen.found, Representation) and not address.fixed:
            page = await people.result_page(self._service, self._people, seen.found, address, conditions)
            return page or await self._resource(scope, fields, address, start)
        if isinstance(seen.found, Representation) and (address.codings or seen.found.format != address.format):
            seen = await self._service.present(address, seen)
        start = start or partial(self._bind, scope)
        answer = await self._service.answer(address, seen, conditions, start, partial(self._intent.may_start, fields))
        if answer.decision is Decision.still_pending and answer.run is not None:
            return responses.still_pending(*self._service.tell(answer.run))
        if answer.decision is Decision.accepted:
            return self._accepted(address, answer, page=choice.wanted is Wanted.page)
        response = self._settled(scope, address, answer)
        if answer.decision is not Decision.send or not isinstance(found := answer.found, Representation):
            return response
        try:
            filled = await content.filled(response, found, self._service.cache, scope, fields)
        except FileNotFoundError:
            # Gone, or not what was collected: never serve it, compute it again.
            log.error("stored result lost", id=found.key)
            await self._service.cache.discard(found.key)
            return await self._resource(scope, fields, address, start)
        if filled.answer is Answered.hit:  # of parts nobody knows how many make a whole
            self._service.tally.serve(address.model, found)
        return filled

    async def _bind(self, scope: Scope) -> Resource:
        return await self._service.locator.bind(_path(scope, scope.get("root_path", ""))[1:], scope["query_string"])

    def _accepted(self, address: Address, answer: Answer, *, page: bool) -> Response:
        assert answer.run is not None
        run, position, pace = self._service.tell(answer.run)
        base = address.base
        document = pending_document(run, position, pace.eta, base)
        if page:
            response = responses.accepted_page(run, position, pace, base, self._people.waiting(document, base, ""))
        else:
            response = responses.accepted(run, position, pace, base, document)
        response.started = answer.started
        if answer.started:
            response.answer = Answered.started
        return response

    def _settled(self, scope: Scope, address: Address, answer: Answer) -> Response:
        found = answer.found
        if answer.decision is Decision.precondition_failed:
            raise PreconditionFailed("If-Match names another state than the present one.")
        if answer.decision is Decision.still_ready:
            known = found if isinstance(found, Representation) else None
            if known is not None:
                self._service.tally.serve(address.model, known)
            return responses.still_ready(answer.tag or _tag_of(found), address, dev=self._dev, found=known)
        if isinstance(found, Failure):
            return problems.of_failure(found, scope.get("root_path", ""), fresh=self._dev)
        assert isinstance(found, Representation)
        return responses.ready(found, address, address.base, dev=self._dev)

    def _status(self, address: Address, fields: Fields, root: str) -> Response:
        base = "../../"
        document = status_of(self._service, address, base, root)
        if negotiate(limited(fields, b"accept"), responses.STATUS_MEDIA_TYPE.decode()) is Wanted.page:
            page = self._people.waiting(document, base, f"../{address.id}")
            return responses.page_response(page, control=b"no-store")
        response = responses.json_response(document, media_type=responses.STATUS_MEDIA_TYPE, control=b"no-store")
        response.headers.append((b"vary", b"Accept"))
        return response

    def _explain(self, scope: Scope, response: Response) -> None:
        """Make a problem a page where that is what a person asked for."""
        accept = dict(scope["headers"]).get(b"accept", b"")
        if len(accept) <= LONGEST_FIELD and people.wants_problem_page(accept):
            path = _path(scope, scope.get("root_path", ""))
            people.explain(self._service, self._people, response, path, scope["query_string"].decode("latin-1"))


def _tag_of(found: Representation | Failure | None) -> etag.EntityTag:
    assert isinstance(found, Representation)
    return etag.ready_tag(found.id, found.digest, found.name)


def _raw_path(scope: Scope) -> bytes:
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    return raw if raw.startswith(b"/") else origin_form(raw)


def _path(scope: Scope, root: str) -> str:
    """The path below the mount point, still percent-encoded."""
    path = _raw_path(scope).partition(b"?")[0].decode("latin-1")
    return path.removeprefix(root) if root and path.startswith(root + "/") else path


def _conditions(fields: Fields) -> Conditions:
    match, none_match = limited(fields, b"if-match"), limited(fields, b"if-none-match")
    if match is None and none_match is None:
        return UNCONDITIONAL
    return Conditions(_tags(match), _tags(none_match))


def _tags(field: bytes | None) -> tuple[etag.EntityTag, ...] | None:
    return None if field is None else etag.parse(field.decode("latin-1"))
