"""What the end of a run means to those who asked for it."""

from __future__ import annotations

from typing import assert_never

from etagere.core.lifecycle import Run
from etagere.core.representation import Kind, Outcome, Resource


def poisoned(run: Run, resource: Resource, now: float, output: str = "") -> Outcome:
    """The outcome of a run whose attempts are used up."""
    detail = f"Its process died {run.crashes} times and was lost {run.losses} times."
    return Outcome(resource, run.attempt, Kind.poison, run.started or now, now, detail=detail, output=output)


def explain(outcome: Outcome) -> str:
    """What a client is told of a failure: what happened and how long it ran, and nothing of the inside."""
    ran = f"after {outcome.seconds:.1f} s"
    match outcome.kind:
        case Kind.refused:
            return outcome.detail
        case Kind.failed:
            return f"The run failed {ran}: {outcome.detail}"
        case Kind.timeout:
            return f"The run was stopped {ran}, its time limit."
        case Kind.memory:
            return f"The run was stopped {ran} because it used more memory than its limit."
        case Kind.poison:
            return f"The run was given up. {outcome.detail}"
        case Kind.succeeded:
            return ""
        case _:
            assert_never(outcome.kind)
