"""The operators' commands against a running service, as a person and as a program call them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from tests.conversation.asking import Asking, Gates
from tests.faults.service import eventually
from tests.harness import Server
from tests.test_cli import etagere
from typer.testing import CliRunner

from etagere.cli import app
from etagere.control import ask
from etagere.errors import Refusal

MODELS = Path(__file__).parent / "models" / "operated.py"


class Operated(Server):
    """A service of two runs at once, with its data directory and gates."""

    data: Path
    gates: Gates

    def ask(self, operation: str, **arguments: Any) -> dict[str, Any]:
        return ask(self.data, operation, **arguments)

    def call(self, *arguments: str) -> tuple[int, str, str]:
        done = etagere(*arguments, "--data", str(self.data))
        return done.returncode, done.stdout, done.stderr

    def begin(self) -> tuple[str, str, str]:
        """Start a run: its gate, target and id."""
        gate = self.gates.new()
        target = f"/gated?gate={gate}"
        return gate, target, self.get(target).etag[3:-1]

    def going(self) -> tuple[str, str, str]:
        """The same, and it waits at its gate."""
        begun = self.begin()
        eventually(lambda: any(run["id"] == begun[2] and run["progress"] for run in self.runs("running")), 20, "begun")
        return begun

    def runs(self, state: str | None = None) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("runs", state=state)["runs"]
        return found


def operated(tmp: Path, runs: int = 2) -> Operated:
    (tmp / "gates").mkdir(exist_ok=True)
    gates = Gates(tmp / "gates")
    serve = Server.serve(MODELS, tmp / "data", "--runs", str(runs))
    service = Operated(serve.command, gates.env)
    service.data, service.gates = tmp / "data", gates
    return service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    with operated(tmp_path_factory.mktemp("operated")) as service:
        yield service


@pytest.fixture(autouse=True)
def _tidy(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test leaves the service that they share without runs."""
    yield
    if "service" in request.fixturenames:
        service: Operated = request.getfixturevalue("service")
        for run in service.runs():
            with suppress(Refusal):  # it has come to its end
                service.ask("cancel", id=run["id"])
        eventually(lambda: not service.runs(), 20, "no run is left")
        service.ask("purge")


def test_the_status(service: Operated) -> None:
    assert service.result("/quick?x=1").json() == -1.0
    for _ in range(2):
        service.going()
    _, _, waiting = service.begin()
    with Asking(service, f"/r/{waiting}/events") as asking:
        asking.begin()
        done = service.ask("status")
        status, shown, _ = service.call("status")
    assert (done["pid"], done["version"], done["draining"]) == (service.pid, version("etagere"), False)
    assert (done["queued"], done["running"], done["waiting"]) == (1, 2, 1)
    assert 0 <= done["oldest"] <= done["uptime"]
    assert (done["results"], done["bytes"]) == (1, 4)
    assert done["models"] == ["failing@1", "gated@1", "large@1", "quick@1", "quick@2"]
    assert (done["nondeterministic"], done["scrubber"]["damaged"]) == ({}, 0)
    assert status == 0
    assert f"service           etagere {version('etagere')}, process {service.pid}, since 2" in shown
    assert "state             serving\n" in shown
    assert re.search(
        r"^runs              1 queued, 2 running; the oldest queued one is \d+ s old$", shown, re.MULTILINE
    )
    assert re.search(r"^cache             1 result, 4 bytes$", shown, re.MULTILINE)


def test_the_runs(service: Operated) -> None:
    assert service.call("runs") == (0, "No runs are pending.\n", "")
    ids = [service.going()[2], service.going()[2], service.begin()[2], service.begin()[2]]
    assert [run["id"] for run in service.runs()] == ids
    assert [run["id"] for run in service.runs("queued")] == ids[2:]
    first, *_, last = service.runs()
    assert (first["model"], first["attempt"], first["progress"], first["position"]) == ("gated@1", 1, 0.5, None)
    assert (last["state"], last["attempt"], last["progress"], last["position"]) == ("queued", 0, None, 2)
    status, shown, _ = service.call("runs", "--state", "running")
    head, *lines = shown.splitlines()
    assert status == 0
    assert head.split() == ["ID", "MODEL", "CLIENT", "STATE", "ATTEMPT", "PROGRESS", "AGE", "POSITION", "MESSAGE"]
    assert [line.split()[:6] for line in lines] == [
        [id, "gated@1", "127.0.0.1", "running", "1", "50%"] for id in ids[:2]
    ]
    assert all(line.endswith(r"at the\x1b[2J\ngate") for line in lines), "it does not steer the terminal"
    assert [line.index("gated@1") for line in lines] == [head.index("MODEL")] * 2
    assert service.call("runs", "--state", "gone")[0] == 2


