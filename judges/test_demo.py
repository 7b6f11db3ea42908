"""The demonstration, and what it says of a server that breaks its promises."""

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[1] / "scripts" / "demo.py"


def load_demo():
    spec = importlib.util.spec_from_file_location("demo", DEMO)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


demo = load_demo()


def start(tmp_path: Path, *arguments: str, demo: Path = DEMO) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", demo, *arguments],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_conversation_goes_as_promised(tmp_path: Path) -> None:
    process = start(tmp_path, "--once")
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, out + err
    statuses = re.findall(r"^< (\d+)", out, re.MULTILINE)
    assert statuses[0] == "202"
    assert statuses[-3:] == ["200", "200", "304"]
    assert set(statuses[1:-3]) == {"304"}
    assert len(re.findall(r"^> GET ", out, re.MULTILINE)) == len(statuses)
    assert err.splitlines()[-1].endswith("100%")
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_gets_over_the_death_of_a_worker(tmp_path: Path) -> None:
    process = start(tmp_path, "--cluster", "--once", demo=DEMO.with_name("demo_cluster.py"))
    out, err = process.communicate(timeout=110)
    assert process.returncode == 0, out + err
    statuses = re.findall(r"^< (\d+)", out, re.MULTILINE)
    assert statuses[0] == "202"
    assert statuses[-2:] == ["200", "200"]
    assert set(statuses[1:-2]) == {"304"}
    assert "kill -9 of worker-" in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_it_serves_until_it_is_stopped_and_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    process = start(tmp_path)
    said = ""
    for line in process.stdout:
        said += line
        if "curl -i" in line:
            break
    host, port = re.search(r"http://(127\.0\.0\.1):(\d+)/", said).groups()
    socket.create_connection((host, int(port))).close()
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == 0, said
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))
    assert list(tmp_path.iterdir()) == []


Reply = tuple[int, dict[str, str], bytes]
PENDING = {"ETag": 'W/"abc"', "Retry-After": "0", "Run-Status": "state=running, progress=0.5"}
READY = {"ETag": '"abc.def.json"', "Cache-Control": "max-age=3600"}
BODY = b'{"temperature": [100.0, 50.0, 0.0]}'
KEPT: list[Reply] = [
    (202, PENDING, b"{}"),
    (304, PENDING, b""),
    (200, READY, BODY),
    (200, READY, BODY),
    (304, READY, b""),
]


@contextmanager
def answering(replies: list[Reply]) -> Iterator[str]:
    """A server that gives these replies in turn, whatever it is asked."""
    turn = iter(replies)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, content = next(turn)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def changed(turn: int, status: int | None = None, content: bytes | None = None, **headers: str) -> list[Reply]:
    replies = list(KEPT)
    old_status, old_headers, old_content = replies[turn]
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    replies[turn] = (
        old_status if status is None else status,
        {**old_headers, **named},
        old_content if content is None else content,
    )
    return replies


def test_a_server_that_keeps_its_promises_is_believed(capsys: pytest.CaptureFixture[str]) -> None:
    with answering(KEPT) as host:
        assert demo.converse(host)
    assert "NOT AS PROMISED" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("replies", "word"),
    [
        (changed(0, status=200), "the first GET is answered 202, not 200"),
        (changed(0, ETag='"abc"'), "pending tag"),
        (changed(1, status=202), "a ping is answered 304, not 202"),
        (changed(1, ETag='W/"other"'), "a 304 repeats the tag"),
        (changed(1, Run_Status="state=running, progress=0.4"), "the progress never goes back"),
        (changed(2, status=500), "the run ends in 200, not 500"),
        (changed(2, ETag='W/"abc"'), "strong tag"),
        (changed(2, Cache_Control="no-store"), "may be cached"),
        (changed(2, content=b"<html>"), "goes through to its end"),
        (changed(3, status=202), "another spelling is answered 200, not 202"),
        (changed(3, content=b"{}"), "the same tag and bytes"),
        (changed(4, status=200), "the ready tag is answered 304, not 200"),
        (KEPT[:2], "goes through to its end"),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_broken_promise_is_named(replies: list[Reply], word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with answering(replies) as host:
        assert not demo.converse(host)
    assert word in capsys.readouterr().err
