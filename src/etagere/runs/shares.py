"""Whose turn it is: what each client has waiting and running, and since when it waits for another turn."""

from __future__ import annotations

from itertools import count

Turn = tuple[int, int]
"""The smaller, the sooner."""


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

    def turn(self, client: str) -> Turn:
        """How soon its turn is, among those of other clients."""
        share = self._shares[client]
        return share.running, share.since

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
