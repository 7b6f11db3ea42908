"""Turns against a plain reckoning of them, and what a claim costs is not in here (benchmarks/claims.py)."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etagere.core.lifecycle import Run
from etagere.runs.ordering import Entry, Lines
from etagere.runs.shares import Shares

CLIENTS = ("alice", "bob", "carol")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("come"), st.sampled_from(CLIENTS), st.integers(0, 7), st.sampled_from(["a@1", "b@1"])),
        st.tuples(st.just("claim"), st.sampled_from(["a@1", "b@1", ""]), st.just(0), st.just("")),
        st.tuples(st.just("end"), st.just(""), st.integers(0, 9), st.just("")),
    ),
    max_size=60,
)


@dataclass
class Reckoning:
    """Whose turn it is, from all that has happened."""

    moments: count[int] = field(default_factory=count)
    since: dict[str, int] = field(default_factory=dict)
    waiting: list[Entry] = field(default_factory=list)
    running: list[Entry] = field(default_factory=list)

    def going(self, client: str) -> int:
        return sum(entry.run.client == client for entry in self.running)

    def come(self, entry: Entry) -> None:
        client = entry.run.client
        if not any(other.run.client == client for other in self.waiting):
            self.since[client] = next(self.moments)
        self.waiting.append(entry)

    def expected(self, busy: str) -> Entry | None:
        eligible = [entry for entry in self.waiting if entry.run.model != busy]
        key = {
            id(entry): (self.going(entry.run.client), self.since[entry.run.client], entry.run.urgency, entry.order)
            for entry in eligible
        }
        return min(eligible, key=lambda entry: key[id(entry)], default=None)


@given(STEPS)
def test_turns_are_as_they_are_reckoned(steps: list[tuple[str, str, int, str]]) -> None:
    shares, reckoning, orders = Shares(), Reckoning(), count()
    lines = Lines(shares)
    for step, name, number, model in steps:
        if step == "come":
            order = next(orders)
            entry = Entry(Run(str(order), model, "default", 0.0, client=name, urgency=number), order)
            reckoning.come(entry)
            lines.join(entry)
        elif step == "claim":
            expected, turn = reckoning.expected(name), lines.next(["default"], lambda other, busy=name: other != busy)
            assert (turn and turn[0]) is expected
            if expected is not None:
                assert lines.leave(expected)
                lines.begin(expected.run.client)
                reckoning.waiting.remove(expected)
                reckoning.running.append(expected)
                reckoning.since[expected.run.client] = next(reckoning.moments)
        elif number < len(reckoning.running):
            client = reckoning.running.pop(number).run.client
            lines.end(client)
            reckoning.since[client] = next(reckoning.moments)
        assert {client: shares.running(client) for client in CLIENTS} == {c: reckoning.going(c) for c in CLIENTS}
    for entry in reckoning.waiting:
        assert lines.leave(entry)
        assert not lines.leave(entry)
    for entry in reckoning.running:
        lines.end(entry.run.client)
    assert lines.lengths("default") == {}
    assert shares._shares == {}, "of clients that have gone nothing is kept"


@pytest.mark.parametrize("others", [1, 5, 30])
def test_everybody_has_a_turn_before_anybody_has_two_more(others: int) -> None:
    shares = Shares()
    lines, names = Lines(shares), [f"c{n}" for n in range(others)]
    for number, client in enumerate(["sweeper"] * 50 + names * 2):
        lines.join(Entry(Run(str(number), "a@1", "default", 0.0, client=client), number))
    served = []
    for _ in range(2 * others + 2):
        turn = lines.next(["default"], lambda model: True)
        assert turn is not None
        lines.leave(turn[0])
        lines.begin(turn[1])
        lines.end(turn[1])
        served.append(turn[1])
    assert served == ["sweeper", *names] * 2


def test_what_turns_were_is_not_kept_for_ever() -> None:
    lines = Lines(Shares())
    for number, client in enumerate(["alice", "bob"]):
        lines.join(Entry(Run(str(number), "blocked@1", "default", 0.0, client=client), number))
    for _ in range(1000):
        lines.begin("alice")
        lines.end("alice")
    assert sum(map(len, lines._turns._heaps.values())) < 100
    turn = lines.next(["default"], lambda model: True)
    assert turn is not None
    assert turn[1] == "bob"
