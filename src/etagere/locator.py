"""From a request target to a resource: which one it names, and how that is made."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from etagere.core.canonical import encode, model_key, resource_id, resource_uri, tenant_of
from etagere.core.media import Format, coded_name, format_name
from etagere.core.representation import Representation, Resource
from etagere.errors import Retired, UnknownFormat, UnknownId, UnknownModel, UnknownVersion
from etagere.flights import Flights
from etagere.here import HERE
from etagere.model import Model, Registry
from etagere.parameters import Bound
from etagere.ports import Cache, Presence, RunTable
from etagere.reach import Reach

LONG_QUERY = 4096
"""Longer ones are parsed in a thread: the largest takes half a second."""

SHORT_TARGET = 512
"""Up to here a target is remembered as it is: hashing it takes longer than comparing it."""

_REMEMBERED = 10_000
_NOWHERE = "-"

Start = Callable[[], Awaitable[Resource]]


@dataclass(frozen=True, slots=True)
class Address:
    """Where a request target leads: the resource and how this URI presents it.

    `format` and `media_type` are what it gives, `formats` what a request can choose from; `primary` is
    the format that the run writes. `codings` are the content codings that a request takes, the best
    first, where it takes others than none. `immutable` says that the URI pins the version, `fixed` that
    it pins the format, `retired` that the version is served from the cache alone, `guarded` that not everybody may
    ask for it, `tenant` to whom a private one belongs; `base` leads from the URI to the root.
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
    guarded: bool = False
    tenant: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of what this request may be given, as they stand in tags."""
        return tuple(coded_name(self.format, coding) for coding in self.codings) or (self.format,)


class Locator:
    """Finds the resources of the models that a client can reach; for what is beyond that, it finds nothing.

    `memo_size` bounds the memo of request targets; `retired` are keys of versions that were served once. Of theirs it
    looks at the result, which `presence` brings.
    """

    def __init__(
        self,
        registry: Registry,
        runs: RunTable,
        cache: Cache,
        *,
        memo_size: int,
        retired: frozenset[str] = frozenset(),
        presence: Presence = HERE,
    ) -> None:
        self.registry = registry
        self._runs = runs
        self._cache = cache
        self._retired = retired
        self._presence = presence
        self._memo: OrderedDict[bytes, Address] = OrderedDict()
        self._memo_size = memo_size
        self._hidden: dict[str, tuple[str, str]] = {}
        self._resolving: Flights[tuple[Reach, bytes], tuple[Address, Resource | None]] = Flights()
        self._reading: Flights[bytes, Resource] = Flights()
        # A large content takes seconds and a hundred times its size to read, so they are read one after another.
        self._one_at_a_time = asyncio.Semaphore(1)

    def recall(self, target: bytes, reach: Reach) -> Address | None:
        """The address of a request target that was located before."""
        key = _memo_key(target)
        address = self._memo.get(key)
        if address is None and reach.tenant:
            key = _private_key(key, reach.tenant)
            address = self._memo.get(key)
        if address is None or (address.guarded and not reach.covers(address.model, address.tenant)):
            return None
        self._memo.move_to_end(key)
        return address

    async def locate(self, target: bytes, path: str, query: bytes, reach: Reach) -> tuple[Address, Start]:
        """The address of a target whose path below the root is `path`, and how to make its resource.

        Raises:
            Problem: the path names nothing, or the parameters are not valid.
        """
        key = _memo_key(target)
        resolve = partial(self._resolve, path, query, reach)
        # What is parsed in a thread is parsed once for all who ask meanwhile.
        resolving = resolve() if len(query) < LONG_QUERY else self._resolving.join((reach, key), resolve)
        address, resource = await resolving
        if not address.retired:
            self._memo[_private_key(key, address.tenant) if address.tenant else key] = address
        if len(self._memo) > self._memo_size:
            self._memo.popitem(last=False)
        return address, _already(resource) if resource else partial(self.bind, path, query, reach)

    async def bind(self, path: str, query: bytes, reach: Reach) -> Resource:
        """The resource of a target, parsed again."""
        model, _, _ = reach.registry.find(path)
        return await _bound(model, query, reach.tenant_for(model.key))

    def published(self, path: str, reach: Reach) -> tuple[Model, bool, str | None]:
        """What `Registry.find` gives for a path.

        Raises:
            Problem: the path names nothing, or a version that is no longer served.
        """
        try:
            return reach.registry.find(path)
        except (UnknownModel, UnknownVersion):
            if retired := self._retired_key(path, reach)[0]:
                raise Retired(f"{retired} is no longer served; ask without a version for the newest.") from None
            raise

    async def locate_content(
        self, published: tuple[Model, bool, str | None], content: bytes, reach: Reach, *, json: bool
    ) -> tuple[Address, Start]:
        """The address of what the content of a QUERY request asks for: a JSON object, or else a form.

        Raises:
            Problem: the parameters are not valid.
        """
        model, pinned, format = published
        tenant = reach.tenant_for(model.key)
        parse = partial(model.bind_json if json else model.bind, tenant=tenant)
        if len(content) < LONG_QUERY:
            resource = parse(content)[0]
        else:
            hashed = (await asyncio.to_thread(hashlib.sha256, content)).digest()
            key = f"{model.key} {json} {tenant} ".encode() + hashed
            resource = await self._reading.join(key, partial(self._read, parse, content))
        return _address(resource.id, model, reach, immutable=pinned, fixed=format), _already(resource)

    async def _read(self, parse: Callable[[bytes], tuple[Resource, Bound]], content: bytes) -> Resource:
        async with self._one_at_a_time:
            return (await asyncio.to_thread(parse, content))[0]

    def locate_id(self, id: str, reach: Reach, format: str | None = None) -> tuple[Address, Start]:
        """The same for the alias `/r/{id}`, or `/r/{id}.{format}`.

        Raises:
            UnknownId: there is no such resource, or it is forgotten, or not for this client.
            UnknownFormat: its model does not give this format.
        """
        key = self._within(id, reach)
        if key is None:
            raise UnknownId("Repeat the original request.")
        model = reach.registry.models.get(key)
        if model is None:
            if format is not None:
                raise UnknownFormat(f"{key} is no longer served; what is cached of it has one format, /r/{id}.")
            return self._retired_address(id, key, reach, "../"), partial(self._revive, id, model)
        model.check_format(format)
        address = _address(id, model, reach, immutable=True, fixed=format, base="../")
        return address, partial(self._revive, id, model)

    def _within(self, id: str, reach: Reach) -> str | None:
        """`name@version` of the model of a resource that has a run or had one; None where it is not within reach.

        That takes as long for what is hidden as for what is nowhere, whose run and ghost are looked for in vain.
        """
        hidden = self._hidden.get(id)
        if hidden is not None and not reach.covers(*hidden):
            self._cache.ghost(_NOWHERE)
            return None
        run = self._runs.get(id)
        ghost = None if run else self._cache.ghost(id)
        uri = f"{encode(run.tenant)}/{run.model}" if run else ghost.uri if ghost else ""
        found = model_key(uri), tenant_of(uri)
        if reach.covers(*found):
            return found[0]
        if uri:
            # What an id stands for never changes.
            if len(self._hidden) >= _REMEMBERED:
                self._hidden.clear()
            self._hidden[id] = found
        if run:
            self._cache.ghost(_NOWHERE)
        return None

    async def _resolve(self, path: str, query: bytes, reach: Reach) -> tuple[Address, Resource | None]:
        base = "../" * path.count("/")
        try:
            model, pinned, format = reach.registry.find(path)
        except (UnknownModel, UnknownVersion):
            key, format = self._retired_key(path, reach)
            if key is None:
                raise
            # Its parameters are not known any more, so only the canonical spelling leads to a result.
            name, _, version = key.partition("@")
            uri = resource_uri(name, version, query.decode("latin-1"), reach.tenant_for(key))
            id = resource_id(uri)
            if not self._presence.knows(id):
                await self._presence.load(id)
            address = self._retired_address(id, key, reach)
            if format is not None and format != address.format:
                raise UnknownFormat(f"{key} is no longer served; what is cached of it has one format.") from None
            return address, None
        resource = await _bound(model, query, reach.tenant_for(model.key))
        return _address(resource.id, model, reach, immutable=pinned, fixed=format, base=base), resource

    def _retired_key(self, path: str, reach: Reach) -> tuple[str | None, str | None]:
        """`name@version` of a path that names one that is retired, and the format that it names, if it does."""
        name, _, version = path.partition("@")
        version, format = reach.registry.split_format(version)
        key = f"{name}@{version}"
        return (key, format) if key in self._retired and name in reach.access else (None, None)

    def _retired_address(self, id: str, key: str, reach: Reach, base: str = "") -> Address:
        found = self._cache.get(id)
        media_type = found.media_type if isinstance(found, Representation) else "application/json"
        given = Format(found.format if isinstance(found, Representation) else format_name(media_type), media_type)
        return Address(
            id, key, *given, 0, immutable=True, retired=True, base=base, primary=given.name, formats=(given,),
            guarded=reach.guards(key), tenant=reach.tenant_for(key),
        )  # fmt: skip

    async def _revive(self, id: str, model: Model | None) -> Resource:
        ghost = self._cache.ghost(id)
        if ghost is None or model is None:
            raise UnknownId("Repeat the original request.")
        resource = await _bound(model, ghost.uri.partition("?")[2].encode(), tenant_of(ghost.uri))
        if resource.id != id:
            raise UnknownId("The model's parameters have changed. Repeat the original request.")
        return resource


def _memo_key(target: bytes) -> bytes:
    """What is remembered of a target: itself, or its SHA-256, which no target looks like, for none begins so."""
    return target if len(target) <= SHORT_TARGET else b"#" + hashlib.sha256(target).digest()


def _private_key(key: bytes, tenant: str) -> bytes:
    """What is remembered of a target that leads each tenant to a resource of its own; no target has such a space."""
    return b"%b %b" % (encode(tenant).encode(), key)


async def _bound(model: Model, query: bytes, tenant: str) -> Resource:
    if len(query) < LONG_QUERY:
        return model.bind(query, tenant)[0]
    return (await asyncio.to_thread(model.bind, query, tenant))[0]


def _already(resource: Resource) -> Start:
    async def start() -> Resource:
        return resource

    return start


def _address(
    id: str, model: Model, reach: Reach, *, immutable: bool, fixed: str | None = None, base: str = ""
) -> Address:
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
        guarded=reach.guards(model.key),
        tenant=reach.tenant_for(model.key),
    )
