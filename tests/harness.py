"""Real servers for tests: started on a free loopback port, stopped by their pid, spoken to with http.client."""

from __future__ import annotations

import http.client
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

READY_SECONDS = 30
_URL = re.compile(r"http://(?:127\.0\.0\.1|0\.0\.0\.0):(\d+)")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Message
    body: bytes

    def __getitem__(self, name: str) -> str:
        return str(self.headers[name])

    @property
    def etag(self) -> str:
        return self["ETag"]

    def json(self) -> Any:
        return json.loads(self.body)


class Server:
    """A server process; `command` prints its URL on one of its first lines."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str] | None = None, cwd: Path | None = None) -> None:
        self.command, self.cwd = list(command), cwd
        self.env = {**os.environ, **(env or {})}
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""
        self.printed = b""

    @classmethod
    def serve(cls, target: Path | str, data: Path, *options: str, env: Mapping[str, str] | None = None) -> Server:
        """`etagere serve`."""
        given = [] if "--port" in options else ["--port", "0"]
        command = [sys.executable, "-m", "etagere", "serve", str(target), "--data", str(data), *given, *options]
        return cls(command, env)

    def start(self) -> Server:
        self.process = subprocess.Popen(
            self.command, env=self.env, cwd=self.cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.url = self._await_url()
        return self

    def _await_url(self) -> str:
        assert self.process is not None
        assert self.process.stdout is not None
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            self.printed += _read_some(self.process.stdout, deadline - time.monotonic())
            if found := _URL.search(self.printed.decode("utf-8", "replace")):
                return f"http://127.0.0.1:{found[1]}"
            if self.process.poll() is not None:
                self.printed += self.process.stdout.read()
                break
        raise AssertionError(f"no URL in: {self.printed.decode('utf-8', 'replace')}")

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def netloc(self) -> str:
        return urlsplit(self.url).netloc

    def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: Iterable[bytes] | bytes = b""
    ) -> Answer:
        connection = http.client.HTTPConnection(self.netloc, timeout=30)
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # answered before everything was sent
                connection.request(method, path, body or None, dict(headers or {}))
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def get(self, path: str, tag: str | None = None, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("GET", path, {**named, "If-None-Match": tag} if tag else named)

    def query(self, path: str, content: object, **headers: str) -> Answer:
        """QUERY: bytes are a form, anything else is sent as JSON."""
        form = isinstance(content, bytes)
        kind = "application/x-www-form-urlencoded" if form else "application/json"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.request("QUERY", path, {"Content-Type": kind, **named}, body)

    def result(self, path: str, seconds: float = 60, **headers: str) -> Answer:
        """Hold the conversation until something else than 202 and the pending 304 comes."""
        deadline, answer = time.monotonic() + seconds, self.get(path, **headers)
        while answer.status == 202 or (answer.status == 304 and answer.headers["Retry-After"]):
            assert time.monotonic() < deadline, f"{path} is still pending: {answer.headers}"
            time.sleep(0.01)
            answer = self.get(path, answer.etag, **headers)
        return answer

    def stop(self) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.printed += self.process.communicate(timeout=30)[0] or b""
        except ValueError:  # its output was closed already
            self.process.wait(30)
        return self.process.returncode

    def kill(self) -> None:
        """`kill -9` of the main process alone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def _read_some(stream: IO[bytes], seconds: float) -> bytes:
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        return os.read(stream.fileno(), 65536) if selector.select(max(0.0, seconds)) else b""
