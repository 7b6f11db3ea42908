"""Clients that wait for the end of a run, and what wakes them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

Place = asyncio.Future[None]
"""Done when there is nothing to wait for any more."""


class Waiters:
    """At most `limit` places at the same time, for requests that wait and for event streams."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._places: dict[str, set[Place]] = {}
        self._taken = 0
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether nobody may wait any more."""
        return self._closed

    @property
    def taken(self) -> int:
        """How many places are taken."""
        return self._taken

    @property
    def ids(self) -> Collection[str]:
        """The runs that somebody waits for."""
        return self._places.keys()

    def enter(self, id: str) -> Place | None:
        """A place to wait for the end of this run, to be given back by `leave`; None where there is none left."""
        if self._closed or self._taken >= self._limit:
            return None
        place = asyncio.get_running_loop().create_future()
        self._places.setdefault(id, set()).add(place)
        self._taken += 1
        return place

    def leave(self, id: str, place: Place) -> None:
        """Give a place back."""
        self._taken -= 1
        places = self._places[id]
        places.discard(place)
        if not places:
            del self._places[id]

    def wake(self, id: str) -> None:
        """The run of this id has ended."""
        for place in self._places.get(id, ()):
            end(place)

    def close(self) -> None:
        """Wake everybody; nobody may wait any more."""
        self._closed = True
        for id in self._places:
            self.wake(id)


def end(place: Place) -> None:
    """Say that there is nothing to wait for any more."""
    if not place.done():
        place.set_result(None)
