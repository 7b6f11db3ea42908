"""The thin driver: a request becomes a decision, and the decision its effects, through the ports."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from etagere.core.canonical import resource_id
from etagere.core.conditions import Conditions, Decision, Standing, decide
from etagere.core.etag import EntityTag
from etagere.core.lifecycle import Run
from etagere.core.media import format_name
from etagere.core.representation import Failure, Ghost, Kind, Representation, Resource
from etagere.errors import Retired, Stopping, UnknownId, UnknownVersion
from etagere.model import Model, Registry
from etagere.ports import Cache, Clock, Engine, RunTable

Start = Callable[[], Resource]


@dataclass(frozen=True, slots=True)
class Address:
    """Where a request target leads: the resource and how this URI presents it.

    `immutable` says that the URI pins the version, `fixed` that it pins the format, `retired` that
    the version is served from the cache alone.
    """

    id: str
    model: str
    format: str
    media_type: str
    max_age: int
    immutable: bool
    fixed: bool = False
    retired: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
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
        *,
        memo_size: int,
        retired: frozenset[str] = frozenset(),
    ) -> None:
        self.registry = registry
        self.runs = runs
        self.cache = cache
        self.clock = clock
        self.stopping = False
        self._engine = engine
        self._retired = retired
        self._memo: OrderedDict[bytes, Address] = OrderedDict()
        self._memo_size = memo_size

    def locate(self, path: str, query: bytes) -> tuple[Address, Start]:
        """The address of a request target, and how to make its resource, should it have to be started.

        Raises:
            Problem: the path names nothing, or the parameters are not valid.
        """
        key = hashlib.sha256(b"%b?%b" % (path.encode(), query)).digest()
        address = self._memo.get(key)
        if address is None:
            address = self._resolve(path, query)
            self._memo[key] = address
            if len(self._memo) > self._memo_size:
                self._memo.popitem(last=False)
        return address, partial(self._bind, path, query)

    def locate_id(self, id: str) -> tuple[Address, Start]:
        """The same for the alias `/r/{id}`.

        Raises:
            UnknownId: there is no such resource, or it is forgotten.
        """
        run, ghost = self.runs.get(id), self.cache.ghost(id)
        if run is None and ghost is None:
            raise UnknownId("Repeat the original request.")
        key = run.model if run else model_key(ghost.uri) if ghost else ""
        model = self.registry.models.get(key)
        address = _address(id, model, immutable=True) if model else self._retired_address(id, key)
        return address, partial(self._revive, ghost, model)

    async def answer(self, address: Address, conditions: Conditions, start: Start) -> Answer:
        """Decide, and start a run where that is the decision.

        Raises:
            Problem: the run could not be started.
        """
        id = address.id
        run = self.runs.get(id)
        found = None if run else self.cache.get(id)
        digest = partial(self._digest, found, id)
        decision, tag = decide(_standing(run, found), id, address.format, conditions, digest)
        if decision is not Decision.start:
            return Answer(decision, run, found, tag)
        if address.retired:
            raise Retired(f"{address.model} is no longer served; ask without a version for the newest.")
        if self.stopping:
            raise Stopping("The service is stopping. Ask again in a moment.", retry_after=5)
        run = await self.runs.submit(start())
        self._engine.wake(run.queue)
        return Answer(Decision.accepted, run)

    def _resolve(self, path: str, query: bytes) -> Address:
        try:
            model, pinned, format = self.registry.find(path)
        except UnknownVersion:
            if path not in self._retired:
                raise
            return self._resolve_retired(path, query)
        resource, _ = model.bind(query)
        return _address(resource.id, model, immutable=pinned, fixed=format is not None)

    def _resolve_retired(self, key: str, query: bytes) -> Address:
        # Its parameters are not known any more, so only the canonical spelling leads to a result.
        uri = f"/{key}?{query.decode('latin-1')}" if query else f"/{key}"
        return self._retired_address(resource_id(uri), key)

    def _retired_address(self, id: str, key: str) -> Address:
        found = self.cache.get(id)
        media_type = found.media_type if isinstance(found, Representation) else "application/json"
        return Address(id, key, format_name(media_type), media_type, max_age=0, immutable=True, retired=True)

    def _bind(self, path: str, query: bytes) -> Resource:
        model, _, _ = self.registry.find(path)
        return model.bind(query)[0]

    def _revive(self, ghost: Ghost | None, model: Model | None) -> Resource:
        if ghost is None or model is None:
            raise UnknownId("Repeat the original request.")
        return Resource(ghost.id, ghost.uri, model.key, model.options.queue)

    def _digest(self, found: Representation | Failure | None, id: str) -> bytes | None:
        if isinstance(found, Representation):
            return found.digest
        ghost = self.cache.ghost(id)
        return ghost.digest if ghost else None


def _address(id: str, model: Model, *, immutable: bool, fixed: bool = False) -> Address:
    return Address(id, model.key, model.format, model.media_type, model.options.max_age, immutable, fixed)


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
