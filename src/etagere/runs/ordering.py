"""The order of the queue: where a run waits, and whose turn it is."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from itertools import chain
from operator import attrgetter

from etagere.core.clients import USUAL_URGENCY
from etagere.core.lifecycle import Run, State
from etagere.core.tally import Overview, Waiting
from etagere.runs.shares import Shares, Standing, Turns

RANKS_VALID_S = 1.0
"""Ranks are made anew no more often than that."""


class Entry:
    """A pending run and its place.

    `order` is that of turns, `rank` the last known position; `held` by a worker, `abandoned` by all who asked for it,
    `cancelled` while a worker still holds it. `size` is the bytes of its canonical URI. It waits in the `shares` of
    these clients, and `charged` is the one that had the turn when it was claimed.
    """

    __slots__ = ("abandoned", "cancelled", "charged", "held", "order", "rank", "run", "shares", "size")

    def __init__(self, run: Run, order: int, size: int = 0) -> None:
        self.run = run
        self.order = order
        self.size = size
        self.rank = 0
        self.held = False
        self.abandoned = False
        self.cancelled = False
        self.shares: tuple[str, ...] = (run.client,)
        self.charged = run.client


_Line = OrderedDict[str, Entry]
_Lines = dict[tuple[int, str], _Line]


class Lines:
    """Runs that wait for their turn: in each queue, for each client, a line for each urgency and model."""

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._queues: dict[str, dict[str, _Lines]] = {}
        self._lengths: dict[str, Counter[str]] = {}
        self._turns = Turns(shares)

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return any(self._lengths.values())

    def __contains__(self, entry: Entry) -> bool:
        """Whether it has a place."""
        run = entry.run
        return run.id in self._lines(run.queue, run.client).get((run.urgency, run.model), ())

    def join(self, entry: Entry, *, first: bool = False) -> None:
        """Take a place at the end, or come first."""
        for client in entry.shares:
            self.stand(entry, client, first=first)
        self._lengths.setdefault(entry.run.queue, Counter())[entry.run.model] += 1

    def stand(self, entry: Entry, client: str, *, first: bool = False) -> None:
        """Take a place in the share of this client."""
        run = entry.run
        lines = self._queues.setdefault(run.queue, {}).setdefault(client, {})
        line = lines.setdefault((run.urgency, run.model), OrderedDict())
        if run.id not in line:
            self._shares.wait(client)
            self._turns.enter((run.queue, run.model), client)
        line[run.id] = entry
        line.move_to_end(run.id, last=not first)

    def leave(self, entry: Entry) -> bool:
        """Give the place up; False where it had none."""
        run = entry.run
        clients = self._queues.get(run.queue, {})
        left = False
        for client in entry.shares:
            lines = clients.get(client, {})
            line = lines.get((run.urgency, run.model))
            if line is None or line.pop(run.id, None) is None:
                continue
            left = True
            self._turns.leave((run.queue, run.model), client)
            self._shares.leave(client)
            if not line:
                del lines[run.urgency, run.model]
            if not lines:
                del clients[client]
        if left:
            lengths = self._lengths[run.queue]
            lengths[run.model] -= 1
            if not lengths[run.model]:
                del lengths[run.model]
        return left

    def hurry(self, entry: Entry, urgency: int) -> None:
        """Go over to the lines of another urgency, by its order there. Whose turn it is does not depend on that."""
        run, entry.run = entry.run, replace(entry.run, urgency=urgency)
        for client in entry.shares:
            lines = self._lines(run.queue, client)
            line = lines.get((run.urgency, run.model))
            if line is None or line.pop(run.id, None) is None:
                continue
            if not line:
                del lines[run.urgency, run.model]
            others = [*lines.get((urgency, run.model), {}).values(), entry]
            others.sort(key=attrgetter("order"))
            lines[urgency, run.model] = OrderedDict((each.run.id, each) for each in others)

    def begin(self, client: str) -> None:
        """A run goes on that this client had the turn for."""
        self._shares.begin(client)
        self._turns.change(client)

    def end(self, client: str) -> None:
        """It does not any more."""
        self._shares.end(client)
        self._turns.change(client)

    def lengths(self, queue: str) -> Mapping[str, int]:
        """How many wait in a queue, by model."""
        return self._lengths.get(queue, {})

    def next(self, queues: Collection[str], free: Callable[[str], bool]) -> tuple[Entry, str] | None:
        """Whose turn it is in these queues, of the models that are `free` to begin another run; and in whose share."""
        places = [(queue, model) for queue in queues for model in self.lengths(queue) if free(model)]
        client = self._turns.next(places)
        if client is None:
            return None
        heads = (
            (urgency, next(iter(line.values())))
            for queue in queues
            for (urgency, model), line in self._lines(queue, client).items()
            if (queue, model) in places
        )
        return min(heads, key=lambda head: (head[0], head[1].order))[1], client

    def oldest(self, client: str | None = None) -> Entry | None:
        """Who has waited longest, in whichever queue; of this client's own, if one is named."""
        heads = (
            next(iter(line.values()))
            for clients in self._queues.values()
            for name, lines in clients.items()
            if client in (None, name)
            for line in lines.values()
        )
        return min(heads, key=lambda entry: entry.order, default=None)

    def _lines(self, queue: str, client: str) -> _Lines:
        return self._queues.get(queue, {}).get(client, {})


