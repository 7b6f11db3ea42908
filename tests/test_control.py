"""The socket in the data directory: who can reach it, and what it bears."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.harness import Server
from tests.test_cli import MODELS, etagere

from etagere.control import CONNECTIONS, LONGEST_LINE, LONGEST_PATH, NAME, ask
from etagere.errors import NoService, Refusal


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    data = tmp_path_factory.mktemp("control") / "data"
    with Server.serve(MODELS, data):
        yield data


def said(data: Path, request: bytes) -> bytes:
    """What comes back until the service closes, or the request has one answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(data / NAME))
        try:
            connection.sendall(request)
            return connection.makefile("rb").readline()
        except (BrokenPipeError, ConnectionResetError):
            return b""


def test_nobody_else_can_reach_it(data: Path) -> None:
    assert stat.S_IMODE((data / NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE(data.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize("closed", ["directory", "socket"])
def test_another_user_is_told_so(data: Path, closed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # From here the directories above do not matter.
    monkeypatch.chdir(data.parent)
    data.parent.chmod(0o755)
    try:
        data.chmod(0o755 if closed == "socket" else 0o700)
        os.seteuid(65534)
        with pytest.raises(NoService, match="belongs to another user"):
            ask(Path(data.name), "status")
    finally:
        os.seteuid(0)
        data.chmod(0o700)
    assert ask(data, "status")["queued"] == 0


def test_a_frozen_service_is_waited_for_and_no_longer(tmp_path: Path) -> None:
    with Server.serve(MODELS, tmp_path / "data") as server:
        os.kill(server.pid, signal.SIGSTOP)
        try:
            with pytest.raises(NoService, match=r"has not answered for 0\.2 s"):
                ask(tmp_path / "data", "status", seconds=0.2)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        assert ask(tmp_path / "data", "status")["pid"] == server.pid


@pytest.mark.parametrize(
    "request_",
    [
        b"\n", b"nothing\n", b"[]\n", b"null\n", b"{}\n", b'{"operation": "stop"}\n', b'{"operation": []}\n',
        b'{"operation": "__init__"}\n', b'{"operation": "cancel"}\n', b'{"operation": "cancel", "arguments": []}\n',
        b'{"operation": "cancel", "arguments": {"id": 3}}\n',
        b'{"operation": "runs", "arguments": {"state": "gone"}}\n',
        b'{"operation": "purge", "arguments": {"older_than": -1}}\n',
        b'{"operation": "purge", "arguments": {"older_than": NaN}}\n',
        b'{"operation": "status", "arguments": {"more": 1}}\n', b"\xff\n", b"[" * 20_000 + b"\n",
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused_in_words(data: Path, request_: bytes) -> None:
    problem = json.loads(said(data, request_))["problem"]
    assert (problem["status"], problem["type"]) == (400, "malformed-request")
    assert problem["detail"]
    assert "Traceback" not in problem["detail"]
    assert ask(data, "status")["queued"] == 0


def test_a_line_is_bounded(data: Path) -> None:
    assert said(data, b"x" * (4 * LONGEST_LINE)) == b""
    assert ask(data, "status")["queued"] == 0


def test_connections_are_bounded_and_several_requests_may_come_on_one(data: Path) -> None:
    request = b'{"operation": "status"}\n'
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            connection = stack.enter_context(socket.socket(socket.AF_UNIX))
            connection.connect(str(data / NAME))
            answers = stack.enter_context(connection.makefile("rb"))
            for _ in range(2):
                connection.sendall(request)
                assert b"done" in answers.readline()
        with pytest.raises(NoService, match="without an answer"):
            ask(data, "status")
    deadline = time.monotonic() + 20
    while not said(data, request):
        assert time.monotonic() < deadline
    assert ask(data, "status")["queued"] == 0


def test_what_is_refused_has_the_status_of_its_problem(data: Path) -> None:
    with pytest.raises(Refusal, match="No run of abc is pending") as refused:
        ask(data, "cancel", id="abc")
    assert refused.value.status == 404


def test_a_killed_service_leaves_a_socket_that_the_next_one_replaces(tmp_path: Path) -> None:
    data = tmp_path / "data"
    server = Server.serve(MODELS, data).start()
    server.kill()
    server.stop()  # closes its output
    assert (data / NAME).is_socket()
    with pytest.raises(NoService, match="No service runs on the data directory"):
        ask(data, "status")
    with Server.serve(MODELS, data) as server:
        assert ask(data, "status")["pid"] == server.pid
    assert not (data / NAME).exists()


def test_a_path_that_is_too_long_for_a_socket(tmp_path: Path) -> None:
    data = tmp_path / ("long" * 30) / "data"
    assert len(os.fsencode(data)) > LONGEST_PATH
    with Server.serve(MODELS, data) as server:
        assert ask(data, "status")["pid"] == server.pid
        assert etagere("status", "--data", str(data)).returncode == 0
        assert stat.S_IMODE((data / NAME).stat().st_mode) == 0o600
    assert not (data / NAME).exists()


def test_where_it_cannot_listen_the_service_does_without(tmp_path: Path) -> None:
    (tmp_path / "data" / NAME).mkdir(parents=True)
    with Server.serve(MODELS, tmp_path / "data") as server:
        assert server.result("/quick?x=1").status == 200
    assert b"operators' commands do not reach this service" in server.printed
