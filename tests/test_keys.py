"""API keys and the file that they are kept in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from etagere import keys
from etagere.core.clients import Role
from etagere.errors import EtagereError, StartError, Unauthorized
from etagere.keys import Keyring
from etagere.testing.samples import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "new" / "keys.json"


def add(file: Path, clock: ManualClock, name: str = "alice", seconds: float | None = None) -> str:
    return keys.add(file, name, Role.client, ("heat",), None if seconds is None else clock.now() + seconds, clock.now())


def test_a_key_is_kept_as_its_hash_alone(file: Path, clock: ManualClock) -> None:
    key = add(file, clock)
    kept = file.read_text()
    assert key.removeprefix(keys.PREFIX) not in kept
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert len(key) >= len(keys.PREFIX) + 43, "256 bits"
    client = Keyring(file, clock).client(key)
    assert (client.name, client.role, client.tenant, client.models) == ("alice", "client", "alice", {"heat"})


def test_a_name_may_have_several_keys(file: Path, clock: ManualClock) -> None:
    old, new = add(file, clock), add(file, clock)
    ring = Keyring(file, clock)
    assert ring.client(old) == ring.client(new)
    (first, _) = keys.read(file)
    assert keys.remove(file, first.id) == [first]
    clock.advance(keys.LOOKED_AFTER_S)
    with pytest.raises(Unauthorized):
        ring.client(old)
    assert ring.client(new).name == "alice"
    assert len(keys.remove(file, "alice")) == 1
    assert keys.remove(file, "alice") == []


def test_a_key_expires(file: Path, clock: ManualClock) -> None:
    ring, key = Keyring(file, clock), add(file, clock, seconds=60)
    clock.advance(59)
    assert ring.client(key).name == "alice"
    clock.advance(1)
    with pytest.raises(Unauthorized, match="expired"):
        ring.client(key)


@pytest.mark.parametrize("key", ["", "etagere_", "etagere_\udc80", "ä" * 99])
def test_what_is_no_key_is_refused(file: Path, clock: ManualClock, key: str) -> None:
    add(file, clock)
    with pytest.raises(Unauthorized):
        Keyring(file, clock).client(key)


def test_a_file_that_is_spoiled_while_the_service_runs_locks_nobody_out(
    file: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    key = add(file, clock)
    ring = Keyring(file, clock)
    file.write_text("{")
    clock.advance(keys.LOOKED_AFTER_S)
    assert ring.client(key).name == "alice"
    assert "not read again" in caplog.text
    file.unlink()
    clock.advance(keys.LOOKED_AFTER_S)
    with pytest.raises(Unauthorized):
        ring.client(key)
    assert len(ring) == 0


@pytest.mark.parametrize("content", ["{", "[1]", '[{"name": "a b"}]', '[{"name": "a", "key": "etagere_secret"}]'])
def test_a_file_that_cannot_be_read_stops_the_start_and_shows_no_secret(
    file: Path, clock: ManualClock, content: str
) -> None:
    file.parent.mkdir()
    file.write_text(content)
    with pytest.raises(StartError, match=r"keys in .*keys\.json cannot be read") as error:
        Keyring(file, clock)
    assert "secret" not in str(error.value)
    with pytest.raises(StartError):
        add(file, clock)
    assert file.read_text() == content


def test_a_folder_in_its_place_is_told(file: Path, clock: ManualClock) -> None:
    file.mkdir(parents=True)
    with pytest.raises(StartError, match="directory"):
        Keyring(file, clock)
    file.rmdir()
    file.parent.rmdir()
    file.parent.write_text("")
    with pytest.raises(StartError, match="cannot be changed"):
        add(file, clock)


@pytest.mark.parametrize("name", ["", "1.2.3.4", "a b", "a/b", "jwt:a", "::1", "a" * 129, "é"])
def test_a_name_is_unlike_an_address(file: Path, clock: ManualClock, name: str) -> None:
    with pytest.raises(EtagereError, match="cannot be a name"):
        add(file, clock, name)


def test_keys_are_told_without_themselves(file: Path, clock: ManualClock) -> None:
    key = add(file, clock, seconds=1)
    (kept,) = keys.read(file)
    told = json.dumps(keys.described(kept))
    assert key not in told
    assert kept.sha256 not in told
    assert (keys.described(kept)["name"], keys.described(kept)["models"]) == ("alice", ["heat"])
