"""The keys of JSON Web Tokens: which may be in a set, what becomes of tokens when it changes, what is remembered."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import OctKey, RSAKey
from tests.issuer import AUDIENCE, ISSUER, claims, key, public, publish, sign

from etagere import front, jwks, tokens
from etagere.config import Jwt, Settings
from etagere.errors import StartError, Unauthorized
from etagere.testing.samples import EPOCH, ManualClock
from etagere.tokens import LEEWAY_S, LOOKED_AFTER_S, Tokens

NOW = EPOCH


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return publish(tmp_path / "keys.jwks", public("rsa"), public("ec"))


def given(file: Path, **more: Any) -> Jwt:
    return Jwt(issuer=ISSUER, audience=AUDIENCE, keys=file, **more)


@pytest.fixture
def ours(file: Path, clock: ManualClock) -> Tokens:
    return Tokens(given(file), clock)


def refused(ours: Tokens, token: str) -> str:
    with pytest.raises(Unauthorized) as caught:
        ours.client(token)
    return caught.value.detail


def unusable(file: Path, content: bytes | None = None, **more: Any) -> str:
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(StartError) as caught:
        Tokens(given(file, **more), ManualClock())
    assert str(file) in str(caught.value)
    return str(caught.value)


def test_a_key_set_must_be_one(tmp_path: Path, file: Path) -> None:
    assert "No such file" in unusable(tmp_path / "absent")
    assert "Is a directory" in unusable(tmp_path)
    for content in (b"", b"{", b"[]", b"null", b'{"Keys": []}', b"\xff", key("rsa").as_pem()):  # type: ignore[union-attr]
        assert 'no JSON object with "keys"' in unusable(file, content)
    assert "no array" in unusable(file, b'{"keys": {}}')
    assert "no array of at most 100" in unusable(file, json.dumps({"keys": [public("ec")] * 101}).encode())
    assert "larger than" in unusable(file, b" " * ((1 << 20) + 1))
    assert "no key for a signature by RS256, PS256" in unusable(file, b'{"keys": []}')


def short() -> dict[str, Any]:
    with pytest.warns(Warning, match="2048"):
        return {**RSAKey.generate_key(1024).as_dict(private=False)}


BAD: dict[str, tuple[Callable[[], object], str]] = {
    "private": (lambda: key("ec").as_dict(private=True), "key 2 is private"),
    "private, of a use that is no matter": (lambda: {**key("rsa").as_dict(private=True), "use": "enc"}, "is private"),
    "symmetric": (lambda: OctKey.generate_key(256).as_dict(), "key 2 is symmetric"),
    "symmetric and nothing else": (lambda: {"kty": "oct"}, "is symmetric"),
    "not on the curve": (lambda: public("ec", x=public("rsa")["n"][:43]), "no valid EC key"),
    "without its number": (lambda: public("rsa", n=None), "no valid RSA key"),
    "its number is a list": (lambda: public("rsa", n=[1]), "no valid RSA key"),
    "its name is a number": (lambda: public("rsa", kid=5), "no valid RSA key"),
    "its exponent is even": (lambda: public("rsa", e="Ag"), "no valid RSA key"),
    "short": (short, "shorter than 2048 bits"),
    "no object": (lambda: "key", "key 2 is no object"),
}


@pytest.mark.parametrize(("jwk", "reason"), BAD.values(), ids=BAD.keys())
def test_a_key_must_be_public_and_whole(file: Path, jwk: Callable[[], object], reason: str) -> None:
    bad = jwk()
    publish(file, public("rsa"), bad)
    said = unusable(file)
    assert reason in said
    for told in bad.values() if isinstance(bad, dict) else ():
        assert not isinstance(told, str) or len(told) < 16 or told not in said


OTHER: dict[str, Callable[[], dict[str, Any]]] = {
    "for encryption": lambda: public("rsa-other", use="enc"),
    "of another use": lambda: public("rsa-other", use="tls"),
    "to encrypt": lambda: public("rsa-other", key_ops=["encrypt"]),
    "for an algorithm that is not accepted": lambda: public("rsa-other", alg="RS512"),
    "of another curve": lambda: public("ec521"),
    "of a curve that nobody knows": lambda: public("ec", crv="P-999"),
    "of the key agreement's curve": lambda: public("okp", crv="X25519"),
    "of a kind that nobody knows": lambda: {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"},
    "of a kind that is a list": lambda: {"kty": ["RSA"]},
}


@pytest.mark.parametrize("jwk", OTHER.values(), ids=OTHER.keys())
def test_a_key_for_something_else_is_passed_over(file: Path, clock: ManualClock, jwk: Callable[[], Any]) -> None:
    publish(file, jwk(), public("rsa"))
    ours = Tokens(given(file), clock)
    assert ours.client(sign(claims(NOW))).name == "jwt:alice"
    refused(ours, sign(claims(NOW), "rsa-other"))
    publish(file, jwk())
    assert "has no key for a signature" in unusable(file)


def test_a_key_is_for_the_algorithm_that_it_names(file: Path, clock: ManualClock) -> None:
    publish(file, public("rsa", alg="PS256", use="sig", key_ops=["verify"]))
    ours = Tokens(given(file), clock)
    assert ours.client(sign(claims(NOW), alg="PS256")).name == "jwt:alice"
    assert "not signed by a key" in refused(ours, sign(claims(NOW), alg="RS256"))


def test_a_key_without_a_name_is_for_tokens_without_one(file: Path, clock: ManualClock) -> None:
    publish(file, public("rsa", kid=None), public("rsa-other", kid="same"), public("ec", kid="same"))
    ours = Tokens(given(file), clock)
    assert ours.client(sign(claims(NOW), kid=None)).name == "jwt:alice"
    refused(ours, sign(claims(NOW)))
    for signer, alg in (("rsa-other", "RS256"), ("ec", "ES256")):
        assert ours.client(sign(claims(NOW), signer, alg, kid="same")).name == "jwt:alice"


def test_keys_change_while_it_runs(file: Path, ours: Tokens, clock: ManualClock) -> None:
    old, new = sign(claims(NOW)), sign(claims(NOW), "rsa-new")
    assert ours.client(old).name == "jwt:alice"
    clock.advance(LOOKED_AFTER_S)
    refused(ours, new)
    publish(file, public("rsa-new"))
    assert "key that is known" in refused(ours, new), "it was looked for a moment ago"
    clock.advance(LOOKED_AFTER_S)
    assert ours.client(new).name == "jwt:alice"
    assert "key that is known" in refused(ours, old), "it was remembered"


def test_a_key_that_came_a_moment_ago_is_found_at_once(file: Path, ours: Tokens, clock: ManualClock) -> None:
    clock.advance(LOOKED_AFTER_S)
    assert ours.client(sign(claims(NOW))).name == "jwt:alice"
    publish(file, public("rsa"), public("rsa-new"))
    assert ours.client(sign(claims(NOW), "rsa-new")).name == "jwt:alice"


@pytest.mark.parametrize("content", [None, b"", b'{"keys": [', b'{"keys": [{"kty": "oct", "k": "AAAA"}]}'])
def test_what_cannot_be_read_changes_nothing(
    file: Path, ours: Tokens, clock: ManualClock, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    good = file.read_bytes()
    for _ in range(2):
        caplog.clear()
        file.unlink() if content is None else file.write_bytes(content)
        for _ in range(3):
            clock.advance(LOOKED_AFTER_S)
            assert ours.client(sign(claims(clock.now()))).name == "jwt:alice"
        [record] = caplog.records
        assert (record.levelno, "AAAA" in record.getMessage()) == (logging.ERROR, False)
        assert str(file) in record.getMessage()
        file.write_bytes(good)
        clock.advance(LOOKED_AFTER_S)
        assert ours.client(sign(claims(clock.now()))).name == "jwt:alice"


def test_a_set_of_no_keys_ends_all_tokens(
    file: Path, ours: Tokens, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    token = sign(claims(NOW))
    assert ours.client(token).name == "jwt:alice"
    publish(file)
    clock.advance(LOOKED_AFTER_S)
    refused(ours, token)
    assert "no token is accepted" in caplog.text


def test_a_file_that_becomes_readable_is_read(file: Path, ours: Tokens, clock: ManualClock) -> None:
    """Its time of change, number and size stay the same, when a mode is all that was wrong."""
    good = jwks.read
    publish(file, public("rsa-new"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jwks, "read", lambda *_: (_ for _ in ()).throw(StartError("not now")))
        clock.advance(LOOKED_AFTER_S)
        refused(ours, sign(claims(NOW), "rsa-new"))
    assert jwks.read is good
    clock.advance(LOOKED_AFTER_S)
    assert ours.client(sign(claims(NOW), "rsa-new")).name == "jwt:alice"


def test_a_flood_of_unknown_keys_reads_the_file_hardly_ever(
    file: Path, ours: Tokens, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Path] = []
    stamp = jwks.stamp
    monkeypatch.setattr(jwks, "stamp", lambda path: (looks.append(path), stamp(path))[1])
    flood = [sign(claims(NOW), kid=f"k{number}") for number in range(10)]
    for number in range(500):
        # Somebody writes it all the time, too.
        os.utime(file, ns=(number, number))
        refused(ours, flood[number % 10])
        clock.advance(0.01)
    assert len(looks) <= 10, "twice in each of five seconds"


def test_what_is_remembered_expires(ours: Tokens, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    token = sign(claims(NOW, exp=NOW + 60))
    known = ours.client(token)
    monkeypatch.setattr(jwks.Verifier, "verifies", None)
    clock.advance(60 + LEEWAY_S - 0.5)
    assert ours.client(token) is known
    clock.advance(0.5)
    assert refused(ours, token) == "The token has expired."
    assert ours._good == {}


def test_only_so_many_are_remembered(file: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tokens.REMEMBERED == 10_000
    monkeypatch.setattr(tokens, "REMEMBERED", 3)
    ours = Tokens(given(file), clock)
    for number in range(5):
        token = sign(claims(NOW, sub=f"s{number}"), "ec", "ES256")
        assert ours.client(token).name == f"jwt:s{number}"
        refused(ours, token[:-8])
    assert [client.name for client, _ in ours._good.values()] == ["jwt:s2", "jwt:s3", "jwt:s4"]


def test_names_of_subjects_are_told_apart(ours: Tokens) -> None:
    subjects = ["a", "A", "a b", "a%20b", "jwt:a", "é", "auth0|5", "a" * 124]
    names = {ours.client(sign(claims(NOW, sub=subject))).name for subject in subjects}
    assert len(names) == len(subjects)
    assert "jwt:a%20b" in names


def test_joserfc_is_needed_only_where_tokens_are_accepted(
    tmp_path: Path, file: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepting = Settings(data=tmp_path, jwt=given(file))
    assert front.identity(accepting, clock, None).checks
    for name in [name for name in sys.modules if name.split(".")[0] == "joserfc"]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("etagere.tokens", "etagere.jwks"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "joserfc", None)
    with pytest.raises(StartError, match=r"pip install '\.\[jwt\]' in a checkout"):
        front.identity(accepting, clock, None)
    assert not front.identity(Settings(data=tmp_path), clock, None).checks
