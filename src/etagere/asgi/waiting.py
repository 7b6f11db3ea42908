"""Waiting inside a request: until the run has ended, the time is up or the client has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from etagere.asgi.responses import Receive, disconnected
from etagere.service import Service
from etagere.waiters import Place, end


async def hold(service: Service, id: str, receive: Receive, seconds: float) -> bool:
    """Wait up to `seconds` for the end of a run; False where nobody may wait (any more)."""
    place = service.waiters.enter(id)
    if place is None:
        return False
    try:
        # It may have ended since it was seen.
        if service.runs.get(id) is not None:
            await _wait(place, receive, seconds)
    finally:
        service.waiters.leave(id, place)
    return not service.waiters.closed


async def _wait(place: Place, receive: Receive, seconds: float) -> None:
    timer = asyncio.get_running_loop().call_later(seconds, end, place)
    try:
        with ended_by_disconnect(place, receive):
            await place
    finally:
        timer.cancel()


@contextmanager
def ended_by_disconnect(place: Place, receive: Receive) -> Iterator[None]:
    """End the place as soon as the client has gone."""
    watching = asyncio.ensure_future(disconnected(receive))
    watching.add_done_callback(partial(_end, place))
    try:
        yield
    finally:
        watching.cancel()


def _end(place: Place, watching: asyncio.Future[None]) -> None:
    end(place)
    # What goes wrong with a connection is its server's to tell.
    if not watching.cancelled():
        watching.exception()