def test_what_a_run_has_printed(service: Operated) -> None:
    id = service.get("/failing?x=1").etag[3:-1]
    assert service.result("/failing?x=1").status == 500
    status, shown, _ = service.call("logs", id)
    assert status == 0
    assert shown.startswith(f"Attempt 1 of {id}: failed, 2")
    assert "\nlast\\x1b[2J words\nof a run\n" in shown
    assert "\nTraceback (most recent call last)" in shown
    assert shown.endswith("ValueError: the reason\n")
    status, shown, _ = service.call("logs", id, "--json")
    done = json.loads(shown)
    assert (done["outcome"], done["output"]) == ("failed", "last\x1b[2J words\nof a run\n")
    assert "ValueError: the reason" in done["traceback"]
    *_, id = service.begin()
    status, shown, said = service.call("logs", id)
    assert (status, shown) == (1, "")
    assert said.startswith(f"etagere: Nothing is kept of what runs of {id} have printed. Its run is pending;")


def test_a_queued_run_is_cancelled(service: Operated) -> None:
    service.going(), service.going()
    _, target, id = service.begin()
    _, later, later_id = service.begin()
    tag = f'W/"{id}"'
    assert service.get(target, tag).status == 304
    status, shown, _ = service.call("cancel", id)
    assert (status, shown) == (
        0, "The run of gated@1, which was queued, is cancelled. Who still asks for it starts it anew.\n",
    )  # fmt: skip
    assert service.get(f"/r/{id}").status == 404, "it is absent again"
    assert service.call("cancel", id) == (1, "", f"etagere: No run of {id} is pending.\n")
    assert [run["id"] for run in service.runs("queued")] == [later_id]
    assert service.get(target, tag).status == 202, "who still asks starts it anew"
    assert [run["id"] for run in service.runs("queued")] == [later_id, id]
    assert service.get(later).status == 202


def test_a_running_run_is_stopped_and_its_place_is_free(service: Operated) -> None:
    gate, target, id = service.going()
    service.going()
    *_, queued = service.begin()
    with Asking(service, target, Prefer="wait=20") as asking, Asking(service, f"/r/{id}/events") as following:
        following.begin()
        eventually(lambda: service.ask("status")["waiting"] == 2, 20, "both wait")
        done = service.ask("cancel", id=id)
        assert (done["state"], done["became"], done["attempt"]) == ("running", "cancelled", 1)
        assert asking.answer().status == 202, "who waited has started it anew"
        assert list(following.events()), "the stream has come to its end"
    eventually(lambda: [run["id"] for run in service.runs("running")][1:] == [queued], 20, "the next one has its place")
    again = next(run for run in service.runs() if run["id"] == id)
    assert (again["state"], again["attempt"]) == ("queued", 0)
    for other in [run["id"] for run in service.runs("running")]:
        service.ask("cancel", id=other)
    service.gates.open(gate)
    assert service.result(target).json() == gate


def test_results_of_a_model_are_purged(service: Operated) -> None:
    targets = ["/quick@1?x=1", "/quick@2?x=1", "/failing?x=2", "/large?size=4194304"]
    tags = [service.result(target).etag for target in targets]
    assert service.call("purge", "quick@1") == (0, "1 result and 0 failures are forgotten, 3 bytes in all.\n", "")
    assert service.get(targets[0], tags[0]).status == 304, "who has the result may go on using it"
    assert [service.get(target).status for target in targets] == [202, 200, 500, 200]
    assert service.result(targets[0]).etag == tags[0]
    assert service.ask("purge", model="quick", older_than=3600) == {"results": 0, "failures": 0, "bytes": 0}
    assert service.ask("purge", model="quick") == {"results": 2, "failures": 0, "bytes": 7}
    status, shown, _ = service.call("purge", "--older-than", "0s", "--json")
    assert (status, json.loads(shown)) == (0, {"results": 1, "failures": 1, "bytes": 4194304})
    assert [service.get(target).status for target in targets] == [202] * 4


