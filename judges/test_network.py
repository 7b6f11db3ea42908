"""The conversation through TLS, as docs/network.md puts it on a network; and what the linter says of the Dockerfile."""

from __future__ import annotations

import base64
import json
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from judges.service import TagClient
from judges.test_caches import is_pending, poll
from judges.tls import CLIENT, HOST, TERMINATORS, TLS, Keyed, bearer

ROOT = Path(__file__).parents[1]
LARGEST_TARGET = 59_000


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    """A service whose models need a key."""
    with Keyed(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture(scope="module", params=TERMINATORS)
def kind(request: pytest.FixtureRequest) -> type[TLS]:
    """Each program in turn."""
    kind = TERMINATORS[request.param]
    if kind.found() is None or shutil.which("openssl") is None:
        pytest.skip(f"{kind.program} or openssl is not installed")
    return kind


@pytest.fixture(scope="module")
def tls(public: Keyed, kind: type[TLS], tmp_path_factory: pytest.TempPathFactory) -> Iterator[TLS]:
    """TLS in front of the service."""
    with kind(tmp_path_factory.mktemp("tls"), public.port, public.key) as tls:
        yield tls


def gate_of(tls: TLS, what: str) -> str:
    """A gate that no other check uses."""
    return f"{what}{tls.program}"


def test_the_conversation_is_the_same(public: Keyed, tls: TLS) -> None:
    gate, client = gate_of(tls, "same"), TagClient()
    path = f"/gated?gate={gate}"
    assert client.ask(tls, path).status == 202
    assert client.ask(tls, path).status == 304
    public.open(gate)
    answer = poll(client, tls, path)
    assert (answer.status, answer.json()) == (200, {"gate": gate, "version": "1"})
    assert answer["Strict-Transport-Security"] == "max-age=31536000"
    assert answer.etag == public.get(path).etag
    assert client.ask(tls, path).status == 304


def test_a_large_result_and_a_range_of_it(tls: TLS) -> None:
    assert tls.result("/large?fill=7").body == bytes([7]) * (2 << 20)
    part = tls.get("/large?fill=7", Range="bytes=1048570-1048579")
    assert (part.status, part.body) == (206, bytes([7]) * 10)


def test_a_long_target_comes_through_whole(tls: TLS) -> None:
    start = "/length?text="
    answer = tls.result(start + "a" * (LARGEST_TARGET - len(start)))
    assert (answer.status, answer.json()) == (200, LARGEST_TARGET - len(start))


def test_too_long_a_target_is_refused_by_etagere(tls: TLS) -> None:
    answer = tls.get("/length?text=" + "a" * 60_000)
    assert (answer.status, answer["Content-Type"]) == (414, "application/problem+json")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_a_long_target_comes_through_http_2(public: Keyed, tls: TLS) -> None:
    target = "/length?text=" + "b" * 50_000
    assert tls.result(target).status == 200
    to = ["--resolve", f"{HOST}:{tls.port}:127.0.0.1", "--cacert", str(tls.certificate)]
    done = subprocess.run(
        ["curl", "-sS", "--http2", *to, "-w", " %{http_version} %{http_code}", "-K", "-"],
        input=f'url = "https://{HOST}:{tls.port}{target}"\noauth2-bearer = "{public.key}"\n',
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "50000 2 200", done.stderr


def test_a_content_as_large_as_etagere_takes(tls: TLS) -> None:
    assert tls.query("/length", {"text": "a" * (7 << 20)}).status == 303


def test_too_large_a_content_is_refused_for_good(tls: TLS) -> None:
    answer = tls.query("/length", {"text": "a" * ((8 << 20) + 1)})
    # Etagere answers before it has read everything, and Caddy may not hear it. Anything but "ask again" will do.
    assert answer.status == 413 or (answer.status == 502 and tls.program == "caddy")
    assert "Retry-After" not in answer.headers


def test_events_come_as_they_happen(public: Keyed, tls: TLS) -> None:
    gate = gate_of(tls, "events")
    events = f"/r/{tls.get(f'/gated?gate={gate}').etag[3:-1]}/events"
    connection = tls.connect()
    connection.request("GET", events, headers=tls.shown)
    stream = connection.getresponse()
    assert stream.status == 200
    # The gate is shut, so what is read now was not held back until the end.
    while b'"running"' not in stream.readline():
        pass
    public.open(gate)
    assert b'"succeeded"' in stream.read()
    connection.close()


def test_one_who_waits_gets_the_result_and_holds_nobody(public: Keyed, tls: TLS) -> None:
    gate = gate_of(tls, "wait")
    with ThreadPoolExecutor(1) as threads:
        assert tls.get(f"/gated?gate={gate}").status == 202
        waiting = threads.submit(tls.get, f"/gated?gate={gate}", Prefer="wait=15")
        assert tls.get(f"/gated?gate={gate}").status == 202
        assert not waiting.done()
        public.open(gate)
        assert waiting.result().status == 200


JSON = {"Content-Type": "application/json"}
STRANGERS = ["", "Bearer etagere_wrong", "Basic YWRhOndyb25n"]


@pytest.mark.parametrize("shown", STRANGERS)
def test_who_has_no_key_starts_nothing(public: Keyed, tls: TLS, shown: str) -> None:
    path = f"/gated?gate={gate_of(tls, 'stranger')}"
    assert tls.request("GET", path, {"Authorization": shown}).status == 401
    assert public.get(path, Cache_Control="only-if-cached").status == 504
    assert tls.request("POST", "/-/operations/status", JSON | {"Authorization": shown}, b"{}").status == 401


def test_a_key_is_shown_as_a_password_too(public: Keyed, tls: TLS) -> None:
    basic = base64.b64encode(f"whoever:{public.key}".encode()).decode()
    asked = tls.request("GET", "/-/models/gated", {"Authorization": "", "Accept": "text/html"})
    assert (asked.status, "Basic" in asked["WWW-Authenticate"]) == (401, True)
    path = f"/gated?gate={gate_of(tls, 'basic')}"
    assert tls.request("GET", path, {"Authorization": f"Basic {basic}"}).status == 202


def test_an_operator_is_known_by_a_key(public: Keyed, tls: TLS) -> None:
    status = "/-/operations/status"
    done = tls.request("POST", status, JSON | bearer(public.operators_key), b"{}")
    assert (done.status, done.json()["pid"]) == (200, public.pid)
    assert tls.request("POST", status, JSON, b"{}").status == 404


def test_health_is_told_to_whoever_asks(tls: TLS) -> None:
    for kind in ("live", "ready"):
        assert tls.request("GET", f"/-/health/{kind}", {"Authorization": ""}).status == 200


def test_another_host_name_gets_nothing(public: Keyed, tls: TLS) -> None:
    path = f"/gated?gate={gate_of(tls, 'host')}"
    answer = tls.request("GET", path, {"Host": "elsewhere.example"})
    # nginx passes it on, and Etagere refuses it; Caddy answers it with nothing.
    assert answer.status == 421 or (answer.status, answer.body) == (200, b"")
    assert public.get(path, Cache_Control="only-if-cached").status == 504


def test_without_tls_there_is_no_answer(tls: TLS) -> None:
    with socket.create_connection(("127.0.0.1", tls.port), timeout=10) as plain:
        plain.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        assert re.match(rb"HTTP/1.[01] 400 ", plain.recv(4096))


def test_clients_are_told_apart(tmp_path: Path, kind: type[TLS]) -> None:
    nobody = {"Authorization": "", "X-Forwarded-For": "198.51.100.7"}
    with Keyed(tmp_path, "open") as service, kind(tmp_path, service.port, service.key) as tls:
        asked = {
            "127.0.0.1": tls.request("GET", "/gated?gate=near", nobody),
            "127.0.0.2": tls.request_from("127.0.0.2", "GET", "/gated?gate=far", nobody),
            CLIENT: tls.request_from("127.0.0.2", "GET", "/gated?gate=keyed"),
        }
        runs = tls.request("GET", "/-/runs", bearer(service.operators_key)).json()["runs"]
    started = {client: answer.etag[3:-1] for client, answer in asked.items()}
    assert {run["client"]: run["id"] for run in runs} == started


def test_while_the_service_is_away_clients_are_told_to_come_again(tmp_path: Path, kind: type[TLS]) -> None:
    with Keyed(tmp_path) as service, kind(tmp_path, service.port, service.key) as tls:
        client = TagClient()
        assert client.ask(tls, "/gated?gate=away").status == 202
        service.kill()
        away = tls.get("/gated?gate=away", client.tag)
        assert (away.status, away["Retry-After"], away["Cache-Control"]) == (503, "5", "no-store")
        assert (away["Content-Type"], away.json()["status"]) == ("application/problem+json", 503)
        assert tls.query("/gated", b"gate=away").status == 503
        service.restart()
        assert is_pending(client.ask(tls, "/gated?gate=away"))
        service.open("away")
        assert poll(client, tls, "/gated?gate=away").status == 200


class Echo(BaseHTTPRequestHandler):
    """Answers with the fields that it was sent."""

    def do_GET(self) -> None:
        """The fields, as JSON."""
        body = json.dumps(self.headers.items()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def echo() -> Iterator[int]:
    """The port of a server that tells what it was sent."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_the_service_is_told_the_name_and_who_asks(tmp_path: Path, kind: type[TLS]) -> None:
    with echo() as port, kind(tmp_path, port, "shown") as tls:
        sent = tls.get("/", X_Forwarded_For="198.51.100.7", X_Forwarded_Proto="gopher").json()
    fields = [(name.lower(), value) for name, value in sent]
    expected = {"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "https", "authorization": "Bearer shown"}
    for field in expected.items():
        assert [given for given in fields if given[0] == field[0]] == [field]
    assert dict(fields)["host"].partition(":")[0] == HOST


[EXAMPLE] = re.findall(
    r"^```dockerfile\n(.*?)^```", (ROOT / "docs" / "network.md").read_text(), re.MULTILINE | re.DOTALL
)
IMAGES = {"of Etagere": (ROOT / "deploy" / "Dockerfile").read_text(), "of models": EXAMPLE}


def linted(judges_bin: Path, image: str) -> tuple[int, str]:
    """The exit status of hadolint, and what it says."""
    command = [judges_bin / "hadolint", "--no-color", "-"]
    done = subprocess.run(command, input=image, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout


@pytest.mark.parametrize("image", IMAGES)
def test_hadolint_has_nothing_to_say_against_an_image(judges_bin: Path, image: str) -> None:
    assert linted(judges_bin, IMAGES[image]) == (0, "")


def test_hadolint_would_say_something(judges_bin: Path) -> None:
    status, said = linted(judges_bin, "FROM python\nRUN pip install numpy\n")
    assert status == 1
    assert {"DL3006", "DL3013", "DL3042"} <= set(re.findall(r"DL\d+", said))
