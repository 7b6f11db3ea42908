"""Every problem type that a client can meet (RFC 9457 §3.1.1): what it means, and what to do."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from etagere.core.representation import Kind
from etagere.errors import Problem

_AGAIN = "Wait for `Retry-After` where there is one, then send the same request again."
_OTHERWISE = "Change the request; as it is, it gets the same answer again."


@dataclass(frozen=True, slots=True)
class ProblemType:
    """A problem type. `name` ends its URI, `title` and `status` stand in its documents."""

    name: str
    status: int
    title: str
    meaning: str
    advice: str


FAILURES: Mapping[Kind, ProblemType] = MappingProxyType(
    {
        Kind.refused: ProblemType(
            "refused",
            422,
            "The model refuses these parameters",
            "The model was run and will not compute these parameters; `detail` has its reason. The answer is kept "
            "like a result.",
            "Choose other parameters. The same ones are refused again.",
        ),
        Kind.failed: ProblemType(
            "run-failed",
            500,
            "The run failed",
            "The model raised an exception, gave a result that cannot be encoded, or went beyond a limit of the "
            "service, which `limit` then names: the size of its result or of its directory, or its processes. "
            "`seconds` is how long it ran. This is remembered for an hour.",
            "Tell the model's owner the `id`: what happened is in the service's log. The model is deterministic, so "
            "the same request is likely to fail again.",
        ),
        Kind.timeout: ProblemType(
            "run-timeout",
            500,
            "The run took longer than its time limit",
            "The run was stopped at the model's time limit, `limit`, after `seconds`. This is remembered for a minute, "
            "or what the model says.",
            "Ask for less work, such as fewer steps, or ask the model's owner for a higher limit.",
        ),
        Kind.memory: ProblemType(
            "run-memory",
            500,
            "The run used more memory than its limit",
            "The run was stopped at the model's memory limit, `limit`, after `seconds`. This is remembered for a "
            "minute, or what the model says.",
            "Ask for less work, such as fewer points, or ask the model's owner for a higher limit.",
        ),
        Kind.poison: ProblemType(
            "run-poison",
            500,
            "The run was given up after several attempts",
            "The run's process died three times, or was lost ten times: of its `attempts`, so many `crashed` and so "
            "many were `lost`; the last took `seconds`. This is remembered for a minute, or what the model says.",
            "Tell the model's owner the `id`. A later request tries again.",
        ),
    }
)
"""The problem types of runs, which are remembered."""


def problem_types() -> Mapping[str, ProblemType]:
    """Every problem type by its name, in the order of their statuses."""
    found = [*map(_described, _kinds(Problem)), *FAILURES.values()]
    return {kind.name: kind for kind in sorted(found, key=lambda kind: kind.status)}


def _kinds(parent: type[Problem]) -> Iterator[type[Problem]]:
    for kind in parent.__subclasses__():
        if kind.__module__ == Problem.__module__:
            yield kind
            yield from _kinds(kind)


def _described(kind: type[Problem]) -> ProblemType:
    meaning, _, advice = (inspect.getdoc(kind) or kind.title).partition("\n\n")
    advice = advice or (_AGAIN if kind.status >= 500 else _OTHERWISE)
    return ProblemType(kind.type, kind.status, kind.title, _one_line(meaning), _one_line(advice))


def _one_line(text: str) -> str:
    return " ".join(text.split())
