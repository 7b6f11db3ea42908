"""Each kind of client gets the body, by itself and through each cache, whatever happens meanwhile."""

from __future__ import annotations

import gzip
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from judges.proxies import PROXIES, Nginx, Proxy, between
from judges.service import PlainClient, Service, TagClient
from judges.tls import Keyed, bearer
from tests.harness import Answer, Server

from etagere.core.canonical import resource_id

PATIENCE = 30.0
BOTH_KINDS = pytest.mark.parametrize("kind", [TagClient, PlainClient], ids=["with tags", "without tags"])


def name(way: Server, kind: type[TagClient], what: str) -> str:
    """A gate that no other check uses."""
    return f"{what}{way.netloc.partition(':')[2]}{kind.__name__}"


def is_hit(answer: Answer) -> bool:
    """Whether a cache says that it had this answer."""
    return str(answer.headers.get("X-Cache", "")).startswith("HIT")


def is_pending(answer: Answer) -> bool:
    """Whether an answer says that the run goes on; never one from a cache."""
    pending = answer.status == 202 or (answer.status == 304 and "Retry-After" in answer.headers)
    assert not (pending and is_hit(answer)), answer.headers
    return pending


def poll(client: TagClient, server: Server, path: str) -> Answer:
    """Ask until something else than "pending" is answered."""
    deadline = time.monotonic() + PATIENCE
    while is_pending(answer := client.ask(server, path)):
        assert time.monotonic() < deadline, answer.headers
        time.sleep(0.02)
    return answer


@BOTH_KINDS
def test_one_client_gets_the_body(service: Service, way: Server, kind: type[TagClient]) -> None:
    gate, client = name(way, kind, "one"), kind()
    path = f"/gated?gate={gate}"
    assert client.ask(way, path).status == 202
    assert is_pending(client.ask(way, path))
    service.open(gate)
    answer = poll(client, way, path)
    assert (answer.status, answer.json()) == (200, {"gate": gate, "version": "1"})


@BOTH_KINDS
def test_two_clients_get_the_body_and_the_cache_gives_it_to_a_third(
    service: Service, way: Server, kind: type[TagClient]
) -> None:
    gate, first, second = name(way, kind, "two"), kind(), kind()
    path = f"/gated?gate={gate}"
    for client in (first, second, first, second):
        assert is_pending(client.ask(way, path))
    service.open(gate)
    assert poll(first, way, path).status == 200
    assert second.ask(way, path).status == 200
    assert second.body == first.body
    third = way.get(path)
    assert (third.status, third.body, is_hit(third)) == (200, first.body, way is not service)
    if kind is TagClient:
        assert first.ask(way, path).status == 304


@BOTH_KINDS
def test_an_evicted_result_is_computed_again(tmp_path: Path, kind: type[TagClient], cache: type[Proxy] | None) -> None:
    with Service(tmp_path, ETAGERE_CACHE_SIZE=str(5 << 20)) as service, between(service, cache, tmp_path) as way:
        client, known = kind(), TagClient()
        assert is_pending(client.ask(way, "/large?fill=1"))
        ready = service.result("/large?fill=1")
        known.tag = ready.etag
        for fill in (2, 3):
            assert service.result(f"/large?fill={fill}").status == 200
        assert service.get(f"/r/{ready.etag[1:33]}/status").json()["state"] == "absent"
        assert poll(client, way, "/large?fill=1").status == 200
        assert client.body == bytes([1]) * (2 << 20)
        assert poll(known, way, "/large?fill=1").status == 304


@BOTH_KINDS
def test_a_restart_of_the_service_is_survived(service: Service, way: Server, kind: type[TagClient]) -> None:
    gate, client = name(way, kind, "restart"), kind()
    path = f"/gated?gate={gate}"
    assert client.ask(way, path).status == 202
    service.restart()
    assert is_pending(client.ask(way, path))
    service.open(gate)
    assert poll(client, way, path).status == 200
    assert client.body is not None


@BOTH_KINDS
def test_a_new_version_reaches_those_who_have_the_old_one(
    tmp_path: Path, kind: type[TagClient], cache: type[Proxy] | None
) -> None:
    with Service(tmp_path, MAX_AGE="1") as service, between(service, cache, tmp_path) as way:
        old, new = kind(), kind()
        assert is_pending(old.ask(way, "/gated?gate=g"))
        service.open("g")
        assert poll(old, way, "/gated?gate=g").json()["version"] == "1"
        (service.gates / "g").unlink()
        service.restart(VERSION="2")
        assert run_of_the_new_version_is_pending(old, way)
        assert is_pending(new.ask(way, "/gated?gate=g"))
        service.open("g")
        for client in (old, new):
            assert poll(client, way, "/gated?gate=g").json()["version"] == "2"
        assert service.get("/gated@2?gate=g").json()["version"] == "2"


