"""What every process has that shares a store with others: the connection, and the run table with its mirror."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from etagere.caches.blobstore import BlobStore
from etagere.caches.shared import SharedCache
from etagere.config import Settings
from etagere.core.lifecycle import State
from etagere.core.pacing import Places
from etagere.errors import StartError, StoreAway, StoreLost
from etagere.factory import running as parts
from etagere.metrics import Neighbours
from etagere.model import Registry
from etagere.ports import Clock
from etagere.runs.feed import Feed
from etagere.runs.mirror import Mirror, Mirrored
from etagere.runs.rules import Rules
from etagere.runs.stream import ResultStream
from etagere.runs.unattended import Unattended
from etagere.runs.valkey import ValkeyRunTable
from etagere.valkey import Script, Valkey, read_scripts

CAPACITY_EVERY_S = 5.0

_NO_NEWS = ("join", "want", "abandon")

Hear = Callable[[str, Mirrored], None]


class Cluster:
    """One process among those that share a store.

    `kind` is what it is: node, worker or collector. `hear` is told what becomes of runs, and `pulse` with each pulse
    whether all are draining and how often something was purged.
    """

    def __init__(
        self,
        registry: Registry,
        settings: Settings,
        clock: Clock,
        kind: str,
        hear: Hear,
        pulse: Callable[[bool, int], None] = lambda draining, purges: None,
        models: Collection[str] | None = None,
    ) -> None:
        assert settings.store is not None
        self.name = f"{kind}-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self.store = Valkey(settings.store, settings.namespace)
        # What is large would hold up what is small.
        self.bodies = Valkey(settings.store, settings.namespace)
        self.blobs = BlobStore(settings.blobs) if settings.blobs else None
        if settings.blob_redirect and (self.blobs is None or not self.blobs.signs):
            raise StartError("blob_redirect needs blobs at a place that signs URLs: s3://…")
        self.shared = SharedCache(self.bodies, self.blobs, clock, settings.cache_ttl)
        self.scripts: Mapping[str, Script] = read_scripts("etagere.runs")
        self.mirror = Mirror(hear)
        self.told: dict[str, Any] = {"kind": kind, "host": socket.gethostname(), "pid": os.getpid()}
        self.feed = Feed(self.store, self.scripts, self.mirror, clock, self.name, self._tell, pulse)
        self.runs = ValkeyRunTable(
            self.store, self.scripts, self.mirror, self.feed, clock, _rules(registry, settings, models),
            lease=settings.lease, worker=self.name if kind == "worker" else "",
        )  # fmt: skip
        self.processes: Counter[str] = Counter()
        self.capacity = 0
        self.neighbours = Neighbours(lambda: self.processes, lambda: self.capacity, lambda: self.feed.unconfirmed)
        self._settings = settings
        self._clock = clock
        self._stop_following: parts.Stop | None = None

    async def open(self) -> None:
        """Connect, and follow what becomes of runs.

        Raises:
            StartError: the store cannot be used, or not now.
        """
        await self.store.open()
        ready = asyncio.Event()
        self._stop_following = parts.in_background(partial(self.feed.follow, ready.set))
        try:
            async with asyncio.timeout(10):
                await ready.wait()
        except TimeoutError:
            await self.close()
            raise StoreAway(f"The store {self.store.shown} does not tell what is pending.") from None

    def stream(self, directory: Path, news: asyncio.Event) -> ResultStream:
        """The result queue; what is large comes into the directory."""
        lease, largest = self._settings.lease, self._settings.max_result
        return ResultStream(
            self.bodies, self.scripts, self.blobs, directory, news,
            idle=lease, largest=largest, delivered=self.runs.let_go,
        )  # fmt: skip

    @property
    def fresh(self) -> bool:
        """See `Fleet.fresh`."""
        return self.feed.fresh

    async def nodes(self) -> Mapping[str, Mapping[str, Any]]:
        """See `Fleet.nodes`."""
        return await self.feed.nodes()

    def holder(self, id: str) -> str | None:
        """See `Fleet.holder`."""
        entry = self.mirror.entries.get(id)
        return entry.worker if entry is not None and entry.held else None

    async def once(self, what: str, seconds: float) -> bool:
        """Whether nobody of those who share the store has said this in so many seconds; it is said by that."""
        said = await self.store.do("SET", self.store.key(f"said:{what}"), "1", "NX", "PX", int(seconds * 1000))
        return said is not None

    def places(self, model: str) -> Places:
        """What there is for a model among all workers."""
        return self.runs.places(max(1, self.capacity), model)

    async def measure(self) -> None:
        """Know for ever who is there, and how many runs can go on at once; tell of those that nobody can run."""
        unattended = Unattended()
        while True:
            try:
                nodes = await self.feed.nodes()
                self.processes = Counter(told["kind"] for told in nodes.values())
                self.capacity = sum(told.get("runs", 0) for told in nodes.values())
                if self.fresh:
                    unattended.look(self.mirror.waiting, self.mirror.held, nodes.values(), self._clock.monotonic())
            except StoreLost:
                pass  # as it was
            await asyncio.sleep(CAPACITY_EVERY_S)

    async def close(self) -> None:
        """Say that this process is gone, as far as anybody can hear it."""
        if self._stop_following is not None:
            await self._stop_following()
        try:
            async with asyncio.timeout(1):
                await self.feed.leave()
        except (StoreLost, TimeoutError):
            pass  # it is found out
        await self.bodies.close()
        await self.store.close()

    def _tell(self) -> Mapping[str, Any]:
        return self.told


def _rules(registry: Registry, settings: Settings, models: Collection[str] | None) -> Rules:
    return Rules(
        settings.max_pending,
        partial(parts.concurrency, registry),
        patience=settings.patience,
        quota=parts.quota(settings),
        needless=[key for key in registry.models if parts.is_needless(registry, key)],
        models=models,
    )


def has_ended(event: str, entry: Mirrored) -> bool:
    """Whether nobody needs to wait for a run any more."""
    return event == "gone" or entry.run.ended


def is_work(event: str, entry: Mirrored) -> bool:
    """Whether a worker may have something to do: a run waits now, or a place is free."""
    return event not in _NO_NEWS and (entry.run.state is State.queued or has_ended(event, entry))
