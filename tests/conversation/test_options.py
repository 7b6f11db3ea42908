"""OPTIONS, and the methods that each resource has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness import Server

MODELS = Path(__file__).parents[1] / "models" / "conversation.py"
RESOURCES = ["/quick", "/quick?x=1", "/quick@1", "/quick.json?x=1", "/nothing"]
OWN = ["/", "/robots.txt", "/r/abc", "/r/abc/status", "/-/openapi.json", "/-/nothing"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server.serve(MODELS, tmp_path_factory.mktemp("data")) as server:
        yield server


@pytest.mark.parametrize("path", RESOURCES)
def test_a_resource_can_be_queried_and_says_how(server: Server, path: str) -> None:
    answer = server.request("OPTIONS", path)
    assert (answer.status, answer.body) == (204, b"")
    assert answer["Allow"] == "GET, HEAD, OPTIONS, QUERY"
    assert answer["Accept-Query"] == '"application/json", "application/x-www-form-urlencoded"'
    assert answer["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", OWN)
def test_aliases_and_service_resources_cannot_be_queried(server: Server, path: str) -> None:
    answer = server.request("OPTIONS", path)
    assert (answer.status, answer["Allow"], answer.headers["Accept-Query"]) == (204, "GET, HEAD, OPTIONS", None)
    refused = server.query(path, {"x": 1})
    assert (refused.status, refused["Allow"]) == (405, "GET, HEAD, OPTIONS")
    assert refused.json()["type"] == "/-/problems/method-not-allowed"


@pytest.mark.parametrize("path", [*RESOURCES, *OWN])
def test_a_method_that_is_not_there_is_answered_with_those_that_are(server: Server, path: str) -> None:
    assert server.request("POST", path)["Allow"] == server.request("OPTIONS", path)["Allow"]


def test_options_starts_nothing(server: Server) -> None:
    assert server.request("OPTIONS", "/quick?x=9").status == 204
    assert server.request("GET", "/quick?x=9", {"Sec-Purpose": "prefetch"}).status == 503


def test_another_host_is_told_nothing(server: Server) -> None:
    assert server.request("OPTIONS", "/quick", {"Host": "evil.example"}).status == 421
