"""API keys: shown once, kept as hashes in a file, which is read again when it has changed."""

from __future__ import annotations

import fcntl
import hashlib
import math
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from etagere.core.clients import LONGEST_NAME, Client, Role
from etagere.core.credentials import PREFIX
from etagere.errors import EtagereError, StartError, Unauthorized
from etagere.logs import get_logger
from etagere.ports import Clock

_REMEMBERED = 10_000
LOOKED_AFTER_S = 1.0
"""A key that was removed is good for so long yet."""

# No address looks so, and no name of a token's subject.
_NAME = re.compile(rf"[A-Za-z_][A-Za-z0-9_.-]{{0,{LONGEST_NAME - 1}}}")

log = get_logger("etagere.keys")

Stamp = tuple[int, int, int]


class Key(BaseModel):
    """A key as it is kept: all but itself. `models` are names of models, None for all; times are since the epoch."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=rf"^{_NAME.pattern}$")]
    role: Role
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    created: float
    models: tuple[str, ...] | None = None
    expires: float | None = None

    @property
    def id(self) -> str:
        """By what it is told from others of its name; worthless to whoever wants to guess it."""
        return self.sha256[:8]

    def client(self) -> Client:
        """Whoever has the key."""
        return Client(self.name, self.role, models=self.models)


_Keys = TypeAdapter(tuple[Key, ...])


class Keyring:
    """The keys of a file, which need not exist.

    Raises:
        StartError: the file cannot be read.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._known: Mapping[bytes, tuple[Client, float]] = {}
        self._shown: dict[bytes, tuple[Client, float]] = {}
        self._stamp: Stamp | None = None
        self._looked = clock.monotonic()
        self._read()

    def __len__(self) -> int:
        """How many keys there are, those that have expired too."""
        self._refresh()
        return len(self._known)

    def recall(self, shown: bytes) -> Client | None:
        """Whose key was found in what a request showed, a moment ago: a look-up, since each ping shows it."""
        found = self._shown.get(shown)
        return found[0] if found is not None and self._clock.monotonic() < found[1] else None

    def find(self, key: str, shown: bytes) -> Client | None:
        """Whose key it is, which a request has `shown`; None of one that is not known.

        Raises:
            Unauthorized: its time is over.
        """
        now = self._clock.monotonic()
        if now - self._looked >= LOOKED_AFTER_S:
            self._refresh()
        # Of a hash that an attacker cannot choose, the time of a look-up tells nothing.
        found = self._known.get(hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest())
        if found is None:
            return None
        client, expires = found
        left = expires - self._clock.now()
        if left <= 0:
            raise Unauthorized("This key has expired.")
        if len(self._shown) >= _REMEMBERED:
            self._shown.clear()
        self._shown[shown] = client, min(self._looked + LOOKED_AFTER_S, now + left)
        return client

    def client(self, key: str, shown: bytes = b"") -> Client:
        """The same.

        Raises:
            Unauthorized: it is nobody's, or its time is over.
        """
        found = self.find(key, shown)
        if found is None:
            # It may have been made a moment ago.
            self._refresh()
            found = self.find(key, shown)
        if found is None:
            raise Unauthorized("This key is not known.")
        return found

    def _refresh(self) -> None:
        self._looked = self._clock.monotonic()
        if _stamp(self._path) == self._stamp:
            return
        try:
            self._read()
        except StartError as error:
            # Those that are known go on being good: a slip of the pen is not to lock everybody out.
            log.error("the keys were not read again", reason=str(error))

    def _read(self) -> None:
        # Before it is read: what is written meanwhile is read the next time.
        self._stamp = _stamp(self._path)
        self._known = {bytes.fromhex(key.sha256): _until(key) for key in read(self._path)}


def _until(key: Key) -> tuple[Client, float]:
    return key.client(), math.inf if key.expires is None else key.expires


def read(path: Path) -> tuple[Key, ...]:
    """The keys in a file; none where it is missing.

    Raises:
        StartError: it cannot be read, or is no such file.
    """
    try:
        return _Keys.validate_json(path.read_bytes())
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise StartError(f"The keys in {path} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        # Without what stands there: somebody may have written a key itself.
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise StartError(f"The keys in {path} cannot be read: {faults}.") from None


def add(path: Path, name: str, role: Role, models: tuple[str, ...] | None, expires: float | None, now: float) -> str:
    """Make a key and keep its hash; returned is the key itself, which is nowhere else.

    Raises:
        EtagereError: the name cannot be one.
        StartError: the file cannot be read or written.
    """
    if not _NAME.fullmatch(name):
        raise EtagereError(f"{name!r} cannot be a name: letters, digits, '_', '.' and '-', and a letter or '_' first")
    key = PREFIX + secrets.token_urlsafe(32)
    sha256 = hashlib.sha256(key.encode()).hexdigest()
    with _locked(path):
        made = Key(name=name, role=role, sha256=sha256, created=now, models=models, expires=expires)
        _write(path, (*read(path), made))
    return key


def remove(path: Path, which: str) -> list[Key]:
    """Remove the keys of this name, or the one of this id; returned are those that are gone.

    Raises:
        StartError: the file cannot be read or written.
    """
    with _locked(path):
        keys = read(path)
        gone = [key for key in keys if which in (key.name, key.id)]
        if gone:
            _write(path, tuple(key for key in keys if key not in gone))
    return gone


def described(key: Key) -> dict[str, object]:
    """A key as operators are told of it."""
    models = None if key.models is None else list(key.models)
    made, until = _date(key.created), None if key.expires is None else _date(key.expires)
    return {"id": key.id, "name": key.name, "role": str(key.role), "models": models, "created": made, "expires": until}


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let nobody else change the file meanwhile; its folder is made where it is missing."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StartError(f"The keys in {path} cannot be changed: {error.strerror}.") from error


def _write(path: Path, keys: tuple[Key, ...]) -> None:
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(_Keys.dump_json(keys, indent=2) + b"\n")
        if os.geteuid() == 0:
            # The service that is to read it may be another user's.
            owner = path.parent.stat()
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
