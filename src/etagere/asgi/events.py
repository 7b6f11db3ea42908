"""The status of a run as server-sent events (WHATWG HTML §9.2), until the run has ended."""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import dataclass
from typing import Any

import orjson

from etagere.asgi.responses import NO_STORE, NOSNIFF, Headers, Receive, Response, Send
from etagere.asgi.status import status_of
from etagere.asgi.waiting import ended_by_disconnect
from etagere.errors import Stopping, TooManyWaiting
from etagere.locator import Address
from etagere.service import Service
from etagere.waiters import Place

MEDIA_TYPE = b"text/event-stream"
LOOK_SECONDS = 0.5
HEARTBEAT_SECONDS = 15.0
HEARTBEAT = b":\n\n"
BASE = "../../"
_ID = re.compile(r"(\d{1,15})\.([0-9a-f]{16})", re.ASCII)
_HEADERS: Headers = [(b"content-type", MEDIA_TYPE), NO_STORE, (b"x-accel-buffering", b"no"), NOSNIFF]


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a client is: the number of the last event that it has, and what that said.

    Both stand in the event's id, so any server can tell, after a restart too, whether the client knows the
    present state.
    """

    number: int = 0
    said: str = ""

    def __str__(self) -> str:
        return f"{self.number}.{self.said}"

    @classmethod
    def parse(cls, text: str) -> Mark:
        """The mark in a Last-Event-ID; the beginning where that is none of ours."""
        found = _ID.fullmatch(text)
        return cls(int(found[1]), found[2]) if found else cls()


def respond(service: Service, address: Address, root: str, last_id: str, receive: Receive) -> Response:
    """The answer of `/r/{id}/events`.

    A client that has the last event already gets 204, by which an `EventSource` ends its attempts to reconnect.

    Raises:
        TooManyWaiting: the run goes on, and there is no place left to wait for it.
        Stopping: the service stops, so nobody may wait any more.
    """
    status, mark = _Status(service, address, root), Mark.parse(last_id)
    if service.runs.get(address.id) is None:
        event, after = status.event(mark)
        return Response(204, [NO_STORE]) if after == mark else Response(200, _HEADERS, event)
    place = service.waiters.enter(address.id)
    if place is not None:
        return EventStream(status, mark, place, receive)
    if service.stopping:
        raise Stopping("The service is stopping. Ask again in a moment.")
    raise TooManyWaiting("Ask for the status instead, or again in a moment.")


class _Status:
    """The status of one resource, told as events."""

    def __init__(self, service: Service, address: Address, root: str) -> None:
        self.service = service
        self.id = address.id
        self._address = address
        self._root = root

    def event(self, mark: Mark) -> tuple[bytes, Mark]:
        """The event for a client at `mark`, and the mark after it; nothing where it would say nothing new."""
        document = status_of(self.service, self._address, BASE, self._root)
        said = _digest(document)
        if said == mark.said:
            return b"", mark
        after = Mark(mark.number + 1, said)
        return b"id: %b\nevent: status\ndata: %b\n\n" % (str(after).encode("ascii"), orjson.dumps(document)), after


class EventStream(Response):
    """Sends an event whenever the status has changed, and the last when the run has ended."""

    def __init__(self, status: _Status, mark: Mark, place: Place, receive: Receive) -> None:
        super().__init__(200, _HEADERS)
        self._status = status
        self._mark = mark
        self._place = place
        self._receive = receive

    async def send(self, send: Send, *, head: bool) -> None:
        """Send it, without its content for HEAD, and give back the place."""
        try:
            await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
            if not head:
                with ended_by_disconnect(self._place, self._receive):
                    await self._follow(send)
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._status.service.waiters.leave(self._status.id, self._place)

    async def _follow(self, send: Send) -> None:
        service, told = self._status.service, float("-inf")
        while True:
            # Before the status is read, so that what is told last is the end.
            ended = self._place.done() or service.runs.get(self._status.id) is None
            if ended:
                await service.find(self._status.id)
            event, self._mark = self._status.event(self._mark)
            now = service.clock.monotonic()
            if event or now - told >= HEARTBEAT_SECONDS:
                await send({"type": "http.response.body", "body": event or HEARTBEAT, "more_body": True})
                told = now
            if ended:
                return
            await asyncio.wait([self._place], timeout=LOOK_SECONDS)


def _digest(document: dict[str, Any]) -> str:
    """What a status says, in few characters; the estimate changes all the time and is no news."""
    lasting = {name: value for name, value in document.items() if name != "eta"}
    return hashlib.sha256(orjson.dumps(lasting)).hexdigest()[:16]
