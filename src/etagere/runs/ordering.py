"""The order of the queue: where a run waits, and whose turn it is."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator

from etagere.core.lifecycle import Run, State
from etagere.core.tally import Overview, Waiting


class Entry:
    """A pending run and its place.

    `order` is that of turns, `rank` the last known position; `held` by a worker, `abandoned` by all who asked for it,
    `cancelled` while a worker still holds it. `size` is the bytes of its canonical URI.
    """

    __slots__ = ("abandoned", "cancelled", "held", "order", "rank", "run", "size")

    def __init__(self, run: Run, order: int, size: int = 0) -> None:
        self.run = run
        self.order = order
        self.size = size
        self.rank = 0
        self.held = False
        self.abandoned = False
        self.cancelled = False


class Lines:
    """Runs that wait for their turn, in a line for each model in each queue."""

    def __init__(self) -> None:
        self._queues: dict[str, dict[str, OrderedDict[str, Entry]]] = {}

    def join(self, entry: Entry, *, first: bool = False) -> None:
        """Take a place at the end, or come first."""
        run = entry.run
        line = self._queues.setdefault(run.queue, {}).setdefault(run.model, OrderedDict())
        line[run.id] = entry
        line.move_to_end(run.id, last=not first)

    def leave(self, entry: Entry) -> bool:
        """Give the place up; False where it had none."""
        run = entry.run
        models = self._queues.get(run.queue, {})
        line = models.get(run.model, OrderedDict())
        left = line.pop(run.id, None)
        if not line:
            models.pop(run.model, None)
        return left is not None

    def lengths(self, queue: str) -> dict[str, int]:
        """How many wait in each line of a queue, by model."""
        return {model: len(line) for model, line in self._queues.get(queue, {}).items()}

    def next(self, queues: Collection[str], free: Callable[[str], bool]) -> Entry | None:
        """Whose turn it is in these queues, of the models that are `free` to begin another run."""
        return _earliest(entry for queue in queues for entry in self._heads(queue) if free(entry.run.model))

    def oldest(self) -> Entry | None:
        """Who has waited longest, in whichever queue."""
        return _earliest(entry for queue in self._queues for entry in self._heads(queue))

    def _heads(self, queue: str) -> Iterator[Entry]:
        for line in self._queues.get(queue, {}).values():
            yield next(iter(line.values()))


def _earliest(entries: Iterable[Entry]) -> Entry | None:
    return min(entries, key=lambda entry: entry.order, default=None)


def rank(entries: Iterable[Entry]) -> Counter[str]:
    """Give the queued ones, which come in their order, their ranks: in each queue the abandoned ones after the others.

    Returned is how many of the others there are in each queue.
    """
    ranks: Counter[str] = Counter()
    behind: list[Entry] = []
    for entry in entries:
        if entry.held:
            continue
        if entry.abandoned:
            behind.append(entry)
        else:
            ranks[entry.run.queue] += 1
            entry.rank = ranks[entry.run.queue]
    others = ranks.copy()
    for entry in behind:
        ranks[entry.run.queue] += 1
        entry.rank = ranks[entry.run.queue]
    return others


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
