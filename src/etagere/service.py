"""The thin driver: a request becomes a decision, and the decision its effects, through the ports."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

from etagere.asked import Asked
from etagere.core.canonical import resource_id
from etagere.core.conditions import Conditions, Decision, Standing, decide
from etagere.core.etag import EntityTag, find_ready
from etagere.core.lifecycle import Run
from etagere.core.media import Format, coded_name, format_name
from etagere.core.pacing import Pace
from etagere.core.representation import Failure, Kind, Representation, Resource
from etagere.errors import (
    Evicted,
    NotStarted,
    Retired,
    Stopping,
    UnknownFormat,
    UnknownId,
    UnknownModel,
    UnknownVersion,
)
from etagere.flights import Flights
from etagere.logs import get_logger
from etagere.model import Model, Registry
from etagere.pacer import Pacer
from etagere.parameters import Bound
from etagere.ports import Cache, Clock, Engine, RunTable
from etagere.variants import Deriver
from etagere.waiters import Waiters

log = get_logger("etagere.service")

LONG_QUERY = 4096
"""Longer ones are parsed in a thread: the largest takes half a second."""

SHORT_TARGET = 512
"""Up to here a target is remembered as it is: hashing it takes longer than comparing it."""

Start = Callable[[], Awaitable[Resource]]


@dataclass(frozen=True, slots=True)
class Address:
    """Where a request target leads: the resource and how this URI presents it.

    `format` and `media_type` are what it gives, `formats` what a request can choose from; `primary` is
    the format that the run writes. `codings` are the content codings that a request takes, the best
    first, where it takes others than none. `immutable` says that the URI pins the version, `fixed` that
    it pins the format, `retired` that the version is served from the cache alone; `base` leads from the
    URI to the root.
    """

    id: str
    model: str
    format: str
    media_type: str
    max_age: int
    immutable: bool
    fixed: bool = False
    retired: bool = False
    base: str = ""
    primary: str = ""
    formats: tuple[Format, ...] = ()
    codings: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of what this request may be given, as they stand in tags."""
        return tuple(coded_name(self.format, coding) for coding in self.codings) or (self.format,)


class Seen(NamedTuple):
    """A pending run, or what is ready, or neither."""

    run: Run | None
    found: Representation | Failure | None


class Answer(NamedTuple):
    """A decision with what is needed to say it."""

    decision: Decision
    run: Run | None = None
    found: Representation | Failure | None = None
    tag: EntityTag | None = None


