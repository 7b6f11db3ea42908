"""The resources of the models, `/{model}` and `/r/{id}`: a request becomes one of the kinds of response."""

from __future__ import annotations

from functools import partial

from etagere.asgi import content, events, people, problems, responses, waiting
from etagere.asgi.at_hand import AtHand, chosen
from etagere.asgi.fields import Fields, limited, text
from etagere.asgi.intent import Intent, refuse_if_only_cached
from etagere.asgi.negotiation import Wanted, negotiate
from etagere.asgi.people import PeoplePages
from etagere.asgi.query import Contents, is_json, see_other
from etagere.asgi.request import Request
from etagere.asgi.responses import Response
from etagere.asgi.selection import select
from etagere.asgi.status import pending_document, status_of
from etagere.core import etag
from etagere.core.conditions import UNCONDITIONAL, Conditions, Decision
from etagere.core.preferences import wait_seconds
from etagere.core.representation import Failure, Representation, Resource
from etagere.core.tally import Answered
from etagere.errors import MalformedRequest, NotFound, PreconditionFailed
from etagere.locator import Address, Start
from etagere.logs import get_logger
from etagere.ports import Redirects
from etagere.reach import Reach
from etagere.service import Answer, Service

log = get_logger("etagere.http")


class Resources:
    """Answers for resources.

    `people` renders what a person sees of one. `max_wait` is the longest wait in seconds, `max_query_content` the
    largest content of a QUERY in bytes; `dev` forbids caches to keep anything. Clients are sent `elsewhere`
    for results that are not here.
    """

    def __init__(
        self,
        service: Service,
        people: PeoplePages,
        intent: Intent,
        *,
        max_wait: int,
        max_query_content: int,
        dev: bool,
        elsewhere: Redirects | None = None,
    ) -> None:
        self._service = service
        self._people = people
        self._intent = intent
        self._max_wait = max_wait
        self._contents = Contents(max_query_content)
        self._dev = dev
        self._elsewhere = elsewhere
        self._at_hand = AtHand(service, dev=dev)

    def at_hand(self, target: bytes, fields: Fields, reach: Reach) -> Response | None:
        """The answer to a request that was made before in the same way, where it takes no more than a look."""
        address = self._service.locator.recall(target, reach)
        return None if address is None else self._at_hand.answer(fields, address)

    async def answer(self, request: Request, target: bytes) -> Response:
        """The answer to a GET or HEAD.

        Raises:
            Problem: there is another.
        """
        if b"prefer" in request.fields or b"cache-control" in request.fields:
            return await self._patiently(request, target)
        return await self._answer(request, target)

    async def query(self, request: Request, path: str) -> Response:
        """The answer to a QUERY of the model at this path.

        Raises:
            Problem: there is another.
        """
        locator, fields = self._service.locator, request.fields
        published, json = locator.published(path[1:], request.reach), is_json(fields)
        if request.query:
            raise MalformedRequest("The inputs of a QUERY are its content; there may be no query string beside it.")
        async with self._contents.received(request.receive, fields) as received:
            address, start = await locator.locate_content(published, received, request.reach, json=json)
        select(limited(fields, b"accept"), None, address)
        may_start = partial(self._intent.may_start, fields)
        if await self._service.venture(address, start, may_start, request.asker):
            return see_other(address, Answered.started)
        seen = await self._service.look(address.id)
        if seen.run is None and seen.found is None:
            answer = await self._service.answer(address, seen, UNCONDITIONAL, start, may_start, request.asker)
            return see_other(address, Answered.started if answer.started else Answered.joined)
        if seen.run is not None:
            self._service.asked.join(seen.run, request.asker)
        return see_other(address, Answered.joined if seen.run else Answered.other)

    async def _patiently(self, request: Request, target: bytes) -> Response:
        """The answer of a request that may wait for a pending run, or want none of it."""
        seconds = min(wait_seconds(text(request.fields, b"prefer")), self._max_wait)
        response = await self._answer(request, target)
        id = response.pending
        if id is None:
            return response
        refuse_if_only_cached(request.fields)
        if not seconds:
            return response
        started = response.started
        del response  # thousands may wait
        waited = await waiting.hold(self._service, id, request.receive, seconds)
        response = await self._answer(request, target)
        if response.pending is None:
            response.headers = responses.missed(response.headers, collapsed=not started)
            if response.answer is Answered.hit:
                response.answer = Answered.waited
        elif waited:
            response.headers.append((b"preference-applied", b"wait=%d" % seconds))
        return response

    async def _answer(self, request: Request, target: bytes) -> Response:
        address = self._service.locator.recall(target, request.reach)
        if address is not None:
            return await self._resource(request, address, None)
        path = request.path
        if path.startswith("/r/"):
            return await self._by_id(request, *path[3:].partition("/")[::2])
        address, start = await self._service.locator.locate(target, path[1:], request.query, request.reach)
        return await self._resource(request, address, start)

    async def _by_id(self, request: Request, named: str, rest: str) -> Response:
        id, dot, format = named.partition(".")
        await self._service.find(id)
        if not rest:
            address, start = self._service.locator.locate_id(id, request.reach, format if dot else None)
            return await self._resource(request, address, start)
        address, _ = self._service.locator.locate_id(named, request.reach)
        if rest == "status":
            return self._status(address, request)
        if rest == "events":
            last_id = text(request.fields, b"last-event-id")
            return events.respond(self._service, address, request.root, last_id, request.receive)
        raise NotFound(f"A resource has no {rest[:40]!r}.")

    async def _resource(self, request: Request, address: Address, start: Start | None) -> Response:
        fields = request.fields
        choice = chosen(fields, address)
        address = choice.applied(address)
        conditions = _conditions(fields)
        begin, may_start = start or partial(self._bind, request), partial(self._intent.may_start, fields)
        # What was asked for here before is there by now, in most cases.
        if start is not None and conditions == UNCONDITIONAL:
            ventured = await self._service.venture(address, start, may_start, request.asker)
            if ventured is not None:
                return self._accepted(address, ventured, page=choice.wanted is Wanted.page)
        seen = await self._service.look(address.id)
        if choice.wanted is Wanted.page and isinstance(seen.found, Representation) and not address.fixed:
            page = await people.result_page(self._service, self._people, seen.found, address, conditions)
            return page or await self._resource(request, address, start)
        if isinstance(seen.found, Representation) and (address.codings or seen.found.format != address.format):
            seen = await self._service.present(address, seen)
        answer = await self._service.answer(address, seen, conditions, begin, may_start, request.asker)
        if answer.decision is Decision.still_pending and answer.run is not None:
            return responses.still_pending(*self._service.tell(answer.run))
        if answer.decision is Decision.accepted:
            return self._accepted(address, answer, page=choice.wanted is Wanted.page)
        response = self._settled(request, address, answer)
        if answer.decision is not Decision.send or not isinstance(answer.found, Representation):
            return response
        return await self._sent(request, address, start, response, answer.found)

    async def _sent(
        self, request: Request, address: Address, start: Start | None, response: Response, found: Representation
    ) -> Response:
        """The response with what was found; a new answer where that is lost."""
        if found.away and self._elsewhere is not None:
            if (url := await self._elsewhere.url(found)) is not None:
                return responses.away(url)
            await self._service.cache.discard(found.key)
            return await self._resource(request, address, start)
        try:
            filled = await content.filled(response, found, self._service.cache, request.scope, request.fields)
        except FileNotFoundError:
            # Gone, or not what was collected: never serve it, compute it again.
            log.error("stored result lost", id=found.key)
            await self._service.cache.discard(found.key)
            return await self._resource(request, address, start)
        if filled.answer is Answered.hit:  # of parts nobody knows how many make a whole
            self._service.tally.serve(address.model, found)
        return filled

    async def _bind(self, request: Request) -> Resource:
        return await self._service.locator.bind(request.path[1:], request.query, request.reach)

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

    def _settled(self, request: Request, address: Address, answer: Answer) -> Response:
        found = answer.found
        if answer.decision is Decision.precondition_failed:
            raise PreconditionFailed("If-Match names another state than the present one.")
        if answer.decision is Decision.still_ready:
            known = found if isinstance(found, Representation) else None
            if known is not None:
                self._service.tally.serve(address.model, known)
            return responses.still_ready(answer.tag or _tag_of(found), address, dev=self._dev, found=known)
        if isinstance(found, Failure):
            return problems.of_failure(found, request.root, fresh=self._dev, private=address.guarded)
        assert isinstance(found, Representation)
        return responses.ready(found, address, address.base, dev=self._dev)

    def _status(self, address: Address, request: Request) -> Response:
        base = "../../"
        document = status_of(self._service, address, base, request.root)
        accept = limited(request.fields, b"accept")
        if negotiate(accept, responses.STATUS_MEDIA_TYPE.decode()) is Wanted.page:
            page = self._people.waiting(document, base, f"../{address.id}")
            return responses.page_response(page, control=b"no-store")
        response = responses.json_response(document, media_type=responses.STATUS_MEDIA_TYPE, control=b"no-store")
        response.headers.append((b"vary", b"Accept"))
        return response


def _tag_of(found: Representation | Failure | None) -> etag.EntityTag:
    assert isinstance(found, Representation)
    return etag.ready_tag(found.id, found.digest, found.name)


def _conditions(fields: Fields) -> Conditions:
    match, none_match = limited(fields, b"if-match"), limited(fields, b"if-none-match")
    if match is None and none_match is None:
        return UNCONDITIONAL
    return Conditions(_tags(match), _tags(none_match))


def _tags(field: bytes | None) -> tuple[etag.EntityTag, ...] | None:
    return None if field is None else etag.parse(field.decode("latin-1"))
