"""What a result of 1 GiB costs: the service's memory, and its rate against two others that send the same file."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from benchmarks.client import Server
from benchmarks.figures import Figure, at_least
from benchmarks.load import in_turn
from benchmarks.memory import private_kib
from benchmarks.servers import bare_file, service

SIZE = 1 << 30
TARGET = f"/file?size={SIZE}"
ROUNDS = 5
PIECE = 1 << 20
GROWTH_MIB = 32
RESULT_SECONDS, START_SECONDS = 60.0, 10.0
BARE, NGINX = 0.9, 0.6
NGINX_CONF = """
daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log {folder}/log;
events {{}}
http {{
    access_log off; sendfile on; default_type application/octet-stream;
    client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
    uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
    server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


def measure() -> Iterator[Figure]:
    """The figures, as they are found."""
    with tempfile.TemporaryDirectory(prefix="etagere-benchmark-") as folder, service() as server:
        file = Path(folder, "file")
        with file.open("wb") as made:
            made.truncate(SIZE)
        _make(server)
        whole, part = Download(server, TARGET), Download(server, TARGET, "bytes=1-")
        yield _growth(whole, "sent")
        yield _growth(part, "sent as a range")
        with bare_file(file) as bare:
            ratio, found = in_turn(ROUNDS, whole.rate, Download(bare, "/").rate)
            yield at_least("rate of a result of 1 GiB", ratio, BARE, f"bare ({found:,.0f} MiB/s)")
        yield _against_nginx(whole, file)
        ratio, found = in_turn(ROUNDS, part.rate, whole.rate)
        yield Figure("rate of all but its first byte, as a range", f"{ratio:.2f} × the whole", "none", met=True)


class Download:
    """A large answer that is received, counted and forgotten."""

    def __init__(self, server: Server, target: str, ranges: str = "") -> None:
        self.server = server
        asked = f"Range: {ranges}\r\n" if ranges else ""
        self._request = server.request(target).removesuffix(b"\r\n") + f"{asked}\r\n".encode("ascii")
        self._buffer = memoryview(bytearray(PIECE))

    def rate(self) -> float:
        """MiB per second."""
        began = time.perf_counter()
        received = sum(self.pieces())
        return received / PIECE / (time.perf_counter() - began)

    def pieces(self) -> Iterator[int]:
        """The lengths of what arrives, until the answer is complete."""
        with closing(self.server.connect()) as connection:
            connection.sendall(self._request)
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(1)
            length = re.search(rb"\r\ncontent-length: *([0-9]+)", head, re.IGNORECASE)
            if head[9:12] not in (b"200", b"206") or length is None:
                raise SystemExit(f"benchmarks: answered {head!r}")
            left = int(length[1])
            while left and (piece := connection.recv_into(self._buffer)):
                left -= piece
                yield piece
        if left:
            raise SystemExit(f"benchmarks: {left} bytes of a large answer are missing")


def _make(server: Server) -> None:
    """Have the result computed."""
    id = server.get(TARGET).expect(202).tag[3:-1]
    deadline = time.monotonic() + RESULT_SECONDS
    while b'"succeeded"' not in server.get(f"/r/{id}/status").expect(200).content:
        if time.monotonic() > deadline:
            raise SystemExit("benchmarks: the result of 1 GiB does not come")
        time.sleep(0.2)


def _growth(download: Download, how: str) -> Figure:
    before = peak = private_kib(download.server.pid)
    for n, _ in enumerate(download.pieces()):
        if n % 256 == 0:
            peak = max(peak, private_kib(download.server.pid))
    grown = (peak - before) / 1024
    return Figure(
        f"growth of memory while 1 GiB is {how}", f"{grown:.1f} MiB", f"< {GROWTH_MIB} MiB", grown < GROWTH_MIB
    )


def _against_nginx(whole: Download, file: Path) -> Figure:
    what = "the same against nginx"
    if shutil.which("nginx") is None:
        return Figure(what, "skipped: nginx is not installed", f"≥ {NGINX}", met=True)
    with _nginx(file) as nginx:
        ratio, found = in_turn(ROUNDS, whole.rate, nginx.rate)
    return at_least(what, ratio, NGINX, f"nginx ({found:,.0f} MiB/s)")


@contextmanager
def _nginx(file: Path) -> Iterator[Download]:
    """One nginx process that sends the file by its own means."""
    folder = file.parent / "nginx"
    folder.mkdir()
    server = Server("127.0.0.1", _free_port(), 0)
    configuration = folder / "conf"
    configuration.write_text(NGINX_CONF.format(folder=folder, port=server.port, root=file.parent))
    with subprocess.Popen(["nginx", "-p", str(folder), "-e", f"{folder}/log", "-c", str(configuration)]) as process:
        try:
            _await(server)
            yield Download(server, f"/{file.name}")
        finally:
            process.terminate()


def _await(server: Server) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            server.connect().close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