def test_a_purge_that_says_too_little_or_nothing_known(service: Operated) -> None:
    assert service.result("/quick?x=5").status == 200
    for arguments, status, said in (
        ((), 2, "say which results"),
        (("--older-than", "7"), 2, "an age is a number and its unit"),
        (("nothing@1",), 1, "There is no model nothing@1"),
    ):
        found, shown, complaint = service.call("purge", *arguments)
        assert (found, shown) == (status, "")
        assert said in complaint
    assert service.ask("status")["results"] == 1


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=1-"}])
def test_what_is_being_sent_is_sent_to_its_end(service: Operated, headers: dict[str, str]) -> None:
    size = 32 * 1024 * 1024
    assert service.result(f"/large?size={size}").status == 200
    with Asking(service, f"/large?size={size}", **headers) as asking:
        asking.begin()
        beginning = asking.response.read(1000)
        assert service.ask("purge", model="large")["results"] == 1
        body = beginning + asking.response.read()
    assert body == (bytes(range(256)) * (size // 256))[len(headers) :]


def test_draining(tmp_path: Path) -> None:
    with operated(tmp_path, runs=1) as service:
        assert service.result("/quick?x=1").status == 200
        gate, going, _ = service.going()
        later_gate, queued, queued_id = service.begin()
        status, shown, _ = service.call("drain")
        assert (status, shown.splitlines()[0]) == (
            0, "Draining: 1 run under way, 1 run kept in the queue. New ones are refused; results are served.",
        )  # fmt: skip
        refused = service.get("/quick?x=2")
        assert (refused.status, refused.json()["type"]) == (503, "/-/problems/stopping")
        assert int(refused["Retry-After"]) > 0
        assert service.get("/-/health/ready").status == 503
        assert service.get("/-/health/live").status == 200
        assert service.get("/quick?x=1").status == 200
        assert service.get(queued, f'W/"{queued_id}"').status == 304
        service.gates.open(gate)
        assert service.result(going).json() == gate
        eventually(lambda: service.ask("status")["running"] == 0, 20, "none is under way")
        assert (service.ask("status")["draining"], service.ask("status")["queued"]) == (True, 1)
        assert service.runs()[0]["attempt"] == 0
        assert service.call("drain", "--off") == (0, "Serving: 1 run in the queue, 0 runs under way.\n", "")
        assert service.get("/-/health/ready").status == 200
        eventually(lambda: service.runs("running"), 20, "the next one begins")
        assert service.get("/quick?x=2").status == 202
        assert service.ask("drain")["queued"] == 1
        assert service.stop() == 0
        service.printed = b""
        service.start()
        assert service.ask("status")["draining"] is False, "a start ends it"
        service.gates.open(later_gate)
        assert service.get(queued, f'W/"{queued_id}"').status in (304, 200)
        assert service.result(queued).json() == later_gate
        assert service.result("/quick?x=2").json() == -2.0


@pytest.mark.parametrize("operation", ["status", "cancel a"])
def test_without_a_service_it_is_said_what_to_do(tmp_path: Path, operation: str) -> None:
    done = etagere(*operation.split(), "--data", str(tmp_path / "data"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"etagere: No service runs on the data directory {tmp_path / 'data'}. Start one with etagere serve, "
        "or name the directory of the one you mean by --data.\n"
    )


def test_the_settings_name_the_directory(service: Operated, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(f'data = "{service.data}"\n')
    named = etagere("status", "--config", "other.toml", "--json", cwd=tmp_path)
    assert json.loads(named.stdout)["pid"] == service.pid
    assert etagere("drain", "--off", cwd=tmp_path, ETAGERE_DATA=str(service.data)).returncode == 0
    assert etagere("status", cwd=tmp_path).returncode == 2


def test_help_teaches() -> None:
    for name in ("status", "runs", "logs", "cancel", "purge", "drain"):
        done = CliRunner().invoke(app, [name, "--help"])
        assert done.exit_code == 0
        assert "Example: etagere" in done.stdout
        assert {"--json", "--data", "--config"} <= set(done.stdout.split())
