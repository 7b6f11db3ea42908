"""Runs that wait for a worker that is not there are told of, after a while and now and then."""

from __future__ import annotations

from typing import Any

import pytest

from etagere.runs.unattended import AGAIN_S, PATIENCE_S, Unattended

WAITING = {"default": {"heat@1": 2}, "gpu": {"rod@1": 1}}
WORKER: dict[str, Any] = {"kind": "worker", "runs": 2, "queues": ["default"], "models": ["heat@1", "rod@1"]}


class Log:
    """What was said, and the models that were named."""

    def __init__(self, records: pytest.LogCaptureFixture) -> None:
        records.set_level("INFO", "etagere")
        self._records = records

    def said(self) -> list[tuple[int, str]]:
        told = [(record.fields["runs"], record.fields["models"]) for record in self._records.records]  # type: ignore[attr-defined]
        self._records.clear()
        return told


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Log:
    return Log(caplog)


def test_what_nobody_can_run_is_told_of_in_one_line_and_seldom(log: Log) -> None:
    looking = Unattended()
    for now in (0.0, 5.0, PATIENCE_S - 0.1):
        looking.look(WAITING, (), [{"kind": "node"}], now)
    assert log.said() == []
    looking.look(WAITING, (), [{"kind": "node"}], PATIENCE_S)
    assert log.said() == [(3, "heat@1 (queue default), rod@1 (queue gpu)")]
    looking.look(WAITING, (), [], AGAIN_S + PATIENCE_S - 0.1)
    assert log.said() == []
    looking.look(WAITING, (), [], AGAIN_S + PATIENCE_S)
    assert log.said() == [(3, "heat@1 (queue default), rod@1 (queue gpu)")]


def test_a_worker_must_have_the_model_and_its_queue(log: Log) -> None:
    looking = Unattended()
    for now in (0.0, PATIENCE_S):
        looking.look(WAITING, (), [WORKER], now)
    assert log.said() == [(1, "rod@1 (queue gpu)")]


def test_what_somebody_has_or_waits_a_moment_only_is_not_told_of(log: Log) -> None:
    """A worker of another kind need not tell of itself; a worker that is started anew is away for a moment."""
    looking = Unattended()
    for now in (0.0, PATIENCE_S):
        looking.look(WAITING, ("heat@1", "rod@1"), [], now)
    looking.look(WAITING, (), [], PATIENCE_S + 1)
    looking.look({"default": {}}, (), [], PATIENCE_S + 5)
    looking.look(WAITING, (), [], 2 * PATIENCE_S + 1)
    assert log.said() == []


@pytest.mark.parametrize("told", [{}, {"models": "heat@1", "queues": 3}, {"models": [None], "queues": [[]]}])
def test_what_others_tell_may_be_anything(log: Log, told: dict[str, Any]) -> None:
    looking = Unattended()
    for now in (0.0, PATIENCE_S):
        looking.look({"default": {"heat@1": 1}}, (), [told], now)
    assert log.said() == [(1, "heat@1 (queue default)")]
