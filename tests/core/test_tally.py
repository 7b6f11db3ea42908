from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from etagere.core.representation import Kind, Outcome, Representation
from etagere.core.tally import BUCKETS, NEW, RunTimes, Tally
from etagere.testing.samples import outcome, resource


def result(name: str, seconds: float = 10.0) -> Representation:
    return Representation(resource(name).id, "json", "application/json", b"", 0, 0.0, seconds)


@given(st.lists(st.floats(0, 200_000) | st.sampled_from(BUCKETS)))
def test_a_bound_counts_what_is_at_most_so_long(seconds: list[float]) -> None:
    times = RunTimes()
    for taken in seconds:
        times.add(taken)
    cumulated = list(times.cumulated())
    assert cumulated == [(bound, sum(taken <= bound for taken in seconds)) for bound in (*BUCKETS, math.inf)]
    assert math.isclose(times.seconds, sum(seconds))


def end(tally: Tally, of: Outcome) -> None:
    tally.end(of.resource.id, of.resource.model, of.kind, of.seconds)


def test_the_first_answer_with_a_result_is_what_its_run_was_for() -> None:
    tally, found = Tally(), result("a")
    end(tally, outcome(resource("a")))
    assert tally.serve("heat@1", found).seconds == 0
    assert tally.serve("heat@1", found).seconds == 10
    # It was evicted, and computed again.
    end(tally, outcome(resource("a")))
    assert tally.serve("heat@1", found).seconds == 10
    assert tally.serve("heat@1", result("of an earlier service", 5.0)).seconds == 15
    assert tally.saved["heat@1"].seconds == 15


def test_only_a_result_that_somebody_may_come_for_is_remembered_and_not_too_many() -> None:
    tally = Tally()
    end(tally, replace(outcome(resource("failed")), kind=Kind.failed))
    for n in range(NEW + 1):
        end(tally, outcome(resource(f"r{n}")))
    assert tally.serve("m", result("r0")).seconds == 10
    assert tally.serve("m", result("r1")).seconds == 10
    assert tally.serve("m", result("failed")).seconds == 20


def test_poison_is_an_outcome_and_no_run_time() -> None:
    tally, ended = Tally(), outcome(resource("a"))
    end(tally, replace(ended, kind=Kind.poison))
    assert tally.ended == {(ended.resource.model, Kind.poison): 1}
    assert tally.times == {}
