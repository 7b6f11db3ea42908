"""What is pending in a store, as far as it was heard of: one look-up in memory."""

from __future__ import annotations

import json
import sys
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from etagere.core.lifecycle import Run, State
from etagere.core.tally import Overview
from etagere.runs.ordering import Entry, overview, rank

_ENDS_REMEMBERED = 10_000

Record = Mapping[str, Any]
"""A run as its hash has it: all values are text."""

Said = Mapping[str, Any]
"""What is published of a change: its number `seq`, the `event`, the `id`, the `run` after it and `since` of shares."""


class Mirrored(Entry):
    """A pending run, as of the change numbered `seq`; looked at by itself at `seen` (monotonic seconds)."""

    __slots__ = ("ended", "outcome", "seen", "seq", "worker")

    def __init__(self, record: Record, seen: float = float("-inf")) -> None:
        super().__init__(run_of(record), int(record["order"]))
        self.seq = int(record["seq"])
        self.seen = seen
        self.held = self.run.state is State.running
        self.abandoned = record["abandoned"] == "1"
        self.cancelled = record["cancelled"] == "1"
        self.charged = record["charged"]
        self.shares = tuple(json.loads(record["shares"]))
        self.worker = record["worker"]
        self.outcome = record.get("outcome", "")
        self.ended = float(record.get("finished") or 0.0)


class Mirror:
    """The pending runs.

    `heard` is told each change once, with what is known of the run after it. `held` counts the runs that go on by
    model, `waiting` the others by queue and model, `abandoned` those of them that nobody asks for.
    """

    def __init__(self, heard: Callable[[str, Mirrored], None]) -> None:
        self.entries: dict[str, Mirrored] = {}
        self._heard = heard
        self._epoch = ""
        self._ended: OrderedDict[str, int] = OrderedDict()
        self._since: dict[str, int] = {}
        self._running: Counter[str] = Counter()
        self.held: Counter[str] = Counter()
        self.waiting: dict[str, Counter[str]] = {}
        self.abandoned = 0

    def apply(self, said: Said) -> None:
        """A change; one that is older than what is known changes nothing."""
        id, seq = said["id"], said["seq"]
        before = self.entries.get(id)
        if seq <= (before.seq if before else self._ended.get(id, 0)):
            return
        for client, since in said.get("since", {}).items():
            self._since[client] = since
            if not since:
                del self._since[client]
        after = Mirrored(said["run"])
        self._replace(before, after)
        self._heard(said["event"], after)

    def take(self, record: Record, now: float) -> None:
        """A run as it was found at `now` (monotonic seconds); perhaps its end was heard of before that was read."""
        id, seq = record["id"], int(record["seq"])
        before = self.entries.get(id)
        if before is not None and before.seq >= seq:
            before.seen = now
        elif before is not None or record["epoch"] != self._epoch or seq > self._ended.get(id, 0):
            self._replace(before, Mirrored(record, now))

    def renew(self, records: Iterable[Record], since: Mapping[str, int], seq: int, epoch: str) -> None:
        """All that is pending, as read until the change `seq` of an epoch; what is not among it has ended.

        What an answer has told meanwhile is newer than what was read.
        """
        self._epoch = epoch
        before, self.entries = self.entries, {}
        for counts in (self._running, self.held, self.waiting):
            counts.clear()
        # Of an epoch that is over they have other numbers, most of them larger ones.
        self._ended = OrderedDict((id, ended) for id, ended in self._ended.items() if ended <= seq)
        self.abandoned = 0
        self._since = dict(since)
        for record in records:
            entry, told = before.get(record["id"]), int(record["seq"])
            if entry is not None and told < entry.seq <= seq:
                self._replace(None, entry)
            elif told > self._ended.get(record["id"], 0):
                self._replace(None, Mirrored(record))
        for id, entry in before.items():
            if id not in self.entries:
                self._heard("gone", entry)

    def drop(self, id: str) -> None:
        """There is no such run."""
        if entry := self.entries.pop(id, None):
            self._count(entry, -1)
            self._heard("gone", entry)

    def in_order(self) -> list[Mirrored]:
        """The entries in the order of their turns."""
        return sorted(self.entries.values(), key=lambda entry: entry.order)

    def ranks(self) -> Counter[str]:
        """Give the queued ones their ranks; see `ordering.rank`."""
        return rank(self.in_order(), self)

    def overview(self) -> Overview:
        """What is pending, in numbers."""
        return overview(self.entries.values())

    def running(self, client: str) -> int:
        """How many runs go on that this client had the turn for."""
        return self._running[client]

    def since(self, client: str) -> int:
        """Since when this client waits for another turn."""
        return self._since.get(client, 0)

    def _replace(self, before: Mirrored | None, after: Mirrored) -> None:
        if before is not None:
            self._count(before, -1)
        run = after.run
        if run.ended:
            self.entries.pop(run.id, None)
            self._ended[run.id] = after.seq
            if len(self._ended) > _ENDS_REMEMBERED:
                self._ended.popitem(last=False)
            return
        if before is not None:
            after.rank, after.seen = before.rank, before.seen
            after.run = _with_progress(run, before.run)
        self._count(after, 1)
        self.entries[run.id] = after

    def _count(self, entry: Mirrored, by: int) -> None:
        run = entry.run
        if not entry.held:
            _add(self.waiting.setdefault(run.queue, Counter()), run.model, by)
            self.abandoned += by if entry.abandoned else 0
            return
        _add(self._running, entry.charged, by)
        _add(self.held, run.model, by)


def _with_progress(run: Run, before: Run) -> Run:
    """The run with the progress that its own worker knows of, and has not told yet."""
    told, known = run.progress, before.progress
    if run.attempt != before.attempt or known is None or not (told is None or told < known):
        return run
    return replace(run, progress=known, message=before.message) if run.state is State.running else run


def _add(counts: Counter[str], name: str, by: int) -> None:
    counts[name] += by
    if not counts[name]:
        del counts[name]


def run_of(record: Record) -> Run:
    """The run that a record tells of."""
    return Run(
        id=record["id"],
        model=sys.intern(record["model"]),
        queue=sys.intern(record["queue"]),
        created=float(record["created"]),
        state=State(record["state"]),
        attempt=int(record["attempt"]),
        crashes=int(record["crashes"]),
        losses=int(record["losses"]),
        delay=float(record["delay"]),
        started=float(record["started"]) if record["started"] else None,
        progress=float(record["progress"]) if record["progress"] else None,
        message=record["message"],
        client=sys.intern(record["client"]),
        urgency=int(record["urgency"]),
        trace=record["trace"],
        tenant=record["tenant"],
    )
