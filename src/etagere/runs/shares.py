"""Whose turn it is: what each client has waiting and running, and since when it waits for another turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Protocol

Place = tuple[str, str]
"""A queue and a model."""
MOST_SHARES = 8
"""In the shares of so many clients a run stands; those who come later wait for one of them."""
_SPARE = 64

Turn = tuple[int, int]
"""The smaller, the sooner."""


class Standing(Protocol):
    """How the clients stand whose runs are pending."""

    def running(self, client: str) -> int:
        """How many of its runs go on."""
        ...

    def since(self, client: str) -> int:
        """When it came, or one of its runs last began or ended."""
        ...


class _Share:
    __slots__ = ("running", "since", "waiting")

    def __init__(self) -> None:
        self.running = 0
        self.waiting = 0
        self.since = 0


class Shares:
    """The turn is that of the client with the fewest running; of several, of the one that has waited longest.

    It waits since it came, or since one of its runs last began or ended. So one place is shared in turns, whoever
    comes is behind those that wait already, and nobody waits behind all of another's sweep.
    """

    def __init__(self) -> None:
        self._shares: dict[str, _Share] = {}
        self._moments = count()

    def turn(self, client: str) -> Turn | None:
        """How soon its turn is, among those of other clients; None where it has no run at all."""
        share = self._shares.get(client)
        return (share.running, share.since) if share else None

    def since(self, client: str) -> int:
        """When it came, or one of its runs last began or ended; of one without any run, the beginning."""
        share = self._shares.get(client)
        return share.since if share else 0

    def running(self, client: str) -> int:
        """How many of its runs go on."""
        share = self._shares.get(client)
        return share.running if share else 0

    def wait(self, client: str) -> None:
        """Another run waits in this share."""
        share = self._shares.setdefault(client, _Share())
        if not share.waiting:
            share.since = next(self._moments)
        share.waiting += 1

    def leave(self, client: str) -> None:
        """A run does not wait in this share any more."""
        self._shares[client].waiting -= 1
        self._tidy(client)

    def begin(self, client: str) -> None:
        """A run goes on that this share had the turn for."""
        share = self._shares.setdefault(client, _Share())
        share.running += 1
        share.since = next(self._moments)

    def end(self, client: str) -> None:
        """It does not any more."""
        share = self._shares[client]
        share.running -= 1
        share.since = next(self._moments)
        self._tidy(client)

    def _tidy(self, client: str) -> None:
        share = self._shares[client]
        if not share.running and not share.waiting:
            del self._shares[client]


class Turns:
    """The clients whose runs wait in each place, the one whose turn is next at the front.

    What a client's turn was before stays in the heaps until it comes to the front.
    """

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._heaps: dict[Place, list[tuple[Turn, str]]] = {}
        self._waiting: dict[str, Counter[Place]] = {}

    def enter(self, place: Place, client: str) -> None:
        """Another run of this client waits there."""
        places = self._waiting.setdefault(client, Counter())
        places[place] += 1
        if places[place] == 1:
            self._push(place, client)

    def leave(self, place: Place, client: str) -> None:
        """One does not any more."""
        places = self._waiting[client]
        places[place] -= 1
        if not places[place]:
            del places[place]
        if not places:
            del self._waiting[client]

    def change(self, client: str) -> None:
        """Its turn is another now."""
        for place in self._waiting.get(client, ()):
            self._push(place, client)

    def next(self, places: Iterable[Place]) -> str | None:
        """Whose turn is the next in one of these places."""
        fronts = (front for place in places if (front := self._front(place)))
        found = min(fronts, default=None)
        return found[1] if found else None

    def _front(self, place: Place) -> tuple[Turn, str] | None:
        heap = self._heaps.get(place)
        while heap:
            if self._is_now(place, *heap[0]):
                return heap[0]
            heappop(heap)
        self._heaps.pop(place, None)
        return None

    def _push(self, place: Place, client: str) -> None:
        turn, heap = self._shares.turn(client), self._heaps.setdefault(place, [])
        assert turn is not None
        heappush(heap, (turn, client))
        if len(heap) > _SPARE + 2 * len(self._waiting):
            # Nobody could claim from there for long.
            heap[:] = {entry for entry in heap if self._is_now(place, *entry)}
            heapify(heap)

    def _is_now(self, place: Place, turn: Turn, client: str) -> bool:
        """Whether that is still the turn of a client that waits there."""
        return place in self._waiting.get(client, ()) and self._shares.turn(client) == turn
