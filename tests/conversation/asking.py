"""A request whose answer is awaited apart from it, and models behind gates."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import select
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from tests.harness import Answer, Server

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "tests" / "models" / "conversation.py"
HELD_SECONDS = 0.4
numbers = itertools.count(os.getpid() * 1000)


class Asking:
    """A request that has been sent, on a connection of its own."""

    def __init__(self, server: Server, path: str, method: str = "GET", **headers: str) -> None:
        host, _, port = server.netloc.partition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=30)
        fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        self._socket.sendall(f"{method} {path} HTTP/1.1\r\nHost: {server.netloc}\r\n{fields}\r\n".encode())
        self.response = http.client.HTTPResponse(self._socket, method=method)

    def __enter__(self) -> Asking:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.leave()

    def held(self, seconds: float = HELD_SECONDS) -> bool:
        """Whether nothing comes for some time."""
        return not select.select([self._socket], [], [], seconds)[0]

    def answer(self) -> Answer:
        self.response.begin()
        return Answer(self.response.status, self.response.headers, self.response.read())

    def begin(self) -> http.client.HTTPMessage:
        """The fields; the content is read apart."""
        self.response.begin()
        return self.response.headers

    def events(self) -> Iterator[dict[str, str]]:
        """The events of a stream as they come, comments as `{"comment": …}`."""
        found: dict[str, str] = {}
        while line := self.response.readline().decode():
            if line == "\n":
                yield found
                found = {}
            else:
                name, _, value = line.rstrip("\n").partition(":")
                found[name or "comment"] = value.strip()

    def leave(self) -> None:
        with contextlib.suppress(OSError):
            self.response.close()
        self._socket.close()


class Gates:
    """FIFOs at which runs of the model `gated` wait."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.env = {"GATES": str(directory)}

    def new(self) -> str:
        """The name of a closed gate."""
        name = f"g{next(numbers)}"
        os.mkfifo(self.directory / name)
        return name

    def open(self, name: str) -> None:
        """Let the run through; returns when it has come."""
        with open(self.directory / name, "w"):
            pass


def served(kind: str, data: Path, gates: Gates, **settings: str) -> Server:
    """The models on another ASGI server too, since each has its own way to tell that a client has gone."""
    env = {**gates.env, **{f"ETAGERE_{name.upper()}": value for name, value in settings.items()}}
    if kind == "granian":
        return Server.serve(MODELS, data, env=env)
    command = [sys.executable, "-m", "uvicorn", "--http", kind, "--port", "0", "tests.models.conversation:app"]
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return Server(command, {**env, "ETAGERE_DATA": str(data), "PYTHONPATH": paths}, ROOT)
