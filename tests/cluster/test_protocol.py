"""docs/protocol.md is true: the worker that it shows, and the names that it tells."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from tests.cluster.processes import LEASE_S, Cluster, Part, cluster, until
from tests.cluster.proxy import proxy

from etagere import control

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "src" / "etagere" / "runs" / "lua"
PAGE = (ROOT / "docs" / "protocol.md").read_text()
BLOCKS = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", PAGE, re.M | re.S))
PROGRAM = """
import os, sys, time
x = int(sys.argv[1])
with open(f"{os.environ['STARTS']}/{x}", "a") as file:
    file.write(f"{os.getpid()}\\n")
if x == 13:
    os.kill(os.getpid(), 9)
if x < 0:
    sys.exit(3)
time.sleep(0.2 if x < 100 else 60 if os.environ.get("SLOW") else 2)
print(x * x, end="")
"""


class Shown:
    """A cluster whose models are run by the worker that the page shows, with a short lease and a program of ours."""

    def __init__(self, parts: Cluster) -> None:
        self.parts = parts
        source, found = re.subn(r"30\.0$", f"{LEASE_S}.0", BLOCKS["square_worker.py"], count=1, flags=re.M)
        source, replaced = re.subn(r'^PROGRAM = ".*"$', lambda _: f"PROGRAM = {PROGRAM!r}", source, flags=re.M)
        assert (found, replaced) == (1, 1)
        self.script = parts.directory / "square_worker.py"
        self.script.write_text(source)
        parts.target = parts.directory / "squares.py"
        parts.target.write_text(BLOCKS["squares.py"])
        self.processes: list[subprocess.Popen[bytes]] = []

    def worker(self, url: str = "", **env: str) -> subprocess.Popen[bytes]:
        name = f"shown-{len(self.processes)}"
        command = [sys.executable, str(self.script), url or self.parts.store.url, str(SCRIPTS), name]
        process = subprocess.Popen(command, env={**os.environ, **self.parts.settings, **env}, start_new_session=True)
        self.processes.append(process)
        return process

    def begun(self, x: int, times: int = 1) -> None:
        until(lambda: self.parts.started(str(x)) >= times, LEASE_S + 10, f"start {times} of {x}")

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[Shown]:
    with cluster(tmp_path) as parts:
        made = Shown(parts)
        try:
            yield made
        finally:
            made.stop()


def alive(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def operate(node: Part, operation: str, **arguments: object) -> dict[str, object]:
    return control.ask(Path(node.command[node.command.index("--data") + 1]), operation, **arguments)


def test_its_outcomes_are_had_from_a_node(shown: Shown) -> None:
    node, _, worker = shown.parts.node(), shown.parts.collector(), shown.worker()
    # One that has the models, too, but is for other queues.
    shown.parts.worker("--queue", "default")
    answer = node.result("/square?x=12")
    assert (answer.status, answer.json(), answer["Content-Type"]) == (200, 144, "application/json")
    failed = node.result("/square?x=-1")
    assert (failed.status, failed.json()["type"]) == (500, "/-/problems/run-failed")
    assert "exit status 3" in failed.json()["detail"]
    assert node.result("/square?x=13").json()["crashed"] == 3
    assert shown.parts.started("13") == 3
    status = operate(node, "status")
    told = status["nodes"]["shown-0"]  # type: ignore[index]
    assert (told["kind"], told["runs"], told["models"]) == ("worker", 1, ["square@1"])
    assert node.get("/square?x=101").status == 202
    shown.begun(101)
    shown.worker()
    worker.terminate()
    worker.wait(10)
    shown.begun(101, 2)
    assert node.result("/square?x=101").json() == 101 * 101


def test_it_renews_and_another_takes_over_when_it_is_killed(shown: Shown) -> None:
    node, _, first = shown.parts.node(), shown.parts.collector(), shown.worker(SLOW="1")
    assert node.get("/square?x=102").status == 202
    shown.begun(102)
    shown.worker()
    time.sleep(2 * LEASE_S)
    assert shown.parts.started("102") == 1
    os.killpg(first.pid, signal.SIGKILL)
    shown.begun(102, 2)
    assert node.result("/square?x=102").json() == 102 * 102


def test_it_stops_what_is_cancelled(shown: Shown) -> None:
    node, _, _ = shown.parts.node(), shown.parts.collector(), shown.worker(SLOW="1")
    id = node.get("/square?x=103").json()["id"]
    shown.begun(103)
    assert operate(node, "cancel", id=id)["became"] == "cancelled"
    assert not alive(shown.parts.pids("103")[0])
    assert node.result("/square?x=12").status == 200


def test_it_stops_its_own_run_when_it_is_cut_off(shown: Shown) -> None:
    with proxy(shown.parts.store.port) as between:
        node, _, _ = shown.parts.node(), shown.parts.collector(), shown.worker(between.url, SLOW="1")
        assert node.get("/square?x=104").status == 202
        shown.begun(104)
        between.cut()
        # It may be waiting for an answer at that moment, for three seconds.
        until(lambda: not alive(shown.parts.pids("104")[0]), LEASE_S + 4, "the end of its program")
        shown.worker()
        shown.begun(104, 2)
        between.heal()
        assert node.result("/square?x=104").json() == 104 * 104


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def first_cells(title: str) -> list[str]:
    """The names in the first column of a section's tables."""
    cells = re.findall(r"^\| (`.*?) \| ", section(title), re.M)
    return [name.replace("\\|", "|") for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def matches(name: str, known: list[str]) -> bool:
    patterns = (re.sub(r"<\w+>", ".+", re.escape(each)) for each in known)
    return any(re.fullmatch(pattern, name) for pattern in patterns)


class Seen:
    """The keys and fields that there are in a store, looked at again and again."""

    def __init__(self, url: str) -> None:
        self.store = redis.Redis.from_url(url, decode_responses=True)
        self.keys: set[str] = set()
        self.fields: dict[str, set[str]] = {}
        self.outcomes: set[str] = set()
        self.heard = self.store.pubsub(ignore_subscribe_messages=True)
        self.heard.subscribe("{etagere}:events")
        self.events: list[dict[str, object]] = []

    def look(self) -> None:
        for whole in self.store.scan_iter(count=1000):
            key = whole.removeprefix("{etagere}:")
            assert key != whole
            self.keys.add(key)
            if key.startswith(("run:", "meta", "result:", "ghost:")):
                self.fields.setdefault(key.partition(":")[0], set()).update(self.store.hkeys(whole))
        self.outcomes |= {field for _, entry in self.store.xrange("{etagere}:results") for field in entry}
        while message := self.heard.get_message():
            self.events += json.loads(message["data"])

    def close(self) -> None:
        self.heard.close()
        self.store.close()


@pytest.fixture
def seen(tmp_path: Path) -> Iterator[Seen]:
    """What is in a store during conversations of every kind."""
    with cluster(tmp_path, patience="1", max_pending="100", quota="1000/hour") as parts:
        seen = Seen(parts.store.url)
        node, worker, collector = parts.node(), parts.worker(), parts.collector()
        collector.freeze()
        for path in ("/nap?name=a", "/refuse?name=b", "/zeros?size=3000000", "/die?name=c", "/nap?name=d&seconds=60"):
            assert node.get(path).status == 202
        deadline = time.monotonic() + 4
        while time.monotonic() < deadline:
            seen.look()
            time.sleep(0.02)
        collector.thaw()
        paths = ["/nap?name=a", "/zeros?size=3000000", "/refuse?name=b", "/die?name=c"]
        assert [node.result(path).status for path in paths] == [200, 200, 422, 500]
        node.get("/nap?name=a", Accept_Encoding="gzip")
        parts.worker()
        worker.kill()
        operate(node, "purge", model="zeros")
        until(lambda: (seen.look(), {each["event"] for each in seen.events} >= {"claim", "deliver", "lose"})[1])
        try:
            yield seen
        finally:
            seen.close()


def test_what_is_in_a_store_is_on_the_page(seen: Seen) -> None:
    known = [*first_cells("The other keys"), *first_cells("What is finished"), "run:<id>"]
    places = [name.replace("<place>", "<model>|<queue>") for name in known]
    assert {key for key in seen.keys if not matches(key, places)} == set()
    assert seen.fields["run"] <= set(first_cells("A run"))
    for kind, title in (("meta", "The other keys"), ("result", "What is finished"), ("ghost", "What is finished")):
        [row] = [row for row in section(title).splitlines() if re.match(rf"\| `{kind}(:<id>)?` ", row)]
        assert seen.fields[kind] <= {*re.findall(r"`(\w+)`", row), "id", "derived"}, kind
    entry = {*first_cells("Outcomes"), "id", "attempt"}
    assert seen.outcomes <= entry
    assert {"body", "blob", "detail", "crashes"} - {"crashes"} <= seen.outcomes
    told = set(re.findall(r"`(\w+)`", section("Changes").partition("Events are ")[2].partition("\n\n")[0]))
    assert {each["event"] for each in seen.events} <= told
    scripts = "".join(path.read_text() for path in SCRIPTS.iterdir())
    assert {event for event in told if f"'{event}'" not in scripts} <= {
        "succeed",
        "fail",
        "crash",
        "release",
        "postpone",
    }
    numbers = [each["seq"] for each in seen.events]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_every_script_is_on_the_page() -> None:
    assert set(first_cells("The scripts")) == {path.stem for path in SCRIPTS.iterdir()} - {"common"}
