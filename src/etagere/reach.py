"""What each client can reach: the models that it may ask for, and the tenant of its private results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from etagere.core.clients import Access, Client
from etagere.model import Registry

_REMEMBERED = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Reach:
    """Models by the name, those too of which only retired versions are left; all others do not exist for this client.

    `registry` has those that are served, `tenant` is whose private results it gets. `shut_out` says that there are
    more for those who show who they are, and this client has not.
    """

    registry: Registry
    access: Mapping[str, Access]
    tenant: str = ""
    shut_out: bool = False

    def covers(self, model: str, tenant: str) -> bool:
        """Whether a resource of a model (`name@version`) is within reach; `tenant` is that before its URI."""
        access = self.access.get(model.partition("@")[0])
        if access is Access.private:
            return bool(tenant) and tenant == self.tenant
        return access is not None and not tenant

    def guards(self, model: str) -> bool:
        """Whether not everybody may ask for a model (`name@version`)."""
        return self.access.get(model.partition("@")[0]) is not Access.open

    def tenant_for(self, model: str) -> str:
        """The tenant before the URIs of a model (`name@version`); empty where its results are shared."""
        return self.tenant if self.access.get(model.partition("@")[0]) is Access.private else ""


class Reaches:
    """Finds out what a client can reach.

    `default` counts for models that do not say; `retired` has keys of versions that were served once, and who could
    ask for them.
    """

    def __init__(self, registry: Registry, default: Access, retired: Mapping[str, Access]) -> None:
        self._registry = registry
        self._access: dict[str, Access] = {}
        # Of versions that differ in it, the strictest counts.
        for key, access in sorted(retired.items(), key=lambda one: list(Access).index(one[1])):
            self._access[key.partition("@")[0]] = access
        for model in registry.models.values():
            self._access[model.name] = Access(model.options.access or default)
        self._of = lru_cache(maxsize=_REMEMBERED)(self._found)
        self._restricted = lru_cache(maxsize=_REMEMBERED)(registry.restricted)

    @property
    def access(self) -> Mapping[str, Access]:
        """Who may ask for each model, by its name."""
        return self._access

    @property
    def guarded(self) -> bool:
        """Whether there is a model that not everybody may ask for."""
        return any(access is not Access.open for access in self._access.values())

    def of(self, client: Client) -> Reach:
        """What this client can reach."""
        models = None if client.models is None else frozenset(client.models)
        return self._of(client.known, models, client.tenant)

    def _found(self, known: bool, models: frozenset[str] | None, tenant: str) -> Reach:
        access = {
            name: access
            for name, access in self._access.items()
            if access is Access.open or (known and (models is None or name in models))
        }
        if len(access) == len(self._access):
            return Reach(self._registry, access, tenant)
        return Reach(self._restricted(frozenset(access)), access, tenant, shut_out=not known)
