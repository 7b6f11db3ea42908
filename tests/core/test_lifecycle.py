from __future__ import annotations

from itertools import product

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from etagere.core.lifecycle import (
    CRASHES_ALLOWED,
    LONGEST_DELAY,
    LOSSES_ALLOWED,
    Event,
    InvalidTransition,
    Run,
    State,
    step,
)

# Written out once more, so that a slip in the table is a difference.
EXPECTED = {
    State.queued: {"claim": "running", "succeed": "succeeded", "fail": "failed", "cancel": "cancelled"},
    State.running: {
        "succeed": "succeeded",
        "fail": "failed",
        "crash": "queued",
        "lose": "queued",
        "release": "queued",
        "postpone": "queued",
        "cancel": "cancelled",
    },
    State.succeeded: {},
    State.failed: {},
    State.cancelled: {},
}


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_every_event_in_every_state(state: State, event: Event) -> None:
    run = Run("a", "heat@1", "default", 0.0, state=state, attempt=1)
    expected = EXPECTED[state].get(event.value)
    if expected is None:
        with pytest.raises(InvalidTransition, match=f"{state} run cannot {event}"):
            step(run, event, 1.0)
    else:
        assert step(run, event, 1.0).state == expected


@pytest.mark.parametrize(
    ("event", "counted", "allowed"), [(Event.crash, "crashes", CRASHES_ALLOWED), (Event.lose, "losses", LOSSES_ALLOWED)]
)
def test_attempts_are_used_up(event: Event, counted: str, allowed: int) -> None:
    run = Run("a", "heat@1", "default", 0.0)
    for tries in range(1, allowed + 1):
        run = step(step(run, Event.claim, 0.0), event, 0.0)
        assert getattr(run, counted) == tries
        assert run.ended == (tries == allowed)
    assert run.state is State.failed


def test_releases_cost_nothing_however_many() -> None:
    run = Run("a", "heat@1", "default", 0.0)
    for _ in range(10 * LOSSES_ALLOWED):
        run = step(step(run, Event.claim, 0.0), Event.release, 0.0)
    assert (run.state, run.crashes, run.losses, run.delay) == (State.queued, 0, 0, 0.0)


def test_postponing_costs_nothing_but_time() -> None:
    run = Run("a", "heat@1", "default", 0.0)
    for _ in range(10 * LOSSES_ALLOWED):
        run = step(step(run, Event.claim, 0.0), Event.postpone, 0.0)
        assert (run.state, run.crashes, run.losses) == (State.queued, 0, 0)
        assert run.delay > 0


def test_delays_grow_to_their_limit() -> None:
    run, delays = Run("a", "heat@1", "default", 0.0), []
    for _ in range(LOSSES_ALLOWED - 1):
        run = step(step(run, Event.claim, 0.0), Event.lose, 0.0)
        delays.append(run.delay)
    assert delays == sorted(delays)
    assert delays[0] < 1
    assert delays[-1] == LONGEST_DELAY


class Life(RuleBasedStateMachine):
    """Any sequence of events, those that cannot happen included."""

    def __init__(self) -> None:
        super().__init__()
        self.run = Run("a", "heat@1", "default", created=1000.0)
        self.now = 1000.0
        self.counts = dict.fromkeys(Event, 0)

    @rule(seconds=st.floats(0, 1e6))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(event=st.sampled_from(Event))
    def happen(self, event: Event) -> None:
        before = self.run
        try:
            self.run = step(before, event, self.now)
        except InvalidTransition:
            assert event.value not in EXPECTED[before.state]
            return
        assert event.value in EXPECTED[before.state]
        self.counts[event] += 1
        assert self.run.attempt == before.attempt + (event is Event.claim)
        assert (self.run.id, self.run.model, self.run.created) == ("a", "heat@1", 1000.0)
        used_up = self.run.crashes == CRASHES_ALLOWED or self.run.losses == LOSSES_ALLOWED
        if event in (Event.crash, Event.lose):
            assert self.run.ended == used_up

    @precondition(lambda self: self.run.state is State.running)
    @rule(event=st.sampled_from([Event.release, Event.postpone, Event.lose, Event.crash]))
    def fall_back_and_be_claimed(self, event: Event) -> None:
        self.happen(event)
        if not self.run.ended:
            self.happen(Event.claim)

    @invariant()
    def counts_agree(self) -> None:
        assert self.run.attempt == self.counts[Event.claim]
        assert self.run.crashes == self.counts[Event.crash] <= CRASHES_ALLOWED
        assert self.run.losses == self.counts[Event.lose] <= LOSSES_ALLOWED

    @invariant()
    def only_a_running_run_has_a_start(self) -> None:
        if self.run.state is State.running:
            assert self.run.started is not None
            assert self.run.started <= self.now
        if self.run.state is State.queued:
            assert (self.run.started, self.run.progress) == (None, None)
        assert 0 <= self.run.delay <= LONGEST_DELAY

    @invariant()
    def ends_are_ends(self) -> None:
        assert self.run.ended == (not EXPECTED[self.run.state])


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
