"""`kill -9` the moment an answer has arrived: what it said had been made durable before."""

from __future__ import annotations

import hashlib
import itertools
import os
import selectors
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from tests.faults.service import MODELS, Service

ROUNDS = int(os.environ.get("FAULTS_ROUNDS", "2"))
AT_ONCE = 40
keys = itertools.count(1)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    env = {"EXECUTIONS": str(tmp_path / "executions")}
    with Service(MODELS / "known.py", tmp_path / "data", "--runs", "1", env=env) as started:
        yield started


def test_a_run_is_recorded_before_its_202(service: Service) -> None:
    accepted = 0
    for _ in range(ROUNDS):
        targets = [f"/known?key={next(keys)}&ms=1&size=100" for _ in range(AT_ONCE)]
        tags = tags_until_killed(service, targets)
        accepted += len(tags)
        service.start()
        for target, tag in tags.items():
            assert service.get(target, tag).status in (304, 200), "it was accepted and had been forgotten"
        assert {answer.status for answer in service.results(targets).values()} == {200}
    assert accepted >= ROUNDS


def test_a_result_is_recorded_before_its_200(service: Service) -> None:
    for size in [100, 2_000_000] * (ROUNDS // 2):
        key = next(keys)
        target = f"/known?key={key}&ms=1&size={size}"
        answer = service.get(target)
        while answer.status != 200:
            answer = service.get(target, answer.etag)
        service.kill()
        service.start()
        again = service.get(target)
        assert (again.status, again.etag) == (200, answer.etag)
        assert (
            hashlib.sha256(again.body).digest() == hashlib.sha256(hashlib.shake_256(b"%d" % key).digest(size)).digest()
        )
        assert sum(line.split()[0] == str(key) for line in service.executions()) == 1


def tags_until_killed(service: Service, targets: list[str]) -> dict[str, str]:
    """Ask for all at once and kill the service at the first answer; the tags of all that had been sent by then."""
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        connections = {
            target: stack.enter_context(socket.create_connection(("127.0.0.1", service.port), 10)) for target in targets
        }
        for target, connection in connections.items():
            selector.register(connection, selectors.EVENT_READ)
            connection.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert selector.select(10)
        service.kill()
        received = {target: everything(connection) for target, connection in connections.items()}
    return {target: tag_of(answer) for target, answer in received.items() if b"\r\n\r\n" in answer}


def everything(connection: socket.socket) -> bytes:
    received = b""
    with suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            received += chunk
    return received


def tag_of(answer: bytes) -> str:
    head = answer.partition(b"\r\n\r\n")[0].decode("latin-1")
    assert head.startswith("HTTP/1.1 202 ")
    fields = (line.partition(": ") for line in head.split("\r\n")[1:])
    return next(value for name, _, value in fields if name.lower() == "etag")
