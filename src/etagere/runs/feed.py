"""Keeps a mirror of a store's runs true: listens to what is published, and sees that nothing is missing."""

from __future__ import annotations

import asyncio
import json
import math
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from redis.asyncio.client import PubSub

from etagere.errors import StoreLost
from etagere.logs import get_logger
from etagere.ports import Clock
from etagere.runs.mirror import Mirror, Record
from etagere.valkey import Script, Valkey

PULSE_S = 1.0
UNCONFIRMED_S = 5.0
"""What was not confirmed for so long is not known."""
GONE_S = 15.0
"""A node that has not been heard of for so long is gone."""
CHUNK = 500
_TOLD = {"kind": str, "host": str, "pid": int, "runs": int, "queues": list, "models": list}
_AGAIN_S = 0.5

log = get_logger("etagere.store")


class _Missed(Exception):
    """Something was published that was not heard."""


class Feed:
    """The life of a mirror.

    `tell` gives what others are told of this node, by whose `name` it is known. `hear` is told with each pulse whether
    all are draining, and how often something was purged.
    """

    def __init__(
        self,
        store: Valkey,
        scripts: Mapping[str, Script],
        mirror: Mirror,
        clock: Clock,
        name: str,
        tell: Callable[[], Mapping[str, Any]],
        hear: Callable[[bool, int], None] = lambda draining, purges: None,
    ) -> None:
        self._store = store
        self._scripts = scripts
        self._mirror = mirror
        self._clock = clock
        self._name = name
        self._tell = tell
        self._hear_of = hear
        self._epoch = b""
        self._heard = 0
        self._confirmed = -math.inf
        self._awaited: tuple[int, float] | None = None
        self._away = False

    @property
    def fresh(self) -> bool:
        """Whether what the mirror has is what there is, as far as `UNCONFIRMED_S` go."""
        return self.unconfirmed < UNCONFIRMED_S

    @property
    def unconfirmed(self) -> float:
        """For how many seconds the store has not confirmed what the mirror has."""
        return max(0.0, self._clock.monotonic() - self._confirmed)

    async def follow(self, ready: Callable[[], None]) -> None:
        """Follow for ever; `ready` is called whenever the mirror is true again."""
        while True:
            try:
                async with self._store.subscribed("events") as subscription:
                    # What was heard before says nothing of what is read now.
                    self._epoch, self._heard, self._awaited = b"", 0, None
                    await self._pulse()
                    await self._renew()
                    self._say_back()
                    ready()
                    await self._listen(subscription)
            except _Missed as missed:
                log.info("what is pending is read again", reason=str(missed))
            except StoreLost as error:
                self._say_away(error)
                await asyncio.sleep(_AGAIN_S)
            except Exception:
                log.exception("what is published is not understood; it is read again")
                await asyncio.sleep(_AGAIN_S)

    async def leave(self) -> None:
        """Say that this node is gone."""
        await self._call("pulse", self._name, "", "", GONE_S)

    async def nodes(self) -> dict[str, dict[str, Any]]:
        """What the nodes that are there have told, by their names."""
        told = await self._store.do("HGETALL", self._store.key("nodes"))
        return {name.decode("utf-8", "replace"): _about(text) for name, text in zip(told[::2], told[1::2], strict=True)}

    async def _listen(self, subscription: PubSub) -> None:
        due = self._clock.monotonic() + PULSE_S
        while True:
            left = due - self._clock.monotonic()
            message = await subscription.get_message(timeout=max(0.0, left))
            if message is not None:
                self._hear(message["data"])
            if left <= 0:
                await self._pulse()
                due = self._clock.monotonic() + PULSE_S

    def _hear(self, data: bytes) -> None:
        for said in json.loads(data):
            if said["seq"] <= self._heard:
                continue
            if said["seq"] > self._heard + 1:
                raise _Missed(f"{said['seq'] - self._heard - 1} changes were not heard of")
            self._heard = said["seq"]
            self._mirror.apply(said)
        if self._awaited is not None and self._heard >= self._awaited[0]:
            self._confirmed = max(self._confirmed, self._awaited[1])
            self._awaited = None

    async def _pulse(self) -> None:
        sent, heard, awaited = self._clock.monotonic(), self._heard, self._awaited
        told = json.dumps(self._tell())
        epoch, seq, draining, purges = await self._call("pulse", self._name, told, secrets.token_hex(8), GONE_S)
        self._hear_of(draining == b"1", int(purges))
        known, self._epoch = self._epoch, epoch
        if known not in (b"", epoch) or int(seq) < heard:
            self._confirmed = -math.inf
            raise _Missed("the store has been emptied, or restarted with what it had before")
        if awaited is not None and self._awaited == awaited:
            raise _Missed("changes were not heard of in time")
        self._awaited = None
        if self._heard >= int(seq):
            self._confirmed = sent
        else:
            self._awaited = int(seq), sent

    async def _renew(self) -> None:
        """Read all that is pending, in parts; what changes meanwhile is heard after that."""
        began, place, first, seq = self._clock.monotonic(), b"-inf", 0, b""
        records: dict[str, Record] = {}
        since: dict[str, int] = {}
        while place:
            seq, place, found, flat = await self._call("snapshot", place, CHUNK)
            if not first:
                first, since = int(seq), _counts(flat)
            for record in map(json.loads, found):
                records[record["id"]] = record
        self._mirror.renew(records.values(), since, int(seq), self._epoch.decode())
        self._heard, self._awaited, self._confirmed = first, None, began

    def _call(self, script: str, *arguments: str | bytes | int | float) -> Awaitable[Any]:
        return self._store.script(self._scripts[script], *arguments)

    def _say_away(self, error: StoreLost) -> None:
        if not self._away:
            log.error("the store cannot be reached", store=self._store.shown, reason=str(error.__cause__ or error))
        self._away = True

    def _say_back(self) -> None:
        if self._away:
            log.info("the store is reached again", store=self._store.shown)
        self._away = False


def _about(text: bytes) -> dict[str, Any]:
    """What a process tells of itself; one that is not ours may tell anything, or nothing."""
    try:
        told = json.loads(text)
    except ValueError:
        told = None
    given = told if isinstance(told, dict) else {}
    known = {name: value for name, value in given.items() if isinstance(value, _TOLD.get(name, object))}
    return {"kind": "worker", "host": "", "pid": 0, **known}


def _counts(flat: Any) -> dict[str, int]:
    pairs = zip(flat[::2], flat[1::2], strict=True)
    return {client.decode(): int(since) for client, since in pairs}
