"""The log of a real service: a line for each request and each run, without what is secret in either."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.harness import Server

MODELS = Path(__file__).parents[1] / "models" / "conversation.py"
HOSTILE = "\x1b[2J forged\u202e"
AGENT = b"\x9b31m forged".decode("latin-1")


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> tuple[Server, list[dict[str, Any]]]:
    """A service that has answered, and what it has logged."""
    data = tmp_path_factory.mktemp("data")
    with Server.serve(MODELS, data, "--access-log", "--log-json", env={"GATES": ""}) as server:
        fields = {"User-Agent": AGENT, "Authorization": "Bearer secret-key", "Cookie": "secret-cookie"}
        server.request("GET", "/quick?x=1&label=secret-label", {**fields, "Prefer": "wait=20"})
        tag = server.get("/quick?x=1&label=secret-label").etag
        server.request("GET", "/quick?x=1&label=secret-label", {**fields, "If-None-Match": tag})
        server.get("/refusing?x=4")
        server.result("/refusing?x=4")
        server.result("/failing?x=4")
        server.get("/quick?y=%1b%5b2J%0a")
        server.get("/%0aforged%1b%5b2J?secret-query")
        server.get("/quick", Host="secret.example")
        server.query("/quick", {"x": 2, "label": "secret-content" + HOSTILE})
        server.get("/-/health/live")
    lines = server.printed.decode().splitlines()
    assert lines[0].startswith("Serving ")
    return server, [json.loads(line) for line in lines[1:]]


def requests(events: tuple[Server, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [event for event in events[1] if event["event"] == "request"]


def test_a_line_for_each_request_tells_what_was_answered(events: tuple[Server, list[dict[str, Any]]]) -> None:
    told = [(one["method"], one["path"], one["status"], one["answer"]) for one in requests(events)]
    assert told[:3] == [
        ("GET", "/quick", 200, "waited"),
        ("GET", "/quick", 200, "hit"),
        ("GET", "/quick", 304, "revalidated"),
    ]
    assert told[3] == ("GET", "/refusing", 202, "started")
    assert {("GET", "/refusing", 422, "refused"), ("GET", "/failing", 500, "failed")} <= set(told)
    assert told[-5:] == [
        ("GET", "/quick", 400, "rejected"),
        ("GET", "/%0aforged%1b%5b2J", 404, "rejected"),
        ("GET", "/quick", 421, "rejected"),
        ("QUERY", "/quick", 303, "started"),
        ("GET", "/-/health/live", 200, "other"),
    ]
    assert all(one["client"] == "127.0.0.1" and one["ms"] > 0 and one["level"] == "info" for one in requests(events))


def test_a_request_and_its_run_have_the_same_id(events: tuple[Server, list[dict[str, Any]]]) -> None:
    runs = {run["id"]: run for run in events[1] if run["event"] == "run ended"}
    for path, outcome, model in (
        ("/refusing", "refused", "refusing@1"),
        ("/failing", "failed", "failing@1"),
        ("/quick", "succeeded", "quick@1"),
    ):
        ids = {
            one.get("id")
            for one in requests(events)
            if one["path"] == path and one["status"] in (200, 202, 304, 422, 500)
        }
        (id,) = ids
        run = runs[id]
        assert (run["outcome"], run["model"], run["attempt"]) == (outcome, model, 1)
        assert run["seconds"] >= 0


def test_nothing_secret_is_in_it(events: tuple[Server, list[dict[str, Any]]]) -> None:
    server, _ = events
    # What a model raises is its owner's to see: `failing` says "secret of" and its file.
    assert b"secret" not in server.printed.replace(b"secret of", b"")


def test_nothing_in_it_moves_a_terminal(events: tuple[Server, list[dict[str, Any]]]) -> None:
    server, _ = events
    assert all(line.decode("ascii").isprintable() for line in server.printed.splitlines())
