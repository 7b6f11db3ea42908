"""The ASGI application: whom a request is for, who makes it, and which part answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from etagere.asgi import content, people, problems
from etagere.asgi.challenge import challenged
from etagere.asgi.fields import LONGEST_FIELD, Fields, combined, limited
from etagere.asgi.hosts import HostCheck
from etagere.asgi.people import PeoplePages
from etagere.asgi.query import OPERATIONS, OWN_PATHS, allowed, options
from etagere.asgi.request import Request, path_of, raw_path, root_of, target_of
from etagere.asgi.resources import Resources
from etagere.asgi.responses import ANSWER, CLIENT, Receive, Response, Scope, Send
from etagere.asgi.validation import validated
from etagere.errors import (
    InternalError,
    MethodNotAllowed,
    Problem,
    TargetTooLong,
    Unauthorized,
    UnknownMethod,
    UnknownModel,
)
from etagere.identity import Identity
from etagere.logs import get_logger
from etagere.reach import Reaches
from etagere.service import Service

log = get_logger("etagere.http")

OTHER_METHODS = frozenset({"POST", "PUT", "DELETE", "PATCH", "CONNECT", "TRACE"})


@dataclass(frozen=True, slots=True)
class Doorkeepers:
    """Who decides on a request before anything is looked up: the name in `Host`, the client, what it can reach."""

    hosts: HostCheck
    identity: Identity
    reaches: Reaches


class Application:
    """Answers requests.

    `resources` are those of the models; `pages` answers for everything else, `operate` does what operators ask for,
    `people` renders problems for a person. With `log` those around it find the response in the scope.
    """

    def __init__(
        self,
        service: Service,
        doors: Doorkeepers,
        resources: Resources,
        pages: Callable[[Request], Response],
        operate: Callable[[Request], Awaitable[Response]],
        people: PeoplePages,
        *,
        max_target: int,
        log: bool = False,
    ) -> None:
        self._service = service
        self._doors = doors
        self._resources = resources
        self._pages = pages
        self._operate = operate
        self._people = people
        self._max_target = max_target
        self._answers = service.tally.answers
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            response = await self._respond(scope, receive)
        except Problem as problem:
            response = problems.of_problem(problem, root_of(scope))
        except Exception:
            log.exception("fault", method=scope["method"], path=raw_path(scope).partition(b"?")[0])
            response = problems.of_problem(InternalError("The fault has been logged."), root_of(scope))
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
        self._doors.hosts.check(scope, fields.get(b"host"))
        if scope["method"] not in ("GET", "HEAD"):
            return await self._other_method(scope, receive, fields)
        client = scope[CLIENT] = self._doors.identity.client(scope, fields)
        reach, target = self._doors.reaches.of(client), target_of(scope)
        if response := self._resources.at_hand(target, fields, reach):
            return response
        return await self._found(Request(scope, receive, fields, client, reach), target)

    async def _found(self, request: Request, target: bytes) -> Response:
        path = request.path
        if (length := len(path) + 1 + len(request.query)) > self._max_target:
            raise TargetTooLong(f"It has {length} bytes; the limit is {self._max_target}.")
        if path.startswith(OPERATIONS):
            allow = allowed(path)
            raise MethodNotAllowed(f"Use one of {allow}.", headers={"allow": allow})
        try:
            if path in OWN_PATHS or path.startswith("/-/"):
                return validated(self._pages(request), limited(request.fields, b"if-none-match"))
            return await self._resources.answer(request, target)
        except UnknownModel as problem:
            raise _unknown(problem, request) from None

    async def _other_method(self, scope: Scope, receive: Receive, fields: Fields) -> Response:
        method, path = scope["method"], path_of(scope)
        allow = allowed(path)
        if method == "OPTIONS":
            return options(path)
        if method in ("QUERY", "POST") and method in allow:
            client = scope[CLIENT] = self._doors.identity.client(scope, fields)
            request = Request(scope, receive, fields, client, self._doors.reaches.of(client))
            try:
                return await (self._operate(request) if method == "POST" else self._resources.query(request, path))
            except UnknownModel as problem:
                raise _unknown(problem, request) from None
        if method == "QUERY" or method in OTHER_METHODS:
            raise MethodNotAllowed(f"Use one of {allow}.", headers={"allow": allow})
        raise UnknownMethod(f"Use one of {allow}.")

    def _explain(self, scope: Scope, response: Response) -> None:
        """Make a problem a page where that is what a person asked for, and ask who it is where that is the problem."""
        fields = dict(scope["headers"])
        accept = fields.get(b"accept", b"")
        for_people = len(accept) <= LONGEST_FIELD and people.wants_problem_page(accept)
        if response.status == Unauthorized.status:
            response.headers += challenged(shown=b"authorization" in fields, in_browser=for_people)
        if for_people:
            client = scope.get(CLIENT)
            registry = self._doors.reaches.of(client).registry if client else None
            query = scope["query_string"].decode("latin-1")
            people.explain(self._service, registry, self._people, response, path_of(scope), query)


def _unknown(problem: UnknownModel, request: Request) -> Problem:
    """To whoever has not shown who it is, a model that does not exist is like one that it may not ask for."""
    if not request.reach.shut_out:
        return problem
    return Unauthorized("There is nothing here for whoever does not show who it is.")
