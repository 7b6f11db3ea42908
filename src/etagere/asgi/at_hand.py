"""The answers that nearly every request gets, without awaiting anything: to a ping, and to a GET of a small result."""

from __future__ import annotations

from etagere.asgi import responses
from etagere.asgi.fields import Fields, limited
from etagere.asgi.negotiation import Wanted
from etagere.asgi.responses import Headers, Response
from etagere.asgi.selection import Choice, select
from etagere.core import etag
from etagere.core.media import IDENTITY
from etagere.core.representation import Failure, Representation
from etagere.core.tally import Answered, Saved
from etagere.locator import Address
from etagere.service import Service
from etagere.variants import LEAST_CODED

_REMEMBERED = 1024
# In Python 3.11 a member of an enum is slow to look up, and an argument with a name slow to pass.
_HIT = Answered.hit
_OTHERS = frozenset({b"prefer", b"cache-control", b"if-match", b"range"})
_Finished = tuple[bytes, Address, Headers, Saved]


class AtHand:
    """What can be said of a resource at once; None where that takes more than a look.

    `dev` forbids caches to keep anything.
    """

    def __init__(self, service: Service, *, dev: bool) -> None:
        self._service = service
        self._dev = dev
        # The fields of a result do not change as long as it is the same, asked for in the same way. It is known by its
        # digest, the very object: the result itself has a body, and is the cache's to let go.
        self._finished: dict[str, _Finished] = {}

    def answer(self, fields: Fields, address: Address) -> Response | None:
        """The answer to a GET or HEAD without preferences, ranges, or other conditions than the pending tag.

        Raises:
            NotAcceptable: no format or coding satisfies the request.
            FieldsTooLarge: a field that matters is too long.
        """
        if not _OTHERS.isdisjoint(fields):
            return None
        id, none_match = address.id, fields.get(b"if-none-match")
        if none_match is not None and none_match != etag.pending_field(id):
            return None
        choice = chosen(fields, address)
        seen = self._service.glance(id)
        if seen is None or choice.wanted is not Wanted.representation:
            return None
        if seen.run is not None:
            return responses.still_pending(*self._service.tell(seen.run)) if none_match is not None else None
        return self._ready(seen.found, choice, address)

    def _ready(self, found: Representation | Failure | None, choice: Choice, address: Address) -> Response | None:
        if not isinstance(found, Representation) or found.body is None or found.format != choice.format.name:
            return None
        if choice.codings and not (found.size < LEAST_CODED and IDENTITY in choice.codings):
            return None
        kept = self._finished.get(found.id)
        if kept is not None and kept[0] is found.digest and kept[1] is address:
            kept[3].seconds += found.seconds
        else:
            kept = self._finish(found, address)
        response = Response(200, kept[2], found.body)
        response.answer = _HIT
        return response

    def _finish(self, found: Representation, address: Address) -> _Finished:
        headers = responses.ready(found, address, address.base, dev=self._dev).headers
        if len(self._finished) >= _REMEMBERED:
            self._finished.clear()
        kept = found.digest, address, headers, self._service.tally.serve(address.model, found)
        self._finished[found.id] = kept
        return kept


def chosen(fields: Fields, address: Address) -> Choice:
    """The format and coding that a request is given.

    Raises:
        NotAcceptable: there is no such format, or no such coding.
        FieldsTooLarge: it is said at too great a length.
    """
    if b"accept" not in fields and b"accept-encoding" not in fields:
        return Choice(Wanted.representation, address.formats[0])
    return select(limited(fields, b"accept"), limited(fields, b"accept-encoding"), address)
