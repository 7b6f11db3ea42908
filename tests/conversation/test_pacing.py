"""Clients are told when to ask again by how long the runs of a model took, over a restart too."""

from __future__ import annotations

from pathlib import Path

from tests.conversation.asking import Gates, served
from tests.harness import Server

MODELS = """
import os
import time

import etagere

app = etagere.Etagere(runs=2)


@app.model(version="1", time_limit=60)
def slow(seconds: float) -> float:
    time.sleep(seconds)
    return seconds
"""
RUNS = 6
SECONDS = 1.6


def statuses(server: Server, path: str) -> tuple[int, float]:
    """What the status document of a new run has for its estimate, and what the answer says to wait."""
    answer = server.get(path)
    assert answer.status == 202
    return int(answer["Retry-After"]), float(answer.json().get("eta", -1))


def test_the_pace_is_learnt_and_survives_a_restart(tmp_path: Path) -> None:
    models = tmp_path / "models.py"
    models.write_text(MODELS)
    with Server.serve(models, tmp_path / "data") as server:
        assert statuses(server, f"/slow?seconds={SECONDS}") == (1, -1)
        for n in range(1, RUNS):
            server.get(f"/slow?seconds={SECONDS + n / 1000}")
        for n in range(RUNS):
            assert server.result(f"/slow?seconds={SECONDS + n / 1000}").status == 200
        retry_after, eta = statuses(server, "/slow?seconds=30")
        assert retry_after in (2, 3)
        assert 1.6 <= eta < 10
    with Server.serve(models, tmp_path / "data") as server:
        # The run of 30 s goes on and has one of the two places; this one has the other.
        retry_after, again = statuses(server, "/slow?seconds=31")
        assert retry_after in (2, 3)
        assert abs(again - eta) < 1
        status = server.get("/slow?seconds=31", server.get("/slow?seconds=31").etag)
        assert status.status == 304
        assert f"eta={round(again)}" in status["Run-Status"]
        waiting = statuses(server, "/slow?seconds=32")
        assert waiting[0] > retry_after
        assert waiting[1] > again
