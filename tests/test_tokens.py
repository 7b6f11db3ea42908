"""JSON Web Tokens: which are good, which are not, and the keys that tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import issuer
from tests.issuer import AUDIENCE, ISSUER, claims, hmac_token, key, part, public, publish, sign, sign_raw

from etagere.config import SIGNATURES, Jwt
from etagere.core.clients import Role
from etagere.errors import Unauthorized
from etagere.testing.samples import EPOCH, ManualClock
from etagere.tokens import LEEWAY_S, LONGEST, Tokens


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return publish(tmp_path / "keys.jwks", public("rsa"), public("ec"), public("ec521"), public("okp"))


def made(file: Path, clock: ManualClock, **more: Any) -> Tokens:
    return Tokens(Jwt(issuer=ISSUER, audience=AUDIENCE, keys=file, **more), clock)


@pytest.fixture
def ours(file: Path, clock: ManualClock) -> Tokens:
    return made(file, clock)


def refused(ours: Tokens, token: str) -> str:
    with pytest.raises(Unauthorized) as caught:
        ours.client(token)
    return caught.value.detail


NOW = EPOCH


@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES256", "ES512", "RS384", "PS512", "EdDSA", "Ed25519"])
def test_a_good_token_names_its_subject(file: Path, clock: ManualClock, alg: str) -> None:
    signer = issuer.KINDS.get(alg) or issuer.KINDS[alg[:2]]
    client = made(file, clock, algorithms=SIGNATURES).client(sign(claims(NOW), signer, alg))
    assert (client.name, client.tenant, client.role, client.models) == ("jwt:alice", "jwt:alice", Role.client, None)


GOOD: dict[str, str] = {
    "one of several audiences": sign(claims(NOW, aud=["other", AUDIENCE])),
    "without kid and type": sign(claims(NOW), kid=None, typ=None),
    "an access token of RFC 9068": sign(claims(NOW), typ="at+JWT"),
    "its time is a fraction": sign(claims(NOW, exp=NOW + 0.5, nbf=NOW - 0.5)),
    "their clock is a little fast": sign(claims(NOW, nbf=NOW + LEEWAY_S)),
    "their clock is a little slow": sign(claims(NOW, exp=NOW - LEEWAY_S + 1)),
    "for ever, nearly": sign(claims(NOW, exp=10**30)),
    "a key of its own, which is no use": sign(claims(NOW), jwk=public("rsa-forger"), x5c=["AA"]),
    "a place of keys, which is no use": sign(claims(NOW), jku="https://forger.example/", x5u="file:///etc/passwd"),
    "claims and fields that nobody knows": sign(claims(NOW, admin=True, role="operator"), unknown=1),
}


@pytest.mark.parametrize("token", GOOD.values(), ids=GOOD.keys())
def test_a_token_may_be_like_this(ours: Tokens, token: str) -> None:
    assert (ours.client(token).name, ours.client(token).role) == ("jwt:alice", Role.client)


PEM = key("rsa").as_pem(private=False)  # type: ignore[union-attr]
HEADER, CONTENT = part({"alg": "RS256", "kid": "rsa"}), part(claims(NOW))
VALID = sign(claims(NOW))
SIGNED, SIGNATURE = VALID.rsplit(".", 1)
JSON_FORM = {"payload": CONTENT, "protected": VALID.split(".")[0], "signature": SIGNATURE}
EXP = json.dumps(claims(NOW)).replace(str(int(NOW) + 300), "%s")


def raw(content: str | bytes) -> str:
    return sign_raw(HEADER, part(content if isinstance(content, bytes) else content.encode()))


def unsigned(alg: str, signature: str = "") -> str:
    return f"{part({'alg': alg})}.{CONTENT}.{signature}"


FORGED: dict[str, str] = {
    **{f"{alg}, {len(text)}": unsigned(alg, text) for alg in ("none", "None", "NONE", "nOnE") for text in ("", "AA")},
    "the public key as secret, PEM": hmac_token(claims(NOW), PEM),
    "the public key as secret, no newline": hmac_token(claims(NOW), PEM.strip()),
    "the public key as secret, JWK": hmac_token(claims(NOW), json.dumps(public("rsa")).encode()),
    "the public key as secret, modulus": hmac_token(claims(NOW), public("rsa")["n"].encode()),
    "the public key as secret, called RS256": hmac_token(claims(NOW), PEM, "RS256"),
    "another key of the same kid": sign(claims(NOW), "rsa-forger", kid="rsa"),
    "another key of its own kid": sign(claims(NOW), "rsa-forger"),
    "another key, no kid": sign(claims(NOW), "rsa-forger", kid=None),
    "the kid of another key of ours": sign(claims(NOW), "rsa", kid="ec"),
    "kid is a number": sign(claims(NOW), kid=5),
    "kid is a path": sign(claims(NOW), kid="../../dev/null"),
    "RS256 called PS256": sign_raw(part({"alg": "PS256", "kid": "rsa"}), CONTENT),
    "RS256 called ES256": sign_raw(part({"alg": "ES256", "kid": "rsa"}), CONTENT),
    "an algorithm that is not accepted": sign(claims(NOW), alg="RS512"),
    "no algorithm": sign_raw(part({"kid": "rsa"}), CONTENT),
    "the algorithm is a list": sign_raw(part({"alg": ["RS256"], "kid": "rsa"}), CONTENT),
    "a key with it": sign(claims(NOW), "rsa-forger", jwk=public("rsa-forger"), kid=None),
    "where its key is": sign(claims(NOW), "rsa-forger", jku="https://forger.example/keys", kid="there"),
    "crit": sign(claims(NOW), crit=["exp"], exp=1),
    "crit of nothing": sign(claims(NOW), crit=[]),
    "b64=false": sign_raw(part({"alg": "RS256", "b64": False, "crit": ["b64"]}), CONTENT),
    "b64=false, not crit": sign_raw(part({"alg": "RS256", "b64": False}), CONTENT),
    "of another type": sign(claims(NOW), typ="logout+jwt"),
    "its type is a number": sign(claims(NOW), typ=1),
    "JWE": f"{part({'alg': 'RSA-OAEP', 'enc': 'A256GCM'})}.AAAA.AAAA.AAAA.AAAA",
    "JSON serialisation": json.dumps(JSON_FORM),
    "general JSON serialisation": json.dumps({"payload": CONTENT, "signatures": [JSON_FORM]}),
    "empty": "",
    "dots": "..",
    "one part": "AAAA",
    "no signature": f"{SIGNED}.",
    "two parts": SIGNED,
    "four parts": f"{VALID}.AAAA",
    "an empty fourth part": f"{VALID}.",
    "a dot before": f".{VALID}",
    "a space before": f" {VALID}",
    "a newline after": f"{VALID}\n",
    "a space within": VALID.replace(".", " .", 1),
    "padding": f"{VALID}==",
    "padding within": f"{HEADER}=.{CONTENT}.{SIGNATURE}",
    "the other alphabet": f"{SIGNED}.{SIGNATURE[:-2]}+/",
    "a part of impossible length": f"{SIGNED}.AAAAA",
    "not ASCII": f"{VALID[:-1]}é",
    "a lone surrogate": f"{VALID[:-1]}\ud800",
    "NUL": f"{VALID}\0",
    "8 KiB + 1": "A" * (LONGEST + 1),
    "a good one that is too long": sign(claims(NOW, filler="x" * LONGEST)),
    "the header is no object": sign_raw(part(["alg", "RS256"]), CONTENT),
    "the header is a text": sign_raw(part("alg"), CONTENT),
    "the header is no JSON": sign_raw(part(b"{"), CONTENT),
    "the header is no UTF-8": sign_raw(part(b'{"alg":"RS256","kid":"\xff"}'), CONTENT),
    "the content is no UTF-8": raw(json.dumps(claims(NOW, sub="é"), ensure_ascii=False).encode("latin-1")),
    "the content is UTF-16": raw(json.dumps(claims(NOW)).encode("utf-16")),
    "the content is a list": raw(json.dumps([claims(NOW)])),
    "the content is a text": raw('"alice"'),
    "the content is a token": raw(VALID),
    "the content nests deeply": raw("[" * 4000),
    "the content nests deeply, whole": raw('{"a":' * 900 + "1" + "}" * 900),
    "expired": sign(claims(NOW, exp=NOW - LEEWAY_S)),
    "not valid yet": sign(claims(NOW, nbf=NOW + LEEWAY_S + 1)),
    "exp is missing": sign(claims(NOW, exp=None)),
    "exp is text": sign(claims(NOW, exp=str(NOW + 300))),
    "exp is true": sign(claims(NOW, exp=True)),
    "exp is a list": sign(claims(NOW, exp=[NOW + 300])),
    "exp is null": raw(EXP % "null"),
    "exp is beyond numbers": raw(EXP % "1e400"),
    "exp is no number": raw(EXP % "NaN"),
    "exp is infinite": raw(EXP % "Infinity"),
    "exp is negative": sign(claims(NOW, exp=-1)),
    "nbf is text": sign(claims(NOW, nbf="0")),
    "nbf is true": sign(claims(NOW, nbf=True)),
    "nbf is null": raw(json.dumps({**claims(NOW), "nbf": None})),
    "for another audience": sign(claims(NOW, aud="other")),
    "for others": sign(claims(NOW, aud=["other", "others"])),
    "for an audience that ours is part of": sign(claims(NOW, aud=f"{AUDIENCE}.example")),
    "for nobody": sign(claims(NOW, aud=[])),
    "aud is missing": sign(claims(NOW, aud=None)),
    "aud is an object": sign(claims(NOW, aud={AUDIENCE: 1})),
    "aud is a list in a list": sign(claims(NOW, aud=[[AUDIENCE]])),
    "of another issuer": sign(claims(NOW, iss=f"{ISSUER}/")),
    "iss is missing": sign(claims(NOW, iss=None)),
    "iss is a list": sign(claims(NOW, iss=[ISSUER])),
    "sub is missing": sign(claims(NOW, sub=None)),
    "sub is empty": sign(claims(NOW, sub="")),
    "sub is a number": sign(claims(NOW, sub=5)),
    "sub is too long": sign(claims(NOW, sub="a" * 125)),
    "sub is too long when it is encoded": sign(claims(NOW, sub="é" * 30)),
    "sub has a newline": sign(claims(NOW, sub="alice\nbob")),
    "sub has NUL": sign(claims(NOW, sub="alice\0")),
    "sub is half a character": raw(json.dumps(claims(NOW, sub="\ud800"))),
}


@pytest.mark.parametrize("token", FORGED.values(), ids=FORGED.keys())
def test_a_token_is_not_to_be_like_this(ours: Tokens, token: str, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        said = refused(ours, token)
        assert said.startswith("The ")
        for told in (ISSUER, AUDIENCE, "alice", "rsa", VALID[-20:]):
            assert told not in said
    assert caplog.records == [], "who floods us does not fill the log"


def test_every_byte_of_a_token_counts(ours: Tokens) -> None:
    token = sign(claims(NOW), "ec", "ES256")
    for at, old in enumerate(token):
        for new in "A", "B", "-", "_", ".":
            if new != old:
                refused(ours, token[:at] + new + token[at + 1 :])
    assert ours.client(token).name == "jwt:alice"


@given(st.one_of(st.text(), st.from_regex(r"[\w=-]{0,20}(\.[\w=-]{0,20}){0,4}", fullmatch=True)))
def test_any_text_is_a_token_or_is_not(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = publish(tmp_path_factory.getbasetemp() / "any.jwks", public("okp"))
    refused(made(file, ManualClock()), text)


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=3)
FIELDS = st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "x5c", "?"]), JSON)
CLAIMS = JSON | st.dictionaries(st.sampled_from(["iss", "aud", "sub", "exp", "nbf", "?"]), JSON)


@given(FIELDS, CLAIMS)
def test_what_is_signed_may_be_anything(tmp_path_factory: pytest.TempPathFactory, fields: Any, content: Any) -> None:
    file = publish(tmp_path_factory.getbasetemp() / "any.jwks", public("okp"))
    token = sign_raw(part({"alg": "Ed25519", **fields}), part(content), "okp", "Ed25519")
    refused(made(file, ManualClock()), token)
