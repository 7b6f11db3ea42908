"""JSON Web Tokens over a real server: who has one sees what is its own, and nobody else's."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.harness import Answer, Server
from tests.issuer import AUDIENCE, ISSUER, claims, hmac_token, key, public, publish, sign

from etagere import keys
from etagere.core.canonical import resource_id
from etagere.core.clients import Role

MODELS = Path(__file__).parents[1] / "models" / "access.py"
numbers = itertools.count(os.getpid() * 1000 + 1)


@dataclass
class Place:
    """A service that accepts an issuer's tokens, the file of the issuer's keys, and a key of the service's own."""

    server: Server
    file: Path
    key: str

    def ask(self, target: str, token: str) -> Answer:
        return self.server.get(target, Authorization=f"Bearer {token}")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    data, gates = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("gates")
    file = publish(tmp_path_factory.mktemp("issuer") / "keys.jwks", public("rsa"), public("ec"))
    own = keys.add(data / "keys.json", "alice", Role.client, None, None, time.time())
    given = json.dumps({"issuer": ISSUER, "audience": AUDIENCE, "keys": str(file)})
    with Server.serve(MODELS, data, env={"GATES": str(gates), "ETAGERE_JWT": given}) as server:
        yield Place(server, file, own)


def test_who_has_a_token_sees_what_needs_a_key(place: Place) -> None:
    target, token = f"/keyed?x={next(numbers)}", sign(claims(time.time()))
    assert place.server.get(target).status == 401
    answer = place.server.result(target, Authorization=f"Bearer {token}")
    assert (answer.status, answer["Cache-Control"].partition(",")[0]) == (200, "private")
    other = sign(claims(time.time(), sub="bob"), "ec", "ES256")
    assert place.ask(target, other).status == 200, "the result is shared with all who have a token"
    assert place.ask(target, place.key).status == 200, "and with those who have a key"
    assert place.ask("/-/runs", token).status == 404, "no token makes an operator"


def test_private_results_are_those_of_the_subject_alone(place: Place) -> None:
    x, token = next(numbers), sign(claims(time.time()))
    target = f"/private?x={x}"
    answer = place.server.result(target, Authorization=f"Bearer {token}")
    id = answer.etag[1:33]
    assert (answer.status, id) == (200, resource_id(f"jwt%3Aalice/private@1?gate=&x={x}"))
    again = sign(claims(time.time(), jti="another"), "ec", "ES256")
    assert place.ask(f"/r/{id}/status", again).status == 200
    for other in (place.key, sign(claims(time.time(), sub="bob"))):
        assert place.ask(f"/r/{id}/status", other).status == 404
        own = place.server.result(target, Authorization=f"Bearer {other}")
        assert (own.status, own.etag[1:33] != id) == (200, True)


def test_a_forged_token_is_refused_everywhere(place: Place) -> None:
    now = time.time()
    forged = {
        "another key": sign(claims(now), "rsa-forger", kid="rsa"),
        "expired": sign(claims(now, exp=now - 60)),
        "for others": sign(claims(now, aud="others")),
        "the public key as secret": hmac_token(claims(now), key("rsa").as_pem(private=False)),  # type: ignore[union-attr]
        "nothing": "AAAA",
    }
    for token in forged.values():
        for target in (f"/keyed?x={next(numbers)}", f"/shared?x={next(numbers)}", "/"):
            answer = place.ask(target, token)
            assert (answer.status, answer["WWW-Authenticate"].partition(" ")[0]) == (401, "Bearer")
            assert token not in answer.body.decode()


def test_the_keys_change_under_a_running_service(place: Place) -> None:
    target, old = f"/keyed?x={next(numbers)}", sign(claims(time.time()))
    new = sign(claims(time.time()), "rsa-new")
    assert (place.ask(target, old).status, place.ask(target, new).status) == (202, 401)
    publish(place.file, public("rsa-new"))
    deadline = time.monotonic() + 10
    while place.ask(target, new).status == 401:
        assert time.monotonic() < deadline
    assert place.ask(target, old).status == 401
    publish(place.file, public("rsa"), public("ec"))
    while place.ask(target, old).status == 401:
        assert time.monotonic() < deadline


def test_keys_that_cannot_be_used_keep_it_from_starting(tmp_path: Path) -> None:
    file = publish(tmp_path / "keys.jwks", key("ec").as_dict(private=True))
    given = json.dumps({"issuer": ISSUER, "audience": AUDIENCE, "keys": str(file)})
    server = Server.serve(MODELS, tmp_path / "data", env={"ETAGERE_JWT": given})
    with pytest.raises(AssertionError, match="no URL"):
        server.start()
    assert server.stop() == 2
    said = server.printed.decode()
    assert f"The key set in {file} cannot be used: key 1 is private" in said
    assert str(key("ec").as_dict(private=True)["d"]) not in said
