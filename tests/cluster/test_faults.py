"""Whatever one process of a cluster suffers, what was accepted comes to its end, once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.processes import LEASE_S, Cluster, Part, cluster, is_below, until
from tests.cluster.proxy import proxy

from etagere import control
from etagere.errors import Refusal

# As docs/scaling.md promises.
FOUND_S = LEASE_S + 5
UNKNOWN_S = 5
# How long it takes a process to find the store again is promised nowhere.
HEALED_S = 15


class Base:
    """A node and a collector, which take a while to start and which most tests leave alone."""

    def __init__(self, parts: Cluster) -> None:
        self.parts = parts
        self.node, self.collector = parts.node(), parts.collector()
        self.lasting = len(parts.parts)

    def clear(self) -> None:
        """End what a test has started besides."""
        for part in self.parts.parts[self.lasting :]:
            if part.process is not None and part.process.poll() is None:
                part.thaw()
                part.stop()
        del self.parts.parts[self.lasting :]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Base]:
    with cluster(tmp_path_factory.mktemp("faults"), keep=True) as made:
        yield Base(made)


@pytest.fixture
def parts(base: Base) -> Iterator[Cluster]:
    yield base.parts
    base.clear()


@pytest.fixture
def node(base: Base) -> Part:
    return base.node


def begun(parts: Cluster, name: str, times: int = 1, seconds: float = 30) -> None:
    until(lambda: parts.started(name) >= times, seconds, f"start {times} of {name}")


def gone(pid: int, seconds: float) -> None:
    until(lambda: not Path(f"/proc/{pid}").exists(), seconds, "the end of a process")


def test_a_killed_worker(parts: Cluster, node: Part) -> None:
    """Its runs are run again by another, in time; their processes do not outlive it."""
    path = "/nap?name=killed&seconds=3"
    workers = [parts.worker(), parts.worker()]
    assert node.get(path).status == 202
    begun(parts, "killed")
    first = parts.pids("killed")[0]
    holder = next(worker for worker in workers if is_below(first, worker.pid))
    holder.kill()
    gone(first, 5)
    begun(parts, "killed", 2, FOUND_S)
    assert node.result(path).status == 200
    assert (parts.started("killed"), parts.ended("killed")) == (2, 1)


def test_a_killed_model_process(parts: Cluster, node: Part) -> None:
    parts.worker()
    path = "/nap?name=model&seconds=1"
    assert node.get(path).status == 202
    begun(parts, "model")
    os.kill(parts.pids("model")[0], signal.SIGKILL)
    assert node.result(path).status == 200
    assert (parts.started("model"), parts.ended("model")) == (2, 1)


def test_poison_stops_while_others_go_on(parts: Cluster, node: Part) -> None:
    parts.worker()
    assert node.get("/die?name=poison").status == 202
    for n in range(5):
        assert node.result(f"/nap?name=well{n}").status == 200
    answer = node.result("/die?name=poison")
    assert (answer.status, answer.json()["attempts"]) == (500, 3)
    assert parts.started("poison") == 3


def test_a_killed_node(parts: Cluster, node: Part) -> None:
    """Its clients go to another, with the tag that they have."""
    other, _ = parts.node(), parts.worker()
    path = "/nap?name=node&seconds=1.5"
    tag = other.get(path).etag
    begun(parts, "node")
    other.kill()
    assert node.get(path, tag).status == 304
    assert node.result(path).status == 200
    assert parts.started("node") == 1


def test_a_killed_collector(base: Base, parts: Cluster, node: Part) -> None:
    """What has ended meanwhile waits for the next, and so does what the killed one had taken."""
    parts.worker()
    base.collector.freeze()
    for n in range(5):
        assert node.get(f"/nap?name=kept{n}").status == 202
    until(lambda: all(parts.ended(f"kept{n}") for n in range(5)))
    base.collector.kill()
    time.sleep(1.5 * LEASE_S)  # nobody takes what has been handed over for lost
    base.collector = parts.collector()
    parts.parts.remove(base.collector)
    parts.parts.insert(0, base.collector)
    base.lasting += 1
    assert [node.result(f"/nap?name=kept{n}").status for n in range(5)] == [200] * 5
    assert [parts.started(f"kept{n}") for n in range(5)] == [1] * 5


def test_a_restarted_store(parts: Cluster, node: Part) -> None:
    """With what it had: runs go on, and nobody starts them again."""
    parts.worker()
    path = "/nap?name=restarted&seconds=2"
    tag = node.get(path).etag
    begun(parts, "restarted")
    parts.store.restart()
    until(lambda: node.get(path, tag).status in (200, 304), HEALED_S)
    assert node.result(path).status == 200
    assert (parts.started("restarted"), parts.ended("restarted")) == (1, 1)


def test_a_wiped_store(parts: Cluster, node: Part) -> None:
    """No node takes for pending what is not there any more; the next ping rebuilds it."""
    parts.worker()
    path = "/nap?name=wiped&seconds=3"
    tag = node.get(path).etag
    begun(parts, "wiped")
    parts.store.wipe()
    until(lambda: node.get(path, tag).status in (200, 202), UNKNOWN_S, "that a node forgets")
    assert node.result(path).status == 200
    # The process that the store has forgotten may be taken for the new run's.
    assert parts.started("wiped") in (1, 2)
    assert node.result("/nap?name=after").status == 200


def test_a_lost_store(parts: Cluster, node: Part) -> None:
    """Results that a node has are given; for all else it says when to come again, and heals by itself."""
    parts.worker()
    ready = node.result("/nap?name=ready")
    parts.store.kill()
    assert node.get("/nap?name=ready").etag == ready.etag
    until(lambda: node.get("/nap?name=new").status == 503)
    refused = node.get("/nap?name=new")
    assert (refused.json()["type"], refused["Retry-After"]) == ("/-/problems/store-lost", "2")
    with pytest.raises(Refusal):
        control.ask(Path(node.command[node.command.index("--data") + 1]), "drain")
    time.sleep(UNKNOWN_S)
    assert node.get("/nap?name=ready").status == 200
    with pytest.raises(Refusal, match="what is pending is not known"):
        control.ask(Path(node.command[node.command.index("--data") + 1]), "runs")
    parts.store.start()
    until(lambda: node.get("/nap?name=new").status in (200, 202), HEALED_S, "that it heals")
    assert node.result("/nap?name=new").status == 200
    assert "Traceback" not in node.log


def test_a_store_that_is_away_while_outcomes_are_collected(tmp_path: Path) -> None:
    """The collector that had taken them keeps them when it is back; none is computed again."""
    names = [f"kept{number}" for number in range(40)]
    with cluster(tmp_path, keep=True) as parts:
        node, _, store = parts.node(), parts.worker(), parts.store
        for name in names:
            assert node.get(f"/nap?name={name}").status == 202
        until(lambda: store.command("XLEN", "{etagere}:results") == b":40\r\n")
        store.command("XGROUP", "CREATE", "{etagere}:results", "collectors", "0")
        starting = threading.Thread(target=parts.collector)
        starting.start()
        until(lambda: not store.command("XPENDING", "{etagere}:results", "collectors").startswith(b"*4\r\n:0"))
        store.kill()
        store.start()
        starting.join()
        assert [node.result(f"/nap?name={name}").status for name in names] == [200] * len(names)
        assert [parts.started(name) for name in names] == [1] * len(names)


def test_a_frozen_worker(parts: Cluster, node: Part) -> None:
    """Longer than its lease: another has its run; thawed, it gives up its own."""
    frozen = parts.worker()
    path = "/nap?name=frozen&seconds=7"
    assert node.get(path).status == 202
    begun(parts, "frozen")
    frozen.freeze()
    first = parts.pids("frozen")[0]
    os.kill(first, signal.SIGSTOP)  # it has a session of its own
    parts.worker()
    begun(parts, "frozen", 2, FOUND_S)
    frozen.thaw()
    gone(first, 15)
    assert node.result(path).status == 200
    assert parts.ended("frozen") == 1


def test_a_worker_that_is_cut_off(parts: Cluster, node: Part) -> None:
    """It stops its own run when its lease is over, before anybody else can have begun one for long."""
    with proxy(parts.store.port) as between:
        parts.worker(ETAGERE_STORE=between.url)
        path = "/nap?name=cut&seconds=7"
        assert node.get(path).status == 202
        begun(parts, "cut")
        first = parts.pids("cut")[0]
        between.cut()
        gone(first, FOUND_S)
        parts.worker()
        begun(parts, "cut", 2, FOUND_S)
        between.heal()
        assert node.result(path).status == 200
        assert parts.ended("cut") == 1
        parts.parts[-2].stop()


def test_a_slow_and_a_broken_line(parts: Cluster) -> None:
    """Of a node: late answers and ended connections cost time alone."""
    with proxy(parts.store.port) as between:
        node, _ = parts.node(ETAGERE_STORE=between.url), parts.worker()
        between.delay = 0.2
        assert node.result("/nap?name=slow").status == 200
        between.delay = 0.0
        between.reset()
        until(lambda: node.get("/nap?name=again").status in (200, 202), HEALED_S, "that it heals")
        assert node.result("/nap?name=again").status == 200
        assert parts.started("again") == 1
        node.stop()


def test_a_line_that_says_all_twice(parts: Cluster) -> None:
    """Starts, claims, renewals and outcomes that are repeated late, by whoever is between, change nothing but time."""
    names = [f"twice{number}" for number in range(4)]
    with proxy(parts.store.port) as between:
        between.again = 0.05
        node, _, collector = (begin(ETAGERE_STORE=between.url) for begin in (parts.node, parts.worker, parts.collector))
        for name in names:
            assert node.get(f"/nap?name={name}&seconds=0.5").status == 202
        for name in names:
            assert node.result(f"/nap?name={name}&seconds=0.5").status == 200
        # A claim that is repeated has an answer that nobody hears: what it took waits for a lease, and is begun once.
        assert [parts.started(name) for name in names] == [1] * len(names)
        assert node.get(f"/nap?name={names[0]}&seconds=0.5").status == 200
        assert "Traceback" not in node.log + collector.log
        node.stop()
        collector.stop()


def test_a_stopped_worker_gives_its_run_back(parts: Cluster, node: Part) -> None:
    """At once, and without a mark against it."""
    workers = [parts.worker(), parts.worker()]
    path = "/nap?name=given&seconds=2"
    assert node.get(path).status == 202
    begun(parts, "given")
    first = parts.pids("given")[0]
    assert next(worker for worker in workers if is_below(first, worker.pid)).stop() == 0
    begun(parts, "given", 2, FOUND_S)
    assert node.result(path).status == 200


def test_a_worker_leaves_versions_that_it_has_not(parts: Cluster, node: Part, tmp_path: Path) -> None:
    """While workers and nodes go over to a new version of a model, no request fails."""
    old_worker = parts.worker()
    before, parts.target = parts.target, tmp_path / "new.py"
    parts.target.write_text(before.read_text().replace('version="1")\ndef nap', 'version="2")\ndef nap'))
    try:
        after = parts.node()
        assert after.get("/nap?name=newer").status == 202
        assert node.result("/nap?name=older").status == 200
        assert parts.started("newer") == 0
        parts.worker()
        assert after.result("/nap?name=newer").status == 200
        assert old_worker.stop() == 0
        assert node.get("/nap?name=older").status == 200
    finally:
        parts.target = before
