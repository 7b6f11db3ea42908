"""Which stores are accepted at the start."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.valkey import Store, free_port

from etagere.errors import StartError, StoreAway
from etagere.valkey import Valkey


async def opened(url: str) -> None:
    store = Valkey(url, "etagere")
    try:
        await store.open()
    finally:
        await store.close()


@pytest.mark.anyio
@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random", "volatile-lru", "noeviction"])
async def test_a_store_that_may_evict_what_is_pending_is_refused(tmp_path: Path, policy: str) -> None:
    store = Store(tmp_path, "--maxmemory", "64mb", "--maxmemory-policy", policy).start()
    try:
        if policy.startswith("allkeys"):
            with pytest.raises(StartError, match=f"maxmemory-policy {policy}"):
                await opened(store.url)
        else:
            await opened(store.url)
    finally:
        store.stop()


@pytest.mark.anyio
async def test_a_store_that_is_not_there_or_refuses_the_password_is_named_without_it(tmp_path: Path) -> None:
    port = free_port()
    with pytest.raises(StoreAway, match=f"redis://127.0.0.1:{port}/0 cannot be reached") as away:
        await opened(f"redis://:secret@127.0.0.1:{port}/0")
    store = Store(tmp_path).start()
    try:
        store.command("CONFIG", "SET", "requirepass", "right")
        with pytest.raises(StartError, match="refuses these credentials") as refused:
            await opened(store.url.replace("redis://", "redis://:secret@"))
    finally:
        store.stop()
    assert all("secret" not in str(error.value) for error in (away, refused))
    assert not isinstance(refused.value, StoreAway), "to try again would not help"


@pytest.mark.parametrize(
    "url",
    [
        "nonsense", "", "http://127.0.0.1", "redis:127.0.0.1", "redis://127.0.0.1:x", "redis://127.0.0.1/nowhere",
        "redis://[::1", "redis://127.0.0.1/0?nonsense=1", ":secret@127.0.0.1:6379",
        "redis://:secret?a@127.0.0.1",
    ],
)  # fmt: skip
def test_what_is_no_address_of_a_store_is_told_how_one_is_written(url: str) -> None:
    with pytest.raises(StartError, match=r"is no store: write redis://HOST:6379/0, or rediss://") as refused:
        Valkey(url, "etagere")
    assert "secret" not in str(refused.value)
    assert "unix" not in str(refused.value)


@pytest.mark.anyio
async def test_a_store_that_refuses_is_not_said_to_be_away(tmp_path: Path) -> None:
    store = Store(tmp_path).start()
    try:
        with pytest.raises(StartError, match="/99 refuses what it is asked: DB index is out of range") as refused:
            await opened(store.url.removesuffix("0") + "99")
    finally:
        store.stop()
    assert not isinstance(refused.value, StoreAway)
