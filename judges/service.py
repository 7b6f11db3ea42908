"""The service that is judged: it keeps its port over a restart, as it would behind a proxy."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.harness import Answer, Server

MODEL = Path(__file__).with_name("model.py")


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Service(Server):
    """`etagere serve` of the judges' model; `settings` are environment variables."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.gates = folder / "gates"
        self.gates.mkdir(exist_ok=True)
        self.port = free_port()
        served = Server.serve(MODEL, folder / "data", "--port", str(self.port), env={"GATES": str(self.gates)})
        super().__init__(served.command, {**served.env, **settings})

    def open(self, gate: str) -> None:
        """Let the runs at a gate go on."""
        (self.gates / gate).touch()

    def restart(self, **settings: str) -> None:
        """`kill -9`, then a new start."""
        self.kill()
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.printed = b""
        self.env.update(settings)
        self.start()


class TagClient:
    """Sends back the tag it was last given, as `curl --etag-save --etag-compare` does, and keeps the body of a 200."""

    def __init__(self) -> None:
        self.tag: str | None = None
        self.body: bytes | None = None

    def ask(self, server: Server, path: str) -> Answer:
        """One request; its answer."""
        answer = server.get(path, self.tag)
        self.tag = answer.headers["ETag"] or self.tag
        self.body = answer.body if answer.status == 200 else self.body
        return answer


class PlainClient(TagClient):
    """Knows nothing of tags, and asks until there is a 200."""

    def ask(self, server: Server, path: str) -> Answer:
        """One request; its answer."""
        self.tag = None
        return super().ask(server, path)
