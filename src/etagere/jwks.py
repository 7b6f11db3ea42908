"""The public keys of who issues JSON Web Tokens, in a file: a JWK Set (RFC 7517)."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwa import JWSAlgModel
from joserfc.jwk import Key, RSAKey, import_key
from joserfc.jws import JWSRegistry

from etagere.errors import StartError

MOST_KEYS = 100
_LARGEST = 1 << 20
_SHORTEST_RSA = 2048
_PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
# The kind of key, and its curve, by the beginning of the algorithm.
_KINDS = {
    "RS": ("RSA", None),
    "PS": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "Ed": ("OKP", "Ed25519"),
}

Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key, and the algorithms for whose signatures it is meant."""

    kid: str | None
    key: Key
    fits: frozenset[str]

    def verifies(self, algorithm: JWSAlgModel, signed: bytes, signature: bytes) -> bool:
        """Whether its owner has signed this, by an algorithm that fits."""
        try:
            return algorithm.verify(signed, signature, self.key)
        except (JoseError, ValueError):
            return False


def algorithm(name: str) -> JWSAlgModel:
    """What joserfc does for an algorithm; taken itself, since asking for EdDSA by name warns each time."""
    try:
        return JWSRegistry.algorithms[name]
    except KeyError:
        raise StartError(f"The installed joserfc does not know {name}.") from None


def read(path: Path, algorithms: Collection[JWSAlgModel]) -> tuple[Verifier, ...]:
    """The keys of a file that fit one of the algorithms at least.

    Raises:
        StartError: it cannot be read, is no JWK Set, or has keys that are not public or are broken.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise StartError(f"The key set in {path} cannot be read: {error.strerror}.") from error
    try:
        return _parsed(content, algorithms)
    except ValueError as error:
        # Without what stands there, and without what other errors say of it: it may be a private key.
        raise StartError(f"The key set in {path} cannot be used: {error}.") from None


def stamp(path: Path) -> Stamp | None:
    """What tells whether a file has changed; None where it cannot be found."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _parsed(content: bytes, algorithms: Collection[JWSAlgModel]) -> tuple[Verifier, ...]:
    if len(content) > _LARGEST:
        raise ValueError(f"it is larger than {_LARGEST} bytes")
    try:
        keys = orjson.loads(content)["keys"]
    except (ValueError, KeyError, TypeError):
        raise ValueError('it is no JSON object with "keys"') from None
    if not isinstance(keys, list) or len(keys) > MOST_KEYS:
        raise ValueError(f'its "keys" are no array of at most {MOST_KEYS}')
    found = (_verifier(number, jwk, algorithms) for number, jwk in enumerate(keys, 1))
    return tuple(verifier for verifier in found if verifier is not None)


def _verifier(number: int, jwk: Any, algorithms: Collection[JWSAlgModel]) -> Verifier | None:
    """The key of a JWK; none if it is for something else (RFC 7517 §5), such as encryption.

    Raises:
        ValueError: it is not public or broken; the message says of which it is, and nothing of it.
    """
    if not isinstance(jwk, dict):
        raise ValueError(f"key {number} is no object")
    if jwk.get("kty") == "oct":
        raise ValueError(f"key {number} is symmetric: whoever checks tokens by it could make them")
    if not _PRIVATE.isdisjoint(jwk):
        raise ValueError(f"key {number} is private: only public ones belong here")
    kind = jwk.get("kty"), jwk.get("crv")
    if jwk.get("use", "sig") != "sig" or kind not in [(kty, curve or kind[1]) for kty, curve in map(_kind, algorithms)]:
        return None
    try:
        with warnings.catch_warnings():
            # Of a short RSA key, which is refused below.
            warnings.simplefilter("ignore", SecurityWarning)
            key = import_key(jwk)
    except (JoseError, KeyError, TypeError, ValueError):
        raise ValueError(f"key {number} is no valid {kind[0]} key") from None
    if isinstance(key, RSAKey) and key.public_key.key_size < _SHORTEST_RSA:
        raise ValueError(f"key {number} is shorter than {_SHORTEST_RSA} bits")
    fits = frozenset(algorithm.name for algorithm in algorithms if _fits(algorithm, key))
    return Verifier(key.kid, key, fits) if fits else None


def _kind(algorithm: JWSAlgModel) -> tuple[str, str | None]:
    return _KINDS.get(algorithm.name) or _KINDS[algorithm.name[:2]]


def _fits(algorithm: JWSAlgModel, key: Key) -> bool:
    """Whether a key is of the algorithm's kind and, by its use, key_ops and alg, meant for it."""
    try:
        algorithm.check_key(key)
        key.check_key_op("verify")
    except JoseError:
        return False
    return True
