"""Clients are told when to ask again by how long the runs of a model took, over a restart too."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from tests.harness import Server

MODELS = """
import time

import etagere

app = etagere.Etagere(runs=2)


@app.model(version="1")
def slow(seconds: float) -> float:
    time.sleep(seconds)
    return seconds
"""
RUNS = 6
SECONDS = 1.6


def started(server: Server, seconds: float) -> tuple[int, float | None]:
    """What the answer to a new run says to wait, and the estimate in its status document."""
    answer = server.get(f"/slow?seconds={seconds}")
    assert answer.status == 202
    return int(answer["Retry-After"]), answer.json().get("eta")


def ranked(server: Server, path: str, position: int) -> Any:
    """The status document once it shows the position, which may be a second old."""
    deadline = time.monotonic() + 30
    while (status := server.get(f"{path}/status").json()).get("position") != position:
        assert time.monotonic() < deadline, status
        time.sleep(0.05)
    return status


def test_the_pace_is_learnt_and_survives_a_restart(tmp_path: Path) -> None:
    models = tmp_path / "models.py"
    models.write_text(MODELS)
    with Server.serve(models, tmp_path / "data") as server:
        assert started(server, SECONDS) == (1, None)
        for n in range(1, RUNS):
            server.get(f"/slow?seconds={SECONDS + n / 1000}")
        for n in range(RUNS):
            assert server.result(f"/slow?seconds={SECONDS + n / 1000}").status == 200
        wait, eta = started(server, 600)
        assert 2 <= wait <= 3
        assert eta is not None
        assert SECONDS <= eta < 10
    with Server.serve(models, tmp_path / "data") as server:
        # The one before has one of the two places again, this has the other.
        assert started(server, 601) == (wait, eta)
        answers = [server.get(f"/slow?seconds={n}") for n in range(602, 606)]
        alias = f"/r/{answers[-1].json()['id']}"
        status = ranked(server, alias, position=4)
        assert status["eta"] == pytest.approx(4 / 2 * eta + eta, abs=0.3)
        ping = server.get(alias, answers[-1].etag)
        assert ping.status == 304
        # Half of the time until it begins, and the wait of a run that begins.
        assert eta + 1 <= int(ping["Retry-After"]) <= eta + 4
        told = re.fullmatch(r"state=queued, eta=(\d+), position=4", ping["Run-Status"])
        assert told is not None
        assert abs(int(told[1]) - status["eta"]) <= 0.6
