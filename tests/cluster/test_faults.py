"""Whatever one process of a cluster suffers, what was accepted comes to its end, once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.processes import LEASE_S, Cluster, cluster, until
from tests.cluster.proxy import proxy

FOUND_S = LEASE_S + 5
UNKNOWN_S = 5


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path, keep=True) as made:
        yield made


def begun(parts: Cluster, name: str, times: int = 1, seconds: float = 30) -> None:
    until(lambda: parts.started(name) >= times, seconds, f"start {times} of {name}")


def test_a_killed_worker(parts: Cluster) -> None:
    """Its runs are run again by another, in time; its process does not outlive it."""
    node, first, _ = parts.node(), parts.worker(), parts.collector()
    path = "/nap?name=a&seconds=5"
    assert node.get(path).status == 202
    begun(parts, "a")
    second = parts.worker()
    first.kill()
    began = time.monotonic()
    begun(parts, "a", 2, FOUND_S)
    assert time.monotonic() - began < FOUND_S
    assert node.result(path).status == 200
    assert (parts.started("a"), parts.ended("a")) == (2, 1)
    assert second.stop() == 0


def test_a_killed_model_process(parts: Cluster) -> None:
    node, _, _ = parts.node(), parts.worker(), parts.collector()
    path = "/nap?name=a&seconds=1"
    assert node.get(path).status == 202
    begun(parts, "a")
    os.kill(parts.pids("a")[0], signal.SIGKILL)
    assert node.result(path).status == 200
    assert (parts.started("a"), parts.ended("a")) == (2, 1)


def test_poison_stops_while_others_go_on(parts: Cluster) -> None:
    node, _, _ = parts.node(), parts.worker(), parts.collector()
    assert node.get("/die?name=poison").status == 202
    for n in range(5):
        assert node.result(f"/nap?name=well{n}").status == 200
    answer = node.result("/die?name=poison")
    assert (answer.status, answer.json()["attempts"]) == (500, 3)
    assert parts.started("poison") == 3


def test_a_killed_node(parts: Cluster) -> None:
    """Its clients go to another, with the tag that they have."""
    first, second, _, _ = parts.node(), parts.node(), parts.worker(), parts.collector()
    path = "/nap?name=a&seconds=1.5"
    tag = first.get(path).etag
    begun(parts, "a")
    first.kill()
    assert second.get(path, tag).status == 304
    assert second.result(path).status == 200
    assert parts.started("a") == 1


def test_a_killed_collector(parts: Cluster) -> None:
    """What has ended meanwhile waits for the next, and so does what the killed one had taken."""
    node, _, collector = parts.node(), parts.worker(), parts.collector()
    assert node.result("/nap?name=before").status == 200
    collector.freeze()
    for n in range(5):
        assert node.get(f"/nap?name=a{n}").status == 202
    until(lambda: all(parts.ended(f"a{n}") for n in range(5)))
    collector.kill()
    time.sleep(2 * LEASE_S)  # nobody takes what has been handed over for lost
    parts.collector()
    assert [node.result(f"/nap?name=a{n}").status for n in range(5)] == [200] * 5
    assert [parts.started(f"a{n}") for n in range(5)] == [1] * 5


def test_a_restarted_store(parts: Cluster) -> None:
    """With what it had: runs go on, and nobody starts them again."""
    node, _, _ = parts.node(), parts.worker(), parts.collector()
    path = "/nap?name=a&seconds=3"
    tag = node.get(path).etag
    begun(parts, "a")
    parts.store.restart()
    until(lambda: node.get(path, tag).status in (200, 304), UNKNOWN_S)
    assert node.result(path).status == 200
    assert (parts.started("a"), parts.ended("a")) == (1, 1)


def test_a_wiped_store(parts: Cluster) -> None:
    """No node takes for pending what is not there any more; the next ping rebuilds it."""
    nodes, _, _ = (parts.node(), parts.node()), parts.worker(), parts.collector()
    path = "/nap?name=a&seconds=5"
    tag = nodes[0].get(path).etag
    begun(parts, "a")
    parts.store.wipe()
    began = time.monotonic()
    until(lambda: nodes[1].get(path, tag).status == 202, UNKNOWN_S, "that a node forgets")
    until(lambda: nodes[0].get(path, tag).status == 304, UNKNOWN_S, "that the other hears of it")
    assert time.monotonic() - began < 2 * UNKNOWN_S
    assert nodes[0].result(path).status == 200
    assert parts.started("a") in (1, 2)  # the process that the store has forgotten may be taken for the new one's
    assert parts.ended("a") == 1
    assert nodes[0].result("/nap?name=b").status == 200


def test_a_lost_store(parts: Cluster) -> None:
    """Results that a node has are given; for all else it says when to come again, and heals by itself."""
    node, _, _ = parts.node(), parts.worker(), parts.collector()
    ready = node.result("/nap?name=ready")
    parts.store.kill()
    assert node.get("/nap?name=ready").etag == ready.etag
    until(lambda: node.get("/nap?name=new").status == 503)
    refused = node.get("/nap?name=new")
    assert (refused.json()["type"], refused["Retry-After"]) == ("/-/problems/store-lost", "2")
    time.sleep(UNKNOWN_S)
    assert node.get("/nap?name=ready").status == 200
    parts.store.start()
    until(lambda: node.get("/nap?name=new").status in (200, 202), UNKNOWN_S, "that it heals")
    assert node.result("/nap?name=new").status == 200


def test_a_frozen_worker(parts: Cluster) -> None:
    """Longer than its lease: another has its run; thawed, it gives up its own."""
    node, frozen, _ = parts.node(), parts.worker(), parts.collector()
    path = "/nap?name=a&seconds=6"
    assert node.get(path).status == 202
    begun(parts, "a")
    other = parts.worker()
    frozen.freeze()
    begun(parts, "a", 2, FOUND_S)
    frozen.thaw()
    first = parts.pids("a")[0]
    until(lambda: not Path(f"/proc/{first}").exists(), 5, "the end of the first process")
    assert node.result(path).status == 200
    assert parts.ended("a") == 1
    assert other.stop() == 0


def test_a_worker_that_is_cut_off(parts: Cluster) -> None:
    """It stops its own run when its lease is over, before anybody else can have begun one for long."""
    with proxy(parts.store.port) as between:
        node, _ = parts.node(), parts.collector()
        parts.worker(ETAGERE_STORE=between.url)
        path = "/nap?name=a&seconds=6"
        assert node.get(path).status == 202
        begun(parts, "a")
        first = parts.pids("a")[0]
        between.cut()
        until(lambda: not Path(f"/proc/{first}").exists(), LEASE_S + 3, "the end of its process")
        parts.worker()
        begun(parts, "a", 2, FOUND_S)
        between.heal()
        assert node.result(path).status == 200
        assert parts.ended("a") == 1
        assert node.result("/nap?name=b").status == 200


def test_a_slow_and_a_broken_line(parts: Cluster) -> None:
    """Of a node: late answers and ended connections cost time alone."""
    with proxy(parts.store.port) as between:
        node, _, _ = parts.node(ETAGERE_STORE=between.url), parts.worker(), parts.collector()
        between.delay = 0.2
        assert node.result("/nap?name=slow").status == 200
        between.delay = 0.0
        between.reset()
        until(lambda: node.get("/nap?name=again").status in (200, 202), UNKNOWN_S, "that it heals")
        assert node.result("/nap?name=again").status == 200
        assert parts.started("again") == 1


def test_a_stopped_worker_gives_its_run_back(parts: Cluster) -> None:
    """At once, and without a mark against it."""
    node, first, _ = parts.node(), parts.worker(), parts.collector()
    path = "/nap?name=a&seconds=2"
    assert node.get(path).status == 202
    begun(parts, "a")
    parts.worker()
    assert first.stop() == 0
    begun(parts, "a", 2, LEASE_S)
    assert node.result(path).status == 200


def test_a_worker_leaves_versions_that_it_has_not(parts: Cluster, tmp_path: Path) -> None:
    """While workers and nodes go over to a new version of a model, no request fails."""
    old = tmp_path / "old.py"
    old.write_text(parts.target.read_text())
    new = tmp_path / "new.py"
    new.write_text(old.read_text().replace('@app.model(version="1")\ndef nap', '@app.model(version="2")\ndef nap'))
    parts.target = old
    before, old_worker, _ = parts.node(), parts.worker(), parts.collector()
    parts.target = new
    after = parts.node()
    assert after.get("/nap?name=new").status == 202
    assert before.result("/nap?name=old").status == 200
    assert parts.started("new") == 0
    parts.worker()
    assert after.result("/nap?name=new").status == 200
    assert old_worker.stop() == 0
    assert before.get("/nap?name=old").status == 200
