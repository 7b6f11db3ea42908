"""An issuer of JSON Web Tokens for tests: keys of each kind, and tokens that no library would make."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from functools import cache
from pathlib import Path
from typing import Any

from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

ISSUER, AUDIENCE = "https://issuer.example", "etagere"
KINDS = {"RS": "rsa", "PS": "rsa", "ES256": "ec", "ES512": "ec521", "Ed": "okp"}


@cache
def key(name: str) -> Key:
    """The private key of a name: rsa…, ec521…, ec…, okp…"""
    if name.startswith("rsa"):
        return RSAKey.generate_key(2048, {"kid": name})
    if name.startswith("okp"):
        return OKPKey.generate_key("Ed25519", {"kid": name})
    return ECKey.generate_key("P-521" if name.startswith("ec521") else "P-256", {"kid": name})


def public(name: str, **more: Any) -> dict[str, Any]:
    """Its public JWK; a member that is None is left out."""
    jwk = {**key(name).as_dict(private=False), **more}
    return {member: value for member, value in jwk.items() if value is not None}


def publish(file: Path, *jwks: object) -> Path:
    """Put the set in the place of what was there."""
    new = file.with_suffix(".new")
    new.write_text(json.dumps({"keys": jwks}))
    return new.replace(file)


def part(content: object) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def claims(now: float, **more: Any) -> dict[str, Any]:
    """Those of a good token, or others; a claim that is None is left out."""
    all = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": int(now) + 300, **more}
    return {name: value for name, value in all.items() if value is not None}


def sign(content: object, signer: str = "rsa", alg: str = "RS256", **header: Any) -> str:
    """A signed token, whatever stands in it; a member of the header that is None is left out."""
    all = {"alg": alg, "kid": signer, "typ": "JWT", **header}
    named = {name: value for name, value in all.items() if value is not None}
    return sign_raw(part(named), part(content), signer, alg)


def sign_raw(header: str, content: str, signer: str = "rsa", alg: str = "RS256") -> str:
    signature = JWSRegistry.algorithms[alg].sign(f"{header}.{content}".encode(), key(signer))
    return f"{header}.{content}.{part(signature)}"


def hmac_token(content: object, secret: bytes, alg: str = "HS256") -> str:
    """One whose secret is what everybody knows."""
    signed = f"{part({'alg': alg, 'kid': 'rsa'})}.{part(content)}"
    return f"{signed}.{part(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"
