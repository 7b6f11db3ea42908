"""nginx, Varnish and Squid with the configurations of deploy/, each on a free port and in a folder of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from judges.service import Service, free_port
from tests.harness import READY_SECONDS, Server

DEPLOY = Path(__file__).parents[1] / "deploy"
LONGER_TARGETS = ("http_req_size=72k", "http_req_hdr_len=64k", "workspace_client=256k", "workspace_backend=256k")


class Proxy(Server):
    """A cache between a client and the service; `changes` replace parts of its configuration."""

    program = ""
    file = ""

    def __init__(self, folder: Path, upstream: int, changes: dict[str, str] | None = None) -> None:
        self.folder, self.port = folder, free_port()
        text = (DEPLOY / self.file).read_text()
        for written, meant in {**self.places(upstream), **(changes or {})}.items():
            assert written in text, f"{self.file} lacks {written}"
            text = text.replace(written, meant)
        self.configuration = folder / self.file
        self.configuration.write_text(text)
        super().__init__(self.prepare())

    @classmethod
    def found(cls) -> str | None:
        """Where the program is, None if it is not installed."""
        return shutil.which(cls.program, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")

    def places(self, upstream: int) -> dict[str, str]:
        """What has to be replaced to run here."""
        raise NotImplementedError

    def prepare(self) -> list[str]:
        """What else it needs in its folder, and the command."""
        raise NotImplementedError

    def _await_url(self) -> str:
        assert self.process is not None
        deadline = time.monotonic() + READY_SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except ConnectionRefusedError:
                time.sleep(0.05)
            else:
                return f"http://127.0.0.1:{self.port}"
        self.stop()
        raise AssertionError(f"{self.program} did not start: {self.printed.decode()}")


class Nginx(Proxy):
    """nginx with proxy_cache."""

    program, file = "nginx", "nginx.conf"

    def places(self, upstream: int) -> dict[str, str]:
        """Ports and the folder of the cache."""
        return {
            "server 127.0.0.1:8000": f"server 127.0.0.1:{upstream}",
            "listen 127.0.0.1:8080": f"listen 127.0.0.1:{self.port}",
            "/var/cache/nginx/etagere": str(self.folder / "cache"),
        }

    def prepare(self) -> list[str]:
        """The configuration that includes the one of deploy/."""
        temporary = "".join(
            f"{kind}_temp_path {self.folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        main = self.folder / "main.conf"
        main.write_text(
            f"daemon off; worker_processes 1; user {getpass.getuser()}; pid {self.folder}/pid; error_log stderr;"
            f"events {{}} http {{ access_log off; {temporary} include {self.configuration}; }}"
        )
        return [str(self.found()), "-p", str(self.folder), "-c", str(main), "-e", "stderr"]


class Varnish(Proxy):
    """Varnish in memory."""

    program, file = "varnishd", "default.vcl"

    def places(self, upstream: int) -> dict[str, str]:
        """The upstream's port; its own is on the command line."""
        return {'"8000"': f'"{upstream}"'}

    def prepare(self) -> list[str]:
        """The command, with the parameters that the file names."""
        parameters = [word for setting in LONGER_TARGETS for word in ("-p", setting)]
        place = ["-a", f"127.0.0.1:{self.port}", "-n", str(self.folder / "work"), "-s", "malloc,64m"]
        return [str(self.found()), "-F", "-j", "none", *place, "-f", str(self.configuration), *parameters]


class Squid(Proxy):
    """Squid as an accelerator, in memory and on disk."""

    program, file = "squid", "squid.conf"

    def places(self, upstream: int) -> dict[str, str]:
        """Ports and the folder of the cache."""
        return {
            "http_port 127.0.0.1:3128": f"http_port 127.0.0.1:{self.port}",
            "defaultsite=127.0.0.1:8000": f"defaultsite=127.0.0.1:{upstream}",
            "parent 8000": f"parent {upstream}",
            "cache_dir ufs /var/spool/squid 10240 16 256": "",
        }

    def prepare(self) -> list[str]:
        """Nothing on disk, so that it may run as its own user; and a quick stop."""
        with self.configuration.open("a") as file:
            file.write(
                "pid_filename none\ncache_log /dev/null\naccess_log none\nnetdb_filename none\npinger_enable off\n"
                "shutdown_lifetime 0 seconds\nvisible_hostname judged\n"
            )
        return [str(self.found()), "-N", "-d", "1", "-f", str(self.configuration), "-n", f"judged{self.port}"]


PROXIES: dict[str, type[Proxy]] = {"nginx": Nginx, "Varnish": Varnish, "Squid": Squid}


@contextmanager
def between(service: Service, kind: type[Proxy] | None, folder: Path) -> Iterator[Server]:
    """A new cache of this kind in front of the service; without a kind the service itself."""
    if kind is None:
        yield service
        return
    with kind(folder, service.port) as proxy:
        yield proxy
