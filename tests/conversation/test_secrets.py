"""Keys and tokens stand in no log, error or metric, wherever a client puts them; no client's name breaks a line."""

from __future__ import annotations

import base64
import json
import re
import secrets
import shlex
import time
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.harness import Answer, Server
from tests.issuer import AUDIENCE, ISSUER, claims, public, publish, sign

from etagere import keys
from etagere.core.canonical import encode
from etagere.core.clients import Role

MODELS = Path(__file__).parents[1] / "models" / "access.py"
ESCAPES = "\x9b31m\x85forged\xad"
"""What steers a terminal and comes through: the server itself refuses fields with characters below these."""
SUBJECT = "nina é%20 [1m"
HOSTILE_SUBJECT = "forged\n12:00:00 error   forged\x1b[2J"


@dataclass
class Told:
    """A service that was shown secrets in every way, the secrets, and what it answered and logged."""

    server: Server
    log: Path
    secrets: dict[str, str]
    answers: list[tuple[str, Answer]] = field(default_factory=list)

    def ask(self, how: str, method: str, target: str, body: bytes = b"", **fields: str) -> None:
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        self.answers.append((how, self.server.request(method, target, named, body)))

    def show(self, secret: str) -> None:
        """Everywhere that a credential may be put, by right or by mistake."""
        basic = base64.b64encode(f"whoever:{secret}".encode()).decode()
        backwards = base64.b64encode(f"{secret}:x".encode()).decode()
        for field_ in (f"Bearer {secret}", f"bearer  {secret} ", f"Basic {basic}", f"Basic {backwards}", secret):
            for target in ("/keyed?x=1", "/private?x=0", "/shared?x=-1", "/-/runs", "/-/nothing", "/keyed?x=a"):
                for accept in ("application/json", "text/html"):
                    self.ask("in Authorization", "GET", target, Authorization=field_, Accept=accept)
        for target in (
            f"/shared?x=1&access_token={secret}", f"/keyed?key={secret}", f"/shared?x={secret}", f"/shared?{secret}",
            f"/{secret}?x=1", f"/r/{secret}", f"/r/{'a' * 32}/{secret}", f"/-/{secret}", f"/shared.{secret}?x=1",
            f"/-/models/shared?x=1&token={secret}", f"/-/problems/{secret}", f"/shared@{secret}?x=1",
        ):  # fmt: skip
            for accept in ("application/json", "text/html"):
                self.ask("in the target", "GET", target, Accept=accept)
        json_type = {"Content_Type": "application/json"}
        self.ask("in a content", "QUERY", "/shared", json.dumps({"x": 1, "key": secret}).encode(), **json_type)
        self.ask("in a content", "POST", "/-/operations/status", json.dumps({"key": secret}).encode(), **json_type)
        self.ask("elsewhere", "GET", "/shared?x=0", Cookie=f"key={secret}", Referer=f"http://x/?key={secret}")
        self.ask("elsewhere", "GET", "/shared?x=2", X_Forwarded_For=f"{secret}{ESCAPES}", X_Api_Key=secret)


@pytest.fixture(scope="module", params=["for people", "JSON"])
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Told:
    data = tmp_path_factory.mktemp("data")
    file, now = data / "keys.json", time.time()
    issuer = publish(tmp_path_factory.mktemp("issuer") / "keys.jwks", public("rsa"))
    shown = {
        "a key": keys.add(file, "alice", Role.client, None, None, now),
        "an operator's key": keys.add(file, "olga", Role.operator, None, None, now),
        "a key that has expired": keys.add(file, "late", Role.client, None, now - 1, now - 9),
        "a key of nobody": "etagere_" + secrets.token_urlsafe(32),
        "a key that was cut": keys.add(file, "cut", Role.client, None, None, now)[:-3],
        "a token": sign(claims(now, sub=SUBJECT)),
        "a token that has expired": sign(claims(now, exp=now - 99)),
        "a token of another issuer": sign(claims(now), "rsa-forger", kid="rsa"),
        "a token of a hostile subject": sign(claims(now, sub=HOSTILE_SUBJECT)),
        "a token without its signature": sign(claims(now)).rpartition(".")[0],
    }
    given = json.dumps({"issuer": ISSUER, "audience": AUDIENCE, "keys": str(issuer)})
    env = {"ETAGERE_JWT": given, "ETAGERE_TRUSTED_PROXIES": '["127.0.0.1"]', "GATES": ""}
    options = ["--access-log"] + (["--log-json"] if request.param == "JSON" else [])
    log = data / "log"
    serve = Server.serve(MODELS, data, *options).command
    # A pipe that nobody reads would fill up.
    with Server(["bash", "-c", f"exec {shlex.join(serve)} 2>{log}"], env) as server:
        told = Told(server, log, shown)
        for secret in shown.values():
            told.show(secret)
        for name, key in (("alice", shown["a key"]), ("nina", shown["a token"])):
            assert server.result("/private?x=3", Authorization=f"Bearer {key}").status == 200, name
        for forwarded in (f"192.0.2.9{ESCAPES}", f"192.0.2.7, {ESCAPES}", "198.51.100.7", "2001:db8::1"):
            told.ask("forwarded", "GET", "/shared?x=3", X_Forwarded_For=forwarded)
        told.ask("unreadable", "GET", "/keyed?x=4", Authorization=f"Bearer {shown['a key']}{ESCAPES}")
        told.ask("metrics", "GET", "/-/metrics")
        told.ask("lists", "GET", "/-/runs", Authorization="Bearer " + shown["an operator's key"])
    return told


def test_no_answer_repeats_a_secret(told: Told) -> None:
    for how, answer in told.answers:
        text = answer.body.decode() + str(answer.headers)
        assert [name for name, secret in told.secrets.items() if secret in text] == [], (how, answer.status)


def test_no_secret_is_logged(told: Told) -> None:
    printed = told.log.read_text()
    assert len(re.findall(r"info    request |\"event\": \"request\"", printed)) >= len(told.answers)
    assert [name for name, secret in told.secrets.items() if secret in printed] == []
    basic = [base64.b64encode(f"whoever:{secret}".encode()).decode() for secret in told.secrets.values()]
    assert [text for text in basic if text in printed] == []


def test_the_log_has_a_line_for_each_event_and_nothing_else(told: Told) -> None:
    lines = told.log.read_text().removesuffix("\n").split("\n")
    assert all(unicodedata.category(c)[0] != "C" for line in lines for c in line)
    events = [line for line in lines if not line.startswith("    ")]
    assert [line for line in events if not re.match(r"\d\d:\d\d:\d\d (info|warning|error) |\{.*\}$", line)] == []
    assert not any(re.match(r".{8} error +forged", line) for line in events)


def test_clients_go_by_their_names(told: Told) -> None:
    named = {client_of(line) for line in told.log.read_text().split("\n") if "request" in line}
    assert named == {
        "127.0.0.1", "alice", "olga", f"jwt:{encode(SUBJECT)}", "198.51.100.7", "2001:db8::/64",
    }  # fmt: skip


def client_of(line: str) -> Any:
    if line.startswith("{"):
        return json.loads(line)["client"]
    return line.rpartition(" client=")[2]
