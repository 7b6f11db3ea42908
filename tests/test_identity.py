"""Who makes a request, where it is not by a key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from etagere.core.clients import Client, Role
from etagere.errors import Unauthorized
from etagere.identity import NOWHERE, Identify, Identity
from etagere.keys import Keyring
from etagere.testing.samples import ManualClock


def identity(tmp_path: Path, identify: Identify | None = None, *proxies: str) -> Identity:
    return Identity(Keyring(tmp_path / "keys.json", ManualClock()), None, identify, proxies)


def asked(peer: str | None, **more: Any) -> dict[str, Any]:
    return {"client": None if peer is None else (peer, 1234), **more}


@pytest.mark.parametrize(
    ("peer", "name"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("somewhere", NOWHERE),
        (None, NOWHERE),
    ],
)
def test_a_client_without_a_key_is_its_address(tmp_path: Path, peer: str | None, name: str) -> None:
    client = identity(tmp_path).client(asked(peer), {b"x-forwarded-for": b"198.51.100.1"})
    assert (client.name, client.role, client.tenant) == (name, Role.anonymous, "")


@pytest.mark.parametrize(
    ("peer", "forwarded", "name"),
    [
        ("10.0.0.1", b"198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", b"1.1.1.1, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", b"198.51.100.1, 10.0.0.9", "198.51.100.1"),
        ("10.0.0.1", b"[2001:db8::1]", "2001:db8::/64"),
        ("10.0.0.1", b"rubbish", "10.0.0.1"),
        ("10.0.0.1", b"1.1.1.1, rubbish, 10.0.0.9", "10.0.0.9"),
        ("10.0.0.1", b"", "10.0.0.1"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("192.0.2.7", b"198.51.100.1", "192.0.2.7"),
    ],
)
def test_only_a_proxy_of_ours_says_for_whom_it_asks(
    tmp_path: Path, peer: str, forwarded: bytes | None, name: str
) -> None:
    fields = {} if forwarded is None else {b"x-forwarded-for": forwarded}
    assert identity(tmp_path, None, "10.0.0.0/8", "::1").client(asked(peer), fields).name == name


def test_a_host_application_says_who_asks(tmp_path: Path) -> None:
    def of_scope(scope: Any) -> Client | None:
        return Client(scope["user"]) if "user" in scope else None

    who = identity(tmp_path, of_scope)
    assert who.checks
    assert who.client(asked("192.0.2.7", user="dora"), {}) == Client("dora", tenant="dora")
    assert not who.client(asked("192.0.2.7"), {}).known
    with pytest.raises(Unauthorized):
        who.client(asked("192.0.2.7"), {b"authorization": b"Bearer x"})


def test_without_keys_authorization_is_for_somebody_else(tmp_path: Path) -> None:
    who = identity(tmp_path)
    assert not who.checks
    assert who.client(asked("192.0.2.7"), {b"authorization": b"Bearer x"}).role is Role.anonymous


@pytest.mark.parametrize(("name", "tenant"), [("", ""), ("a" * 129, ""), ("a\n", ""), ("a", "b\x00")])
def test_a_client_has_a_name_that_can_be_printed(name: str, tenant: str) -> None:
    with pytest.raises(ValueError, match="named by"):
        Client(name, tenant=tenant)
