"""What the commands for API keys do; `cli.py` says how they are called."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from etagere import keys
from etagere.core.clients import Role
from etagere.errors import EtagereError
from etagere.logs import say
from etagere.operating import Asked, seconds_of, table

_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:T.*)?")


async def add(asked: Asked, name: str, role: str, models: Sequence[str] | None, expires: str | None) -> int:
    """Make a key and print it, once; 0.

    Raises:
        EtagereError: the name or the time cannot be one, or the file cannot be written.
    """
    now = time.time()
    until = None if expires is None else _until(expires, now)
    key = keys.add(asked.settings().key_file, name, Role(role), None if models is None else tuple(models), until, now)
    if asked.json:
        sys.stdout.write(json.dumps({"key": key, "name": name, "role": role}) + "\n")
    else:
        say("This is the key, and nobody can show it again. It is sent as Authorization: Bearer KEY.\n")
        sys.stdout.write(f"{key}\n")
    return 0


async def listed(asked: Asked) -> int:
    """A line for each key; 0."""
    found = [keys.described(key) for key in keys.read(asked.settings().key_file)]
    if asked.json:
        sys.stdout.write(json.dumps({"keys": found}) + "\n")
    elif found:
        head = ("ID", "NAME", "ROLE", "MODELS", "CREATED", "EXPIRES")
        sys.stdout.write(table([head, *(_row(key) for key in found)]))
    else:
        sys.stdout.write("There are no keys.\n")
    return 0


async def remove(asked: Asked, which: str) -> int:
    """Remove keys, by their name or the id of one; 0, or 1 where there is none."""
    gone = keys.remove(asked.settings().key_file, which)
    if asked.json:
        sys.stdout.write(json.dumps({"removed": [keys.described(key) for key in gone]}) + "\n")
    elif gone:
        sys.stdout.write("".join(f"{key.id} of {key.name} is removed, and good for a second yet.\n" for key in gone))
    else:
        say(f"etagere: no key has the name or the id {which}\n")
    return 0 if gone else 1


def _row(key: dict[str, object]) -> list[str]:
    models = key["models"]
    allowed = "all" if models is None else ", ".join(models) if isinstance(models, list) else str(models)
    return [
        str(key["id"]),
        str(key["name"]),
        str(key["role"]),
        allowed,
        str(key["created"]),
        str(key["expires"] or "-"),
    ]


def _until(text: str, now: float) -> float:
    """A date, whose beginning counts, or a time from now on."""
    if not _DATE.fullmatch(text):
        return now + seconds_of(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise EtagereError(f"{text} is no date: {error}") from None
    until = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if until <= now:
        raise EtagereError(f"{text} is over")
    return until
