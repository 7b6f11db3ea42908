"""nginx and Caddy with TLS in front of a service, with the configurations of deploy/ and a certificate made here."""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from judges.proxies import Nginx, Proxy
from tests.harness import Answer

NAME, PASSWORD = "ada", "shelves"
BASIC = {"Authorization": f"Basic {base64.b64encode(f'{NAME}:{PASSWORD}'.encode()).decode()}"}
HOST = "models.example.org"


def certify(folder: Path) -> tuple[Path, Path]:
    """A certificate for HOST that is its own authority, and its key."""
    certificate, key = folder / "fullchain.pem", folder / "privkey.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}", "-out", certificate, "-keyout", key,
        ],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    return certificate, key


class _Connection(http.client.HTTPSConnection):
    """To a port of loopback, by the public name."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        super().__init__(HOST, 443, timeout=30, context=context)
        self._create_connection = lambda _, *rest: socket.create_connection(("127.0.0.1", port), *rest)


class TLS(Proxy):
    """A proxy that is spoken to by TLS, with a name and a password unless `Authorization` is given."""

    def __init__(self, folder: Path, upstream: int) -> None:
        self.certificate, self.key = certify(folder)
        self.users = folder / "users"
        super().__init__(folder, upstream)

    def connect(self) -> http.client.HTTPSConnection:
        """A connection that checks the certificate and the name."""
        return _Connection(self.port, ssl.create_default_context(cafile=str(self.certificate)))

    def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: Iterable[bytes] | bytes = b""
    ) -> Answer:
        """One request on a connection of its own."""
        connection = self.connect()
        try:
            with suppress(
                BrokenPipeError, ConnectionResetError, ssl.SSLEOFError
            ):  # answered before everything was sent
                connection.request(method, path, body or None, {**BASIC, **(headers or {})})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()


class NginxTLS(TLS, Nginx):
    """nginx with TLS."""

    file = "nginx-tls.conf"

    def places(self, upstream: int) -> dict[str, str]:
        """Ports and files."""
        return {
            "server 127.0.0.1:8000": f"server 127.0.0.1:{upstream}",
            "listen 443": f"listen 127.0.0.1:{self.port}",
            "/etc/ssl/etagere/fullchain.pem": str(self.certificate),
            "/etc/ssl/etagere/privkey.pem": str(self.key),
            "/etc/nginx/etagere.users": str(self.users),
        }

    def prepare(self) -> list[str]:
        """The one who may ask, besides."""
        crypt = ["openssl", "passwd", "-6", PASSWORD]
        hashed = subprocess.run(crypt, capture_output=True, text=True, check=True, timeout=30).stdout
        self.users.write_text(f"{NAME}:{hashed}")
        return super().prepare()


class Caddy(TLS):
    """Caddy, on another port than 443 and without asking an authority for certificates."""

    program, file = "caddy", "Caddyfile"

    def places(self, upstream: int) -> dict[str, str]:
        """Ports and files."""
        return {
            "reverse_proxy 127.0.0.1:8000": f"reverse_proxy 127.0.0.1:{upstream}",
            "\tauto_https": f"\tadmin off\n\thttps_port {self.port}\n\tdefault_bind 127.0.0.1\n\tauto_https",
            "\tservers {\n": "\tservers {\n\t\tprotocols h1 h2\n",
            f"{HOST} {{\n": f"{HOST} {{\n\ttls {self.certificate} {self.key}\n",
            "/etc/caddy/etagere.users": str(self.users),
        }

    def prepare(self) -> list[str]:
        """The one who may ask, and the command."""
        program = str(self.found())
        hashed = subprocess.run(
            [program, "hash-password", "--plaintext", PASSWORD], capture_output=True, text=True, check=True, timeout=30
        )
        self.users.write_text(f"{NAME} {hashed.stdout}")
        return [
            "env", f"XDG_DATA_HOME={self.folder}", f"XDG_CONFIG_HOME={self.folder}",
            program, "run", "--adapter", "caddyfile", "--config", str(self.configuration),
        ]  # fmt: skip


TERMINATORS: dict[str, type[TLS]] = {"nginx": NginxTLS, "Caddy": Caddy}
