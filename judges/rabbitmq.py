"""RabbitMQ in a directory of its own: on free loopback ports, with a cookie of its own, stopped by its pid."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from tests.valkey import free_port

PLACES = ("/usr/lib/rabbitmq/bin", "/usr/sbin", "/opt/rabbitmq/sbin")
READY_SECONDS = 90


class RabbitMQ:
    """A broker that keeps what it has when it is started again."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port, distribution, mapper = (free_port() for _ in range(3))
        config = directory / "rabbitmq.conf"
        config.write_text(f"listeners.tcp.local = 127.0.0.1:{self.port}\nloopback_users = none\nlog.console = true\n")
        self._directory = directory
        self._environment = {
            **os.environ,
            "HOME": str(directory),
            "RABBITMQ_NODENAME": f"judge{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(directory / "log"),
            "RABBITMQ_CONFIG_FILE": str(config),
            "RABBITMQ_PID_FILE": str(directory / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
            "ERL_EPMD_PORT": str(mapper),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        self.process: subprocess.Popen[bytes] | None = None

    @classmethod
    def found(cls) -> str | None:
        """The program, where it is installed."""
        return shutil.which("rabbitmq-server", path=os.pathsep.join(PLACES))

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def start(self) -> RabbitMQ:
        program = self.found()
        assert program is not None
        log = (self._directory / "console").open("ab")
        self.process = subprocess.Popen(
            [program], env=self._environment, stdout=log, stderr=log, cwd=self._directory, start_new_session=True
        )
        log.close()
        deadline = time.monotonic() + READY_SECONDS
        while not self._answers():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"RabbitMQ did not start: {(self._directory / 'console').read_text()[-2000:]}")
            time.sleep(0.1)
        return self

    def kill(self) -> None:
        """All of it at once, its port mapper too."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        self.kill()
        self.start()

    def _end(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, number)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self._end_mapper()

    def _end_mapper(self) -> None:
        """The port mapper makes a session of its own, and is known by the port in its environment."""
        mark = f"ERL_EPMD_PORT={self._environment['ERL_EPMD_PORT']}".encode()
        for entry in Path("/proc").iterdir():
            try:
                ours = entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if ours and int(entry.name) != os.getpid():
                with suppress(ProcessLookupError):
                    os.kill(int(entry.name), signal.SIGKILL)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                return bool(connection.recv(8))
        except OSError:
            return False