def rank(entries: Iterable[Entry], shares: Standing) -> Counter[str]:
    """Give the queued ones, which come in their order, their ranks: in each queue the abandoned ones after the others.

    The next run of each client comes after as many rounds of turns as it has running. Returned is how many of the
    others there are in each queue.
    """
    waiting: dict[str, dict[str, list[Entry]]] = {}
    behind: list[Entry] = []
    for entry in entries:
        if entry.held:
            continue
        if entry.abandoned:
            behind.append(entry)
            continue
        run = entry.run
        clients = waiting.get(run.queue)
        if clients is None:
            clients = waiting[run.queue] = defaultdict(list)
        clients[run.client].append(entry)
    ranks: Counter[str] = Counter()
    for queue, clients in waiting.items():
        for number, entry in enumerate(_rounds(clients, shares), 1):
            entry.rank = number
        ranks[queue] = sum(map(len, clients.values()))
    others = ranks.copy()
    for entry in behind:
        ranks[entry.run.queue] += 1
        entry.rank = ranks[entry.run.queue]
    return others


def _rounds(clients: Mapping[str, list[Entry]], shares: Standing) -> Iterable[Entry]:
    """The order in which claims are to be expected; what keeps a model from its turn is not foreseen."""
    for own in clients.values():
        if any(entry.run.urgency != USUAL_URGENCY for entry in own):
            own.sort(key=lambda entry: entry.run.urgency)
    if len(clients) == 1:
        return next(iter(clients.values()))
    rounds: list[list[Entry]] = [[] for _ in range(max(map(shares.running, clients)) + max(map(len, clients.values())))]
    for client in sorted(clients, key=shares.since):
        for taken, entry in zip(rounds[shares.running(client) :], clients[client], strict=False):
            taken.append(entry)
    return chain.from_iterable(rounds)


def overview(entries: Iterable[Entry]) -> Overview:
    """How many there are; the oldest of a queue is not among the abandoned ones, whose turn may never come."""
    runs: Counter[tuple[str, State]] = Counter()
    depths: Counter[str] = Counter()
    since: dict[str, float] = {}
    for entry in entries:
        run = entry.run
        runs[run.model, State.running if entry.held else State.queued] += 1
        if entry.held:
            continue
        depths[run.queue] += 1
        if not entry.abandoned:
            since[run.queue] = min(since.get(run.queue, run.created), run.created)
    return Overview(runs, {queue: Waiting(depth, since.get(queue)) for queue, depth in depths.items()})