class Service:
    """Answers for resources.

    `memo_size` bounds the memo of request targets; `retired` are keys of versions that were served once.
    """

    def __init__(
        self,
        registry: Registry,
        runs: RunTable,
        cache: Cache,
        engine: Engine,
        clock: Clock,
        deriver: Deriver,
        waiters: Waiters,
        pacer: Pacer,
        asked: Asked,
        *,
        memo_size: int,
        retired: frozenset[str] = frozenset(),
    ) -> None:
        self.registry = registry
        self.runs = runs
        self.cache = cache
        self.clock = clock
        self.waiters = waiters
        self.pacer = pacer
        self.asked = asked
        self.stopping = False
        self._engine = engine
        self._deriver = deriver
        self._retired = retired
        self._memo: OrderedDict[bytes, Address] = OrderedDict()
        self._memo_size = memo_size
        self._resolving: Flights[bytes, tuple[Address, Resource | None]] = Flights()
        self._reading: Flights[bytes, Resource] = Flights()
        # A large content takes seconds and a hundred times its size to read, so they are read one after another.
        self._one_at_a_time = asyncio.Semaphore(1)
        self._starting: Flights[str, Run] = Flights()
        self._reported = lru_cache(maxsize=1024)(_report)

    def drain(self) -> None:
        """Start nothing more, and have those that wait answered now."""
        self.stopping = True
        self.waiters.close()

    def recall(self, target: bytes) -> Address | None:
        """The address of a request target that was located before."""
        key = _memo_key(target)
        address = self._memo.get(key)
        if address is not None:
            self._memo.move_to_end(key)
        return address

    async def locate(self, target: bytes, path: str, query: bytes) -> tuple[Address, Start]:
        """The address of a target whose path below the root is `path`, and how to make its resource.

        Raises:
            Problem: the path names nothing, or the parameters are not valid.
        """
        key = _memo_key(target)
        resolve = partial(self._resolve, path, query)
        # What is parsed in a thread is parsed once for all who ask meanwhile.
        address, resource = await (resolve() if len(query) < LONG_QUERY else self._resolving.join(key, resolve))
        self._memo[key] = address
        if len(self._memo) > self._memo_size:
            self._memo.popitem(last=False)
        return address, _already(resource) if resource else partial(self.bind, path, query)

    async def bind(self, path: str, query: bytes) -> Resource:
        """The resource of a target, parsed again."""
        model, _, _ = self.registry.find(path)
        return await _bound(model, query)

    def published(self, path: str) -> tuple[Model, bool, str | None]:
        """What `Registry.find` gives for a path.

        Raises:
            Problem: the path names nothing, or a version that is no longer served.
        """
        try:
            return self.registry.find(path)
        except (UnknownModel, UnknownVersion):
            if retired := self._retired_key(path):
                raise Retired(f"{retired} is no longer served; ask without a version for the newest.") from None
            raise

    async def locate_content(
        self, published: tuple[Model, bool, str | None], content: bytes, *, json: bool
    ) -> tuple[Address, Start]:
        """The address of what the content of a QUERY request asks for: a JSON object, or else a form.

        Raises:
            Problem: the parameters are not valid.
        """
        model, pinned, format = published
        parse = model.bind_json if json else model.bind
        if len(content) < LONG_QUERY:
            resource = parse(content)[0]
        else:
            hashed = (await asyncio.to_thread(hashlib.sha256, content)).digest()
            key = f"{model.key} {json} ".encode() + hashed
            resource = await self._reading.join(key, partial(self._read, parse, content))
        return _address(resource.id, model, immutable=pinned, fixed=format), _already(resource)

    async def _read(self, parse: Callable[[bytes], tuple[Resource, Bound]], content: bytes) -> Resource:
        async with self._one_at_a_time:
            return (await asyncio.to_thread(parse, content))[0]

    def locate_id(self, id: str, format: str | None = None) -> tuple[Address, Start]:
        """The same for the alias `/r/{id}`, or `/r/{id}.{format}`.

        Raises:
            UnknownId: there is no such resource, or it is forgotten.
            UnknownFormat: its model does not give this format.
        """
        run = self.runs.get(id)
        ghost = None if run else self.cache.ghost(id)
        if run is None and ghost is None:
            raise UnknownId("Repeat the original request.")
        key = run.model if run else model_key(ghost.uri) if ghost else ""
        model = self.registry.models.get(key)
        if model is None:
            if format is not None:
                raise UnknownFormat(f"{key} is no longer served; what is cached of it has one format, /r/{id}.")
            return self._retired_address(id, key, "../"), partial(self._revive, id, model)
        model.check_format(format)
        address = _address(id, model, immutable=True, fixed=format, base="../")
        return address, partial(self._revive, id, model)

    def glance(self, id: str) -> Seen | None:
        """What there is of a resource; None while its run is being recorded."""
        run = self.asked.pending(id)
        if run is not None:
            return Seen(run, None)
        return None if id in self._starting else Seen(None, self.cache.get(id))

    async def look(self, id: str) -> Seen:
        """The same. Who asks while its run is being recorded waits for that, and parses nothing."""
        run = self.asked.pending(id)
        if run is None and (starting := self._starting.current(id)):
            run = await starting
        return Seen(run, None if run else self.cache.get(id))

    def tell(self, run: Run) -> tuple[Run, int | None, Pace]:
        """What a client is told of a pending run: itself, its position, and when to ask again."""
        position = self.runs.position(run.id)
        return run, position, self.pacer.tell(run, position, self.clock.now())

    async def present(self, address: Address, seen: Seen) -> Seen:
        """The same, with what is ready in the format and coding of the address.

        Raises:
            NotAcceptable: the result cannot be given so.
            StorageFull: there is no room for it now.
        """
        primary = seen.found
        while isinstance(primary, Representation):
            try:
                given = await self._deriver.derive(primary, Format(address.format, address.media_type), address.codings)
            except Evicted:
                log.info("evicted while a variant was made", id=address.id)
            except FileNotFoundError as lost:
                log.error("stored result lost", id=address.id, reason=str(lost))
                await self.cache.discard(address.id)
            else:
                return seen._replace(found=given)
            seen = await self.look(address.id)
            primary = seen.found
        return seen

    async def answer(
        self, address: Address, seen: Seen, conditions: Conditions, start: Start, may_start: Callable[[], bool]
    ) -> Answer:
        """Decide on what was seen just now, and start a run where that is the decision.

        Raises:
            Problem: the run could not be started, or `may_start` forbids it or raises it.
        """
        id, (run, found) = address.id, seen
        names = (found.name,) if isinstance(found, Representation) else address.names
        digest = partial(self._digest, found, address)
        decision, tag = decide(_standing(run, found), id, names, conditions, digest)
        if tag is None and conditions.if_none_match and address.primary in names:
            self._doubt(conditions.if_none_match, address)
        if decision is not Decision.start:
            return Answer(decision, run, found, tag)
        self._admit(address, may_start)
        return Answer(Decision.accepted, await self._starting.join(id, lambda: self._submit(start)))

    def _admit(self, address: Address, may_start: Callable[[], bool]) -> None:
        if address.retired:
            raise Retired(f"{address.model} is no longer served; ask without a version for the newest.")
        if not may_start():
            raise NotStarted("A prefetch, or a page from elsewhere, gets what is there and starts nothing.")
        if self.stopping:
            raise Stopping("The service is stopping. Ask again in a moment.", retry_after=5)

    async def _submit(self, start: Start) -> Run:
        resource = await start()
        # A full table drops what nobody asks for, so it has to know of those who did just now.
        await self.asked.tell()
        run = await self.runs.submit(resource)
        # It will be sent a Retry-After, too.
        self.asked.note(run.id)
        self._engine.wake(run.queue)
        return run

    def _doubt(self, tags: tuple[EntityTag, ...], address: Address) -> None:
        """Report a ready tag of this resource that its digest speaks against: some run gave other bytes."""
        if shown := find_ready(tags, address.id, address.primary):
            self._reported(address.id, address.model, shown)

    async def _resolve(self, path: str, query: bytes) -> tuple[Address, Resource | None]:
        base = "../" * path.count("/")
        try:
            model, pinned, format = self.registry.find(path)
        except (UnknownModel, UnknownVersion):
            key = self._retired_key(path)
            if key is None:
                raise
            # Its parameters are not known any more, so only the canonical spelling leads to a result.
            uri = f"/{key}?{query.decode('latin-1')}" if query else f"/{key}"
            return self._retired_address(resource_id(uri), key), None
        resource = await _bound(model, query)
        return _address(resource.id, model, immutable=pinned, fixed=format, base=base), resource

    def _retired_key(self, path: str) -> str | None:
        return next((key for key in (path, path.rpartition(".")[0]) if key in self._retired), None)

    def _retired_address(self, id: str, key: str, base: str = "") -> Address:
        found = self.cache.get(id)
        media_type = found.media_type if isinstance(found, Representation) else "application/json"
        given = Format(found.format if isinstance(found, Representation) else format_name(media_type), media_type)
        return Address(
            id, key, *given, 0, immutable=True, retired=True, base=base, primary=given.name, formats=(given,)
        )  # fmt: skip

    async def _revive(self, id: str, model: Model | None) -> Resource:
        ghost = self.cache.ghost(id)
        if ghost is None or model is None:
            raise UnknownId("Repeat the original request.")
        query = ghost.uri.partition("?")[2].encode()
        resource = await _bound(model, query)
        if resource.id != id:
            raise UnknownId("The model's parameters have changed. Repeat the original request.")
        return resource

    def _digest(self, found: Representation | Failure | None, address: Address, name: str) -> bytes | None:
        if isinstance(found, Representation):
            return found.digest
        ghost = self.cache.ghost(address.id) if name == address.primary else None
        return ghost.digest if ghost else None


