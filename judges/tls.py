"""nginx and Caddy with TLS in front of a service, with the configurations of deploy/ and a certificate made here."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import subprocess
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from judges.proxies import Nginx, Proxy
from judges.service import Service
from tests.harness import Answer

from etagere import keys
from etagere.core.clients import Role

HOST = "models.example.org"
CLIENT, OPERATOR = "ada", "olga"


def bearer(key: str) -> dict[str, str]:
    """The field that shows a key."""
    return {"Authorization": f"Bearer {key}"}


class Keyed(Service):
    """A service that knows its public name and has keys, and is told by a proxy for whom that asks."""

    def __init__(self, folder: Path, access: str = "keyed") -> None:
        file = folder / "keys.json"
        self.key = keys.add(file, CLIENT, Role.client, None, None, time.time())
        self.operators_key = keys.add(file, OPERATOR, Role.operator, None, None, time.time())
        super().__init__(
            folder,
            ETAGERE_KEYS=str(file),
            ETAGERE_ACCESS=access,
            ETAGERE_ALLOWED_HOSTS=json.dumps([HOST]),
            ETAGERE_TRUSTED_PROXIES='["127.0.0.1"]',
        )

    def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: Iterable[bytes] | bytes = b""
    ) -> Answer:
        """With the key unless `Authorization` is given."""
        return super().request(method, path, {**bearer(self.key), **(headers or {})}, body)


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
    """To a port of loopback from an address of it, by the public name."""

    def __init__(self, port: int, context: ssl.SSLContext, source: str) -> None:
        super().__init__(HOST, 443, timeout=30, context=context, source_address=(source, 0))
        self._create_connection = lambda _, *rest: socket.create_connection(("127.0.0.1", port), *rest)


class TLS(Proxy):
    """A proxy that is spoken to by TLS, with a key of the service unless `Authorization` is given."""

    def __init__(self, folder: Path, upstream: int, key: str) -> None:
        self.certificate, self.certificate_key = certify(folder)
        self.shown = bearer(key)
        super().__init__(folder, upstream)

    def connect(self, source: str = "127.0.0.1") -> http.client.HTTPSConnection:
        """A connection that checks the certificate and the name."""
        return _Connection(self.port, ssl.create_default_context(cafile=str(self.certificate)), source)

    def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: Iterable[bytes] | bytes = b""
    ) -> Answer:
        """One request on a connection of its own."""
        return self.request_from("127.0.0.1", method, path, headers, body)

    def request_from(
        self,
        source: str,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: Iterable[bytes] | bytes = b"",
    ) -> Answer:
        """The same from another address."""
        connection = self.connect(source)
        try:
            with suppress(
                BrokenPipeError, ConnectionResetError, ssl.SSLEOFError
            ):  # answered before everything was sent
                connection.request(method, path, body or None, {**self.shown, **(headers or {})})
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
            "/etc/ssl/etagere/privkey.pem": str(self.certificate_key),
        }


class Caddy(TLS):
    """Caddy, on another port than 443 and without asking an authority for certificates."""

    program, file = "caddy", "Caddyfile"

    def places(self, upstream: int) -> dict[str, str]:
        """Ports and files."""
        return {
            "reverse_proxy 127.0.0.1:8000": f"reverse_proxy 127.0.0.1:{upstream}",
            "\tauto_https": f"\tadmin off\n\thttps_port {self.port}\n\tdefault_bind 127.0.0.1\n\tauto_https",
            "\tservers {\n": "\tservers {\n\t\tprotocols h1 h2\n",
            f"{HOST} {{\n": f"{HOST} {{\n\ttls {self.certificate} {self.certificate_key}\n",
        }

    def prepare(self) -> list[str]:
        """The command."""
        return [
            "env", f"XDG_DATA_HOME={self.folder}", f"XDG_CONFIG_HOME={self.folder}",
            str(self.found()), "run", "--adapter", "caddyfile", "--config", str(self.configuration),
        ]  # fmt: skip


TERMINATORS: dict[str, type[TLS]] = {"nginx": NginxTLS, "Caddy": Caddy}
