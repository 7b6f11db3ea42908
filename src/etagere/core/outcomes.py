"""What the end of a run means to those who asked for it."""

from __future__ import annotations

from typing import assert_never

from etagere.core.lifecycle import Run
from etagere.core.representation import Kind, Outcome, Printed, Resource


def poisoned(run: Run, resource: Resource, now: float, output: str = "") -> Outcome:
    """The outcome of a run whose attempts are used up."""
    detail, facts = given_up(run.crashes, run.losses)
    started = run.started or now
    return Outcome(resource, run.attempt, Kind.poison, started, now, detail=detail, output=output, facts=facts)


def given_up(crashes: int, losses: int) -> tuple[str, dict[str, object]]:
    """What is said of a run whose attempts are used up, and the facts."""
    detail = f"Its process died {crashes} times and was lost {losses} times."
    return detail, {"attempts": crashes + losses, "crashed": crashes, "lost": losses}


def printed(outcome: Outcome) -> Printed | None:
    """What an outcome has for operators, where it has anything."""
    if not outcome.output and not outcome.traceback:
        return None
    ended = outcome.resource.id, outcome.attempt, str(outcome.kind), outcome.finished
    return Printed(*ended, output=outcome.output, traceback=outcome.traceback)


def explain(outcome: Outcome) -> str:
    """What a client is told of a failure: what happened and how long it ran, and nothing of the inside."""
    ran = f"after {outcome.seconds:.1f} s"
    match outcome.kind:
        case Kind.refused:
            return outcome.detail
        case Kind.failed:
            return f"The run failed {ran}: {outcome.detail}"
        case Kind.timeout:
            return f"The run was stopped {ran}: {outcome.detail}, its time limit."
        case Kind.memory:
            return f"The run was stopped {ran}: {outcome.detail}, its memory limit."
        case Kind.poison:
            return f"The run was given up. {outcome.detail}"
        case Kind.succeeded:
            return ""
        case _:
            assert_never(outcome.kind)