def _memo_key(target: bytes) -> bytes:
    """What is remembered of a target: itself, or its SHA-256, which no target looks like, for none begins so."""
    return target if len(target) <= SHORT_TARGET else b"#" + hashlib.sha256(target).digest()


def _report(id: str, model: str, shown: EntityTag) -> None:
    log.warning("nondeterministic: a client has another result than ours", id=id, model=model, tag=str(shown))


async def _bound(model: Model, query: bytes) -> Resource:
    if len(query) < LONG_QUERY:
        return model.bind(query)[0]
    return (await asyncio.to_thread(model.bind, query))[0]


def _already(resource: Resource) -> Start:
    async def start() -> Resource:
        return resource

    return start


def _address(id: str, model: Model, *, immutable: bool, fixed: str | None = None, base: str = "") -> Address:
    formats = tuple(given for given in model.formats if fixed in (None, given.name))
    return Address(
        id,
        model.key,
        *formats[0],
        model.options.max_age,
        immutable,
        fixed is not None,
        base=base,
        primary=model.format,
        formats=formats,
    )


def model_key(uri: str) -> str:
    """`name@version` of a canonical URI."""
    return uri.partition("?")[0].removeprefix("/")


def _standing(run: Run | None, found: Representation | Failure | None) -> Standing:
    if run is not None:
        return Standing.pending
    if isinstance(found, Representation):
        return Standing.ready
    if found is None:
        return Standing.absent
    return Standing.refused if found.kind is Kind.refused else Standing.failed
