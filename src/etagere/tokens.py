"""JSON Web Tokens (RFC 7519, with the best practices of RFC 8725): whom one is for, by an issuer's public keys.

What is signed, and by what, is found out here, and strictly; joserfc reads the keys and checks the signatures.
"""

from __future__ import annotations

import hashlib
import math
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, cast

import orjson
from joserfc.jwa import JWSAlgModel

from etagere import jwks
from etagere.config import Jwt
from etagere.core.canonical import encode
from etagere.core.clients import Client
from etagere.errors import StartError, Unauthorized
from etagere.logs import get_logger
from etagere.ports import Clock

log = get_logger("etagere.tokens")

LONGEST = 8192
LEEWAY_S = 10
"""How far the issuer's clock may be from ours."""
LOOKED_AFTER_S = 1.0
"""A key that was taken out of the set is good for so long yet."""
REMEMBERED = 10_000

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
# Of others, such as logout+jwt, the issuer means something else (RFC 8725 §3.11).
_TYPES = {"jwt", "at+jwt", "application/jwt", "application/at+jwt"}


class Tokens:
    """Tells whom tokens are for, by the keys of a file, which is read again when it has changed.

    Tokens that were found good are remembered, as hashes, until they expire or the keys change.

    Raises:
        StartError: the keys cannot be read, are not public, or none of them fits the algorithms.
    """

    def __init__(self, settings: Jwt, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._algorithms = {name: jwks.algorithm(name) for name in settings.algorithms}
        self._good: dict[bytes, tuple[Client, float]] = {}
        self._looked = self._looked_for_unknown = clock.monotonic()
        self._fault = ""
        self._stamp = jwks.stamp(settings.keys)
        self._keys = jwks.read(settings.keys, self._algorithms.values())
        if not self._keys:
            names = ", ".join(settings.algorithms)
            raise StartError(f"The key set in {settings.keys} has no key for a signature by {names}.")

    def client(self, token: str) -> Client:
        """Whom a token is for.

        Raises:
            Unauthorized: it is not valid.
        """
        if len(token) > LONGEST:
            raise Unauthorized(f"The token is longer than {LONGEST} bytes.")
        if self._clock.monotonic() - self._looked >= LOOKED_AFTER_S:
            self._refresh()
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        if (good := self._good.get(digest)) is None:
            claims = self._claims(token)
            good = self._named(claims), self._valid_until(claims)
            if len(self._good) >= REMEMBERED:
                del self._good[next(iter(self._good))]
            self._good[digest] = good
        client, until = good
        if self._clock.now() >= until:
            self._good.pop(digest, None)
            raise Unauthorized("The token has expired.")
        return client

    def _claims(self, token: str) -> dict[str, Any]:
        """What is said in a token, once it is sure that the issuer says it."""
        parts = _COMPACT.fullmatch(token)
        if parts is None:
            raise Unauthorized("The token is no signed JSON Web Token of three parts.")
        header, content, signature = (_decoded(part) for part in parts.groups())
        algorithm, kid = self._header(_object(header))
        signed = f"{parts[1]}.{parts[2]}".encode()
        if not any(each.verifies(algorithm, signed, signature) for each in self._verifiers(algorithm.name, kid)):
            raise Unauthorized("The signature of the token is not valid.")
        return _object(content)

    def _header(self, header: dict[str, Any]) -> tuple[JWSAlgModel, str | None]:
        """The algorithm, and what the key is called. A key, or where one is, that stands here is of no effect."""
        if "crit" in header or "b64" in header:
            raise Unauthorized("The token needs what is not understood here.")
        name, kid, type = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
        algorithm = self._algorithms.get(name) if isinstance(name, str) else None
        if algorithm is None:
            raise Unauthorized("The token is not signed by an algorithm that is accepted here.")
        if not isinstance(kid, str | None):
            raise Unauthorized("The kid of the token is no text.")
        if not isinstance(type, str) or type.lower() not in _TYPES:
            raise Unauthorized("The token is of a type that is not accepted here.")
        return algorithm, kid

    def _verifiers(self, algorithm: str, kid: str | None) -> list[jwks.Verifier]:
        if kid is not None and not any(each.kid == kid for each in self._keys):
            self._look_for_unknown()
        found = [each for each in self._keys if algorithm in each.fits and kid in (None, each.kid)]
        if not found:
            raise Unauthorized("The token is not signed by a key that is known here.")
        return found

    def _named(self, claims: dict[str, Any]) -> Client:
        """The client of claims that are for us."""
        if claims.get("iss") != self._settings.issuer:
            raise Unauthorized("The token is of another issuer.")
        audience = claims.get("aud")
        named = [audience] if isinstance(audience, str) else audience
        if not isinstance(named, list) or self._settings.audience not in named:
            raise Unauthorized("The token is for another audience.")
        subject = claims.get("sub")
        if not isinstance(subject, str) or not subject or not subject.isprintable():
            raise Unauthorized("The token has no sub, or one that cannot be printed.")
        try:
            return Client(f"jwt:{encode(subject)}")
        except ValueError:
            raise Unauthorized("The sub of the token is too long.") from None

    def _valid_until(self, claims: dict[str, Any]) -> float:
        """When a token that has begun to be valid stops to be so, on our clock."""
        until, begins = claims.get("exp"), claims.get("nbf", 0)
        if not _is_date(until) or not _is_date(begins):
            raise Unauthorized("The exp or nbf of the token is missing or no number.")
        if self._clock.now() < begins - LEEWAY_S:
            raise Unauthorized("The token is not valid yet.")
        return cast(float, until) + LEEWAY_S

    def _look_for_unknown(self) -> None:
        """A key may have come a moment ago; but anybody can name keys that never come."""
        if self._clock.monotonic() - self._looked_for_unknown >= LOOKED_AFTER_S:
            self._looked_for_unknown = self._clock.monotonic()
            self._refresh()

    def _refresh(self) -> None:
        self._looked = self._clock.monotonic()
        # Before it is read: what is written meanwhile is read the next time.
        stamp = jwks.stamp(self._settings.keys)
        if stamp == self._stamp:
            self._fault = ""
            return
        try:
            keys = jwks.read(self._settings.keys, self._algorithms.values())
        except StartError as error:
            # Those that are known go on being good: a slip of the pen is not to lock everybody out. It is tried
            # again even if the file does not change: its mode may.
            if str(error) != self._fault:
                log.error("the key set was not read again", reason=str(error))
            self._fault = str(error)
            return
        self._stamp, self._keys, self._fault = stamp, keys, ""
        self._good.clear()
        if not keys:
            log.warning("the key set has no key that fits: no token is accepted", path=str(self._settings.keys))


def _decoded(part: str) -> bytes:
    """The bytes of a part, of which there is one spelling alone."""
    try:
        decoded = urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        decoded = b""
    if urlsafe_b64encode(decoded).rstrip(b"=") != part.encode():
        raise Unauthorized("The token is no base64url.")
    return decoded


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Unauthorized("The token's header or content is no JSON object.")
    return found


def _is_date(value: object) -> bool:
    """Whether it is a NumericDate (RFC 7519 §2); true and false are none, though Python counts with them."""
    return type(value) in (int, float) and math.isfinite(cast(float, value))
