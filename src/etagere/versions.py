"""Which versions of models there are, and were: for a warning, and for results of those that are no longer served."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from etagere.config import Settings
from etagere.core.clients import Access
from etagere.logs import get_logger
from etagere.model import Registry
from etagere.source import Sources

log = get_logger("etagere")


class Published(NamedTuple):
    """A version once served: the hash of its source when it first was, and who could ask for it when it last was."""

    hash: str
    access: Access


class Record(Protocol):
    """Where the versions that were ever served are written down, by `name@version`."""

    async def load(self) -> Mapping[str, Published]:
        """All of them."""
        ...

    async def save(self, published: Mapping[str, Published]) -> None:
        """Write these down, too, or anew."""
        ...


async def publish(registry: Registry, record: Record, settings: Settings) -> tuple[Registry, Mapping[str, Access]]:
    """The registry under the versions to serve; and the keys of versions that were served once, and their access."""
    sources = Sources()
    if settings.dev:
        return registry.with_versions(lambda model: f"{model.version}.{sources.hash(model)}"), {}
    known = await record.load()
    hashes = compare(registry, known, sources)
    access = {key: Access(model.options.access or settings.access) for key, model in registry.models.items()}
    await record.save({key: Published(hash, access[key]) for key, hash in hashes.items()})
    return registry, {key: published.access for key, published in known.items() if key not in hashes}


def compare(registry: Registry, known: Mapping[str, Published], sources: Sources) -> Mapping[str, str]:
    """The hash of the source of each model when it was first served; tells which are another now."""
    # The hash of a source depends on the Python that read it, so one of another cannot be compared.
    python = f"{sys.version_info.major}.{sys.version_info.minor}:"
    first = {}
    for key, model in registry.models.items():
        found = python + sources.hash(model)
        old = known[key].hash if key in known else ""
        first[key] = old if old.startswith(python) else found
        if first[key] != found:
            log.warning("the model's source changed and its version did not: old results go on being served", model=key)
    return first
