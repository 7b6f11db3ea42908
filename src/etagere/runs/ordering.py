"""The order of the queue: where a run waits, and whose turn it is."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from heapq import heapify, heappop

from etagere.core.clients import USUAL_URGENCY
from etagere.core.lifecycle import Run, State
from etagere.core.tally import Overview, Waiting
from etagere.runs.shares import Shares


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

    def join(self, entry: Entry, *, first: bool = False) -> None:
        """Take a place at the end, or come first."""
        run = entry.run
        clients = self._queues.setdefault(run.queue, {})
        for client in entry.shares:
            line = clients.setdefault(client, {}).setdefault((run.urgency, run.model), OrderedDict())
            if run.id not in line:
                self._shares.wait(client)
            line[run.id] = entry
            line.move_to_end(run.id, last=not first)
        self._lengths.setdefault(run.queue, Counter())[run.model] += 1

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

    def lengths(self, queue: str) -> Mapping[str, int]:
        """How many wait in a queue, by model."""
        return self._lengths.get(queue, {})

    def next(self, queues: Collection[str], free: Callable[[str], bool]) -> tuple[Entry, str] | None:
        """Whose turn it is in these queues, of the models that are `free` to begin another run; and in whose share."""
        models = {model for queue in queues for model in self.lengths(queue)}
        open_to = {model for model in models if free(model)}
        if not open_to:
            return None
        clients = {client for queue in queues for client in self._queues.get(queue, {})}
        turns = [(self._shares.turn(client), client) for client in clients]
        heapify(turns)
        while turns:
            client = heappop(turns)[1]
            lines = [(*key, line) for queue in queues for key, line in self._lines(queue, client).items()]
            heads = [(urgency, next(iter(line.values()))) for urgency, model, line in lines if model in open_to]
            if heads:
                return min(heads, key=lambda head: (head[0], head[1].order))[1], client
        return None

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


def rank(entries: Iterable[Entry], shares: Shares) -> Counter[str]:
    """Give the queued ones, which come in their order, their ranks: in each queue the abandoned ones after the others.

    The next run of each client comes after as many rounds of turns as it has running. Returned is how many of the
    others there are in each queue.
    """
    waiting: dict[str, dict[str, list[Entry]]] = {}
    behind: list[Entry] = []
    for entry in entries:
        if entry.abandoned and not entry.held:
            behind.append(entry)
        elif not entry.held:
            waiting.setdefault(entry.run.queue, {}).setdefault(entry.run.client, []).append(entry)
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


def _rounds(clients: Mapping[str, list[Entry]], shares: Shares) -> Iterator[Entry]:
    """The order in which claims are to be expected; what keeps a model from its turn is not foreseen."""
    rounds: dict[int, list[Entry]] = {}
    # A client whose runs wait for a delay alone has no turn yet.
    for client in sorted(clients, key=lambda client: shares.since(client)):
        own = clients[client]
        if any(entry.run.urgency != USUAL_URGENCY for entry in own):
            own.sort(key=lambda entry: entry.run.urgency)
        for number, entry in enumerate(own, shares.running(client)):
            rounds.setdefault(number, []).append(entry)
    return (entry for number in sorted(rounds) for entry in rounds[number])


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
