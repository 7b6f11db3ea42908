"""What is counted of the conversation, as Prometheus would read it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.conversation.asking import MODELS, Asking, Gates
from tests.harness import Server

from etagere.core.tally import Answered

Samples = dict[tuple[str, ...], float]


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Gates:
    return Gates(tmp_path_factory.mktemp("gates"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, gated: Gates) -> Iterator[Server]:
    # Two runs may wait at their gates, and others go on.
    with Server.serve(MODELS, tmp_path_factory.mktemp("data"), "--runs", "3", env=gated.env) as server:
        yield server


def scrape(server: Server) -> Samples:
    text = server.get("/-/metrics").body.decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    found = {(sample.name, *sample.labels.values()): sample.value for sample in samples}
    assert len(found) == len(samples)
    return found


def answers(server: Server) -> Samples:
    return {key[1:]: value for key, value in scrape(server).items() if key[0] == "etagere_requests_total"}


def test_no_cache_may_keep_them(server: Server) -> None:
    answer = server.get("/-/metrics")
    assert (answer.status, answer["Cache-Control"]) == (200, "no-store")
    assert answer["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "ETag" not in answer.headers
    assert server.request("HEAD", "/-/metrics").body == b""


def test_every_kind_of_answer_is_counted(server: Server, gated: Gates) -> None:
    gate, other, ready = gated.new(), gated.new(), server.result("/quick?x=2").etag
    pending, tag = f"/gated?gate={gate}", server.get(f"/gated?gate={other}").etag
    for target in ("/refusing?x=1", "/failing?x=1"):
        server.result(target)
    expected = [
        (Answered.hit, lambda: server.get("/quick?x=2")),
        (Answered.hit, lambda: server.get("/quick?x=2", Prefer="wait=1")),
        (Answered.partial, lambda: server.get("/quick?x=2", Range="bytes=0-3")),
        (Answered.revalidated, lambda: server.get("/quick?x=2", ready)),
        (Answered.started, lambda: server.get(pending)),
        (Answered.joined, lambda: server.get(pending)),
        (Answered.joined, lambda: server.query("/gated", {"gate": gate})),
        (Answered.pending, lambda: server.get(f"/gated?gate={other}", tag)),
        (Answered.refused, lambda: server.get("/refusing?x=1")),
        (Answered.failed, lambda: server.get("/failing?x=1")),
        (Answered.rejected, lambda: server.get("/quick?y=2")),
        (Answered.rejected, lambda: server.request("POST", "/quick?x=2")),
        (Answered.rejected, lambda: server.get("/quick?x=3", Cache_Control="only-if-cached")),
        (Answered.unavailable, lambda: server.get("/quick?x=3", Sec_Purpose="prefetch")),
        (Answered.started, lambda: server.query("/quick", {"x": 4})),
        (Answered.waited, lambda: server.get("/quick?x=5", Prefer="wait=20")),
        (Answered.other, lambda: server.get("/-/health/live")),
        (Answered.other, lambda: server.get("/quick?x=2", Accept="text/html")),
    ]
    for kind, ask in expected:
        before = answers(server)
        ask()
        after = answers(server)
        changed = {key[0]: after[key] - before[key] for key in after if after[key] > before[key]}
        # The scrape itself is another one.
        assert changed == Counter([kind, Answered.other]), kind
    for each in (gate, other):
        gated.open(each)
        server.result(f"/gated?gate={each}")


def test_runs_and_queues_and_clients_that_wait(server: Server, gated: Gates) -> None:
    before, gates = scrape(server), [gated.new() for _ in range(4)]
    for gate in gates:
        server.get(f"/gated?gate={gate}")
    while (during := scrape(server))["etagere_runs", "gated@1", "running"] < 3:
        pass
    assert during["etagere_runs", "gated@1", "queued"] == during["etagere_queue_runs", "default"] == 1
    assert during["etagere_queue_oldest_age_seconds", "default"] > 0
    with Asking(server, f"/gated?gate={gates[0]}", Prefer="wait=20") as waiting:
        while scrape(server)["etagere_waiting_clients",] != 1:
            pass
        for gate in gates:
            gated.open(gate)
        assert waiting.answer().status == 200
    for gate in gates:
        server.result(f"/gated?gate={gate}")
    after = scrape(server)
    ended = ("etagere_runs_ended_total", "gated@1", "succeeded")
    assert after[ended] - before[ended] == 4
    assert after["etagere_queue_runs", "default"] == after["etagere_queue_oldest_age_seconds", "default"] == 0
    assert after["etagere_waiting_clients",] == 0
    times = ("etagere_run_duration_seconds_count", "gated@1")
    assert after[times] - before.get(times, 0) == 4


def test_what_is_saved_is_what_was_not_computed_again(server: Server) -> None:
    key = ("etagere_saved_seconds_total", "table@1")
    assert server.get("/table?rows=9", Prefer="wait=20").status == 200
    assert scrape(server)[key] == 0
    (took,) = [scrape(server)["etagere_run_duration_seconds_sum", "table@1"]]
    answer = server.get("/table?rows=9")
    assert scrape(server)[key] == pytest.approx(took)
    server.get("/table?rows=9", answer.etag)
    server.get("/table?rows=9", Prefer="wait=1")
    for _ in range(3):
        server.get("/table?rows=9")
    assert scrape(server)[key] == pytest.approx(6 * took)
    server.get("/table?rows=9", Range="bytes=0-1")
    assert scrape(server)[key] == pytest.approx(6 * took)


def test_what_the_cache_holds(server: Server) -> None:
    before = scrape(server)
    body = server.result("/table?rows=2000").body
    after = scrape(server)
    assert after["etagere_cache_bytes",] - before["etagere_cache_bytes",] == len(body)
    assert after["etagere_cache_representations",] - before["etagere_cache_representations",] == 1
    assert after["etagere_cache_ghosts",] - before["etagere_cache_ghosts",] == 1


def test_labels_are_of_a_few_known_values(server: Server) -> None:
    server.result("/quick?x=7&label=secret")
    server.get("/nosuch@9?x=7")
    text = server.get("/-/metrics").body.decode()
    models = {f"{model['name']}@" for model in server.get("/").json()["models"]}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            assert sample.labels.keys() <= {"answer", "model", "state", "outcome", "queue", "le", "version"}
            assert not (model := sample.labels.get("model")) or model.partition("@")[0] + "@" in models
    assert not re.search(r"secret|nosuch|127\.0\.0\.1|[a-z2-7]{32}", text)


def test_names_follow_the_conventions(server: Server) -> None:
    text = server.get("/-/metrics").body.decode()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        assert re.fullmatch(r"(etagere|process)(_[a-z]+)+", name)
        assert name.endswith("_total") is (kind == "counter")


def test_a_service_begins_at_nothing(tmp_path: Path, gated: Gates) -> None:
    with Server.serve(MODELS, tmp_path / "data", env=gated.env) as fresh:
        found = scrape(fresh)
    counted = {key: value for key, value in found.items() if key[0].endswith("_total") and key[0].startswith("etagere")}
    assert {key[0] for key in counted} >= {"etagere_runs_ended_total", "etagere_saved_seconds_total"}
    assert sum(counted.values()) == 0
