"""HTTP/1.1 over plain sockets, so that the client costs as little as it can."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Self

SECONDS = 30.0


@dataclass(frozen=True)
class Answer:
    """One answer; the names of the fields are in lower case."""

    status: int
    fields: list[tuple[str, str]]
    content: bytes

    @property
    def tag(self) -> str:
        """The entity tag, empty where there is none."""
        return dict(self.fields).get("etag", "")

    def expect(self, status: int) -> Self:
        """This answer; SystemExit where it has another status."""
        if self.status != status:
            raise SystemExit(f"benchmarks: answered {self.status} instead of {status}: {self.content[:500]!r}")
        return self


@dataclass(frozen=True)
class Server:
    """A server process that is ready."""

    host: str
    port: int
    pid: int

    def connect(self) -> socket.socket:
        """A new connection."""
        connection = socket.create_connection((self.host, self.port), timeout=SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def request(self, target: str, tag: str = "", key: str = "", prefer: str = "") -> bytes:
        """A GET, conditional where there is a tag, with a key if there is one, that waits where it prefers to."""
        fields = f"If-None-Match: {tag}\r\n" if tag else ""
        fields += f"Authorization: Bearer {key}\r\n" if key else ""
        fields += f"Prefer: {prefer}\r\n" if prefer else ""
        return f"GET {target} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n{fields}\r\n".encode("ascii")

    def get(self, target: str, tag: str = "") -> Answer:
        """One GET on a connection of its own."""
        with self.session() as session:
            return session.get(target, tag)

    @contextmanager
    def session(self, key: str = "") -> Iterator[Session]:
        """Several GETs on one connection, with a key if there is one."""
        with closing(self.connect()) as connection:
            yield Session(self, connection, key)


class Session:
    """One connection that is used again and again."""

    def __init__(self, server: Server, connection: socket.socket, key: str) -> None:
        self._server = server
        self._connection = connection
        self._key = key

    def get(self, target: str, tag: str = "", prefer: str = "") -> Answer:
        """One GET.

        Raises:
            ConnectionError: the server closed the connection.
        """
        self._connection.sendall(self._server.request(target, tag, self._key, prefer))
        arriving = Arriving(self._connection)
        while not arriving.read():
            pass
        return arriving.answer()

    def result(self, target: str) -> Answer:
        """The 200, asked for every millisecond."""
        answer, deadline = self.get(target), time.monotonic() + SECONDS
        while answer.status in (202, 304) and time.monotonic() < deadline:
            time.sleep(0.001)
            answer = self.get(target, answer.tag)
        return answer.expect(200)


class Arriving:
    """An answer on its way in."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._bytes = b""

    def read(self) -> bool:
        """Take what has come; whether that is all."""
        chunk = self._connection.recv(65536)
        if not chunk:
            raise ConnectionError("closed before the answer was complete")
        self._bytes += chunk
        head, end, content = self._bytes.partition(b"\r\n\r\n")
        if not end:
            return False
        _, found, length = head.lower().partition(b"\r\ncontent-length:")
        return not found or head[9:12] == b"304" or len(content) >= int(length.partition(b"\r\n")[0])

    def answer(self) -> Answer:
        """The answer that is complete."""
        head, _, content = self._bytes.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        fields = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        return Answer(int(status[9:12]), fields, content)


class Crowd:
    """Many connections, opened beforehand, that send at once."""

    def __init__(self, server: Server, size: int) -> None:
        self._server = server
        self._connections = [server.connect() for _ in range(size)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections:
            connection.close()

    def get(self, requests: Sequence[bytes]) -> tuple[float, list[Answer]]:
        """Send one request on each connection; the seconds until the last has its answer, and the answers."""
        waiting = [Arriving(connection) for connection in self._connections[: len(requests)]]
        with selectors.DefaultSelector() as selector:
            for connection, arriving in zip(self._connections, waiting, strict=False):
                selector.register(connection, selectors.EVENT_READ, arriving)
            began = time.perf_counter()
            for connection, request in zip(self._connections, requests, strict=False):
                connection.sendall(request)
            while selector.get_map():
                for key, _ in _ready(selector):
                    if key.data.read():
                        selector.unregister(key.fileobj)
            return time.perf_counter() - began, [arriving.answer() for arriving in waiting]


def _ready(selector: selectors.BaseSelector) -> list[tuple[selectors.SelectorKey, int]]:
    found = selector.select(SECONDS)
    if not found:
        raise TimeoutError(f"no answer within {SECONDS:.0f} s")
    return found