def run_of_the_new_version_is_pending(client: TagClient, way: Server) -> bool:
    """Ask until what a cache has of the old version is no longer fresh."""
    deadline = time.monotonic() + PATIENCE
    while not is_pending(client.ask(way, "/gated?gate=g")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return True


@pytest.mark.parametrize("cache", PROXIES, indirect=True)
def test_a_stored_result_outlives_the_service(tmp_path: Path, cache: type[Proxy]) -> None:
    with Service(tmp_path) as service, between(service, cache, tmp_path) as way:
        service.open("g")
        body = way.result("/gated?gate=g").body
        service.kill()
        answer = way.get("/gated?gate=g")
        assert (answer.status, answer.body, is_hit(answer)) == (200, body, True)


def test_one_who_waits_does_not_hold_the_others(service: Service, way: Server) -> None:
    gate = f"wait{way.netloc.partition(':')[2]}"
    path, status = f"/gated?gate={gate}", f"/r/{resource_id(f'/gated@1?gate={gate}')}/status"
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(way.get, path, Prefer="wait=10")
        while service.get(status).status == 404:
            time.sleep(0.01)
        begun = time.monotonic()
        assert way.get(path).status == 202
        assert time.monotonic() - begun < 2
        service.open(gate)
        assert waiting.result().status == 200


@pytest.mark.parametrize("bytes_sent", [7_900, 59_000])
def test_a_long_target_comes_through_whole(way: Server, bytes_sent: int) -> None:
    start = "/length?text="
    answer = way.result(start + "a" * (bytes_sent - len(start)))
    if bytes_sent > 8_000 and "squid" in str(answer.headers.get("Via", "")):
        assert answer.status == 400, "Squid's own limit, which is in the documents"
    else:
        assert (answer.status, answer.json()) == (200, bytes_sent - len(start))


def test_each_client_gets_a_coding_that_it_takes(service: Service, way: Server) -> None:
    whole = service.result("/many?n=3000").body
    for coding in ("gzip", "identity", "gzip", "identity"):
        asked = {"Accept-Encoding": coding}
        answer = way.request("GET", "/many?n=3000", asked)
        coded = answer.headers["Content-Encoding"]
        assert coded in (None, coding)
        assert (gzip.decompress(answer.body) if coded else answer.body) == whole
        # Varnish decodes by itself, and then says by a weak tag that these are other bytes.
        assert coded or ".gz" not in answer.etag or answer.etag.startswith("W/")
        assert way.request("GET", "/many?n=3000", {**asked, "If-None-Match": answer.etag}).status == 304


def test_a_cache_told_to_store_everything_only_delays(tmp_path: Path, service: Service) -> None:
    """As docs/caches.md says: pings stand still for its time, and the body comes all the same."""
    if Nginx.found() is None:
        pytest.skip("nginx is not installed")
    everything = "proxy_cache etagere;\n    proxy_ignore_headers Cache-Control;\n    proxy_cache_valid any 1s;"
    with Nginx(tmp_path, service.port, {"proxy_cache etagere;": everything}) as way:
        client, path = TagClient(), "/gated?gate=everything"
        assert client.ask(way, path).status == 202
        service.open("everything")
        assert service.result(path).status == 200
        stored = client.ask(way, path)
        # The stored 202, or 304 because its tag is that of the client; both say "pending" to a client.
        assert stored.status in (202, 304)
        deadline = time.monotonic() + PATIENCE
        while client.ask(way, path).status != 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert client.body == b'{"gate":"everything","version":"1"}'


def test_what_needs_a_key_is_given_to_nobody_else(tmp_path: Path, cache: type[Proxy] | None) -> None:
    with Keyed(tmp_path) as service, between(service, cache, tmp_path) as way:
        for target in ("/many?n=7", "/many@1?n=7"):
            answer = way.result(target, **bearer(service.key))
            assert (answer.status, answer["Cache-Control"].partition(",")[0]) == (200, "private")
            again = way.get(target, **bearer(service.key))
            assert (again.status, again.body, is_hit(again)) == (200, answer.body, False)
            assert way.get(target, Authorization="").status == 401
            assert way.get(target, again.etag, Authorization="").status == 401
