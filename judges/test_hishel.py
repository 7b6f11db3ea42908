"""hishel, a cache in a client: it keeps the result and never the 202, and validates what it has."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from judges.service import Service


class CachingClient:
    """The judge's process, asked line by line."""

    def __init__(self, judges_bin: Path, database: Path) -> None:
        command = [judges_bin / "python", Path(__file__).with_name("caching_client.py"), database]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, service: Service, path: str, **fields: str) -> dict[str, Any]:
        """One request; status, tag, body, and what hishel did."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        print(json.dumps({"url": f"{service.url}{path}", "fields": named}), file=self.process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer


@pytest.fixture
def client(judges_bin: Path, tmp_path: Path) -> Iterator[CachingClient]:
    client = CachingClient(judges_bin, tmp_path / "hishel.db")
    with client.process:
        yield client
        client.process.communicate(timeout=30)
    assert client.process.returncode == 0


def test_it_keeps_the_result_and_never_the_202(client: CachingClient, service: Service) -> None:
    path = "/gated?gate=hishel"
    for _ in range(2):
        accepted = client.ask(service, path)
        assert accepted["status"] == 202
        assert not accepted["cache"]["from_cache"]
        assert not accepted["cache"]["stored"]
    ping = client.ask(service, path, If_None_Match=accepted["tag"])
    assert (ping["status"], ping["body"]) == (304, "")
    service.open("hishel")
    ready = service.result(path)
    fetched = client.ask(service, path, If_None_Match=accepted["tag"])
    assert (fetched["status"], fetched["tag"], fetched["body"]) == (200, ready.etag, ready.body.decode())
    assert fetched["cache"]["stored"]
    kept = client.ask(service, path)
    assert (kept["status"], kept["body"]) == (200, ready.body.decode())
    assert kept["cache"]["from_cache"]
    assert not kept["cache"]["revalidated"]


def test_it_validates_and_takes_a_new_version(client: CachingClient, tmp_path: Path) -> None:
    path = "/gated?gate=g"
    with Service(tmp_path, MAX_AGE="1") as service:
        service.open("g")
        old = service.result(path)
        assert client.ask(service, path)["cache"]["stored"]
        time.sleep(2)  # HTTP counts in seconds
        still = client.ask(service, path)
        assert (still["status"], still["body"]) == (200, old.body.decode())
        assert still["cache"]["revalidated"]

        (service.gates / "g").unlink()
        service.restart(VERSION="2")
        time.sleep(2)
        accepted = client.ask(service, path)
        assert accepted["status"] == 202
        ping = client.ask(service, path, If_None_Match=accepted["tag"])
        assert ping["body"] != old.body.decode(), "a pending tag says nothing about what is stored"
        service.open("g")
        new = service.result(path)
        assert client.ask(service, path, If_None_Match=accepted["tag"])["body"] == new.body.decode()
