"""What the processes of many machines depend on: the store, the place for large results, the broker; are these well?"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from etagere.caches.blobstore import BlobStore
from etagere.caches.shared import INCOMING
from etagere.config import Settings
from etagere.core.credentials import covered
from etagere.doctor import Level, Remark
from etagere.errors import StartError, StorageFull
from etagere.factory import check_engine
from etagere.logs import printable, without_password
from etagere.valkey import Valkey

_CONTENT = b"etagere doctor"


async def examine(settings: Settings) -> AsyncIterator[Remark]:
    """Look at each that the settings name; the remarks as they come."""
    assert settings.store is not None
    yield await _store(settings.store, settings.namespace)
    if settings.blobs is not None:
        yield await _blobs(settings.blobs)
    if settings.engine is not None:
        yield await _broker(settings.engine)


async def _store(url: str, namespace: str) -> Remark:
    subject = f"store {without_password(url)}"
    try:
        store = Valkey(url, namespace)
        try:
            await store.open()
            return describe(subject, await store.about())
        finally:
            await store.close()
    except StartError as error:
        return Remark(Level.problem, subject, printable(str(error)))


def describe(subject: str, about: Mapping[str, str]) -> Remark:
    """What is said of a store that can be used: by what `Valkey.about` tells of it."""
    name = "Valkey" if "valkey_version" in about else "Redis"
    version = about.get("valkey_version") or about.get("redis_version", "of no known version")
    said = f"{name} {version}, maxmemory-policy {about.get('maxmemory_policy', 'noeviction')}"
    if about.get("aof_enabled") == "1":
        return Remark(Level.ok, subject, f"{said}, keeps what it has (appendonly yes)")
    if about.get("save") == "":
        kept = "keeps nothing on disk, so a restart forgets what was accepted"
    else:
        kept = "keeps snapshots at most, so a crash forgets what was accepted since the last"
    return Remark(Level.warning, subject, f"{said}, {kept}: set appendonly yes")


async def _blobs(url: str) -> Remark:
    subject = f"shared results {without_password(url)}"
    try:
        await _exercise(BlobStore(url))
    except (StartError, StorageFull, OSError) as error:
        cause = error.__cause__ if isinstance(error, StorageFull) else None
        return Remark(Level.problem, subject, covered(printable(str(cause or error))))
    return Remark(Level.ok, subject, "a small object was written, read and removed")


async def _exercise(blobs: BlobStore) -> None:
    # What is left of it, collectors remove.
    name = f"{INCOMING}/doctor.{secrets.token_hex(8)}"
    with tempfile.NamedTemporaryFile(prefix="etagere-") as file:
        file.write(_CONTENT)
        file.flush()
        await blobs.put(Path(file.name), name)
        try:
            await blobs.fetch(name, Path(file.name), len(_CONTENT), hashlib.sha256(_CONTENT).digest())
        finally:
            await blobs.remove(name)


async def _broker(engine: str) -> Remark:
    subject = f"broker {without_password(engine)}"
    try:
        check_engine(engine)
    except StartError as error:
        return Remark(Level.problem, subject, str(error))
    from etagere.factory.fleet import reach

    if fault := await asyncio.to_thread(reach, engine):
        return Remark(Level.problem, subject, f"it cannot be reached: {covered(printable(str(fault) or repr(fault)))}")
    return Remark(Level.ok, subject, "it is reached")
