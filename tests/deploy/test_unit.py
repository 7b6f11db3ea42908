"""The systemd units: systemd finds no fault in them, and service, worker and collector work in their sandbox."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from ctypes.util import find_library
from pathlib import Path

import pytest
from tests.cluster.processes import Part
from tests.deploy.sandbox import settings
from tests.harness import Server
from tests.valkey import Store

from etagere.config import Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "etagere.service"
UNITS = sorted(DEPLOY.glob("*.service"))
NODE = DEPLOY / "etagere.service.d" / "store.conf"
SAID = settings(UNIT.read_text())
PROGRAM = "/opt/etagere/bin/etagere"
# Settings of the units that are not those of etagere.service: names, and what it takes to reach a store.
DIFFERENT = {
    *("Description", "ExecStart", "StateDirectory", "CacheDirectory", "WorkingDirectory", "Environment", "OOMPolicy"),
    *("Wants", "After", "StartLimitIntervalSec", "StartLimitBurst", "RestartSec", "EnvironmentFile", "IPAddressAllow"),
}
# In tenths; systemd calls up to 4 "OK", a unit without a sandbox has 9.6.
MOST_EXPOSED = 13
IS_ROOT = os.geteuid() == 0

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@pytest.fixture(params=UNITS, ids=lambda unit: unit.stem)
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A unit with a program that is there."""
    return with_program(request.param, tmp_path)


def with_program(unit: Path, folder: Path) -> Path:
    """The unit in this folder, with a program that is there."""
    written = folder / unit.name
    written.write_text(unit.read_text().replace(PROGRAM, shutil.which("true") or ""))
    return written


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60)


def test_systemd_finds_no_fault(unit: Path) -> None:
    done = analyze("verify", "--man=no", unit)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_finds_a_fault_that_is_planted(unit: Path, tmp_path: Path) -> None:
    unit.write_text(unit.read_text().replace("KillMode=mixed", "KillMode=mixt"))
    assert "ignoring: mixt" in analyze("verify", "--man=no", unit).stderr


@pytest.mark.parametrize(("planted", "said"), [("5", ""), ("often", "Failed to parse sec value, ignoring: often")])
def test_what_makes_a_node_of_it_is_read_with_it(tmp_path: Path, planted: str, said: str) -> None:
    unit = with_program(UNIT, tmp_path)
    (tmp_path / NODE.parent.name).mkdir()
    (tmp_path / NODE.parent.name / NODE.name).write_text(
        NODE.read_text().replace("RestartSec=5\n", f"RestartSec={planted}\n")
    )
    done = analyze("verify", "--man=no", unit)
    assert (said in done.stderr, bool(done.stderr)) == (True, bool(said))


@pytest.mark.parametrize("unit", [each for each in UNITS if each != UNIT], ids=lambda unit: unit.stem)
def test_what_shares_a_store_has_the_same_sandbox(unit: Path) -> None:
    said = settings(unit.read_text())
    assert {name for name in said.keys() | SAID.keys() if said.get(name) != SAID.get(name)} <= DIFFERENT
    assert set(SAID["Environment"]) - set(said["Environment"]) == {"HOME=/var/cache/etagere"}
    assert set(said["IPAddressAllow"]) == {"localhost", *settings(NODE.read_text())["IPAddressAllow"]}


@pytest.mark.parametrize("file", [NODE, *(each for each in UNITS if each != UNIT)], ids=lambda file: file.name)
def test_what_finds_its_store_away_is_started_again_and_again(file: Path) -> None:
    said = {**SAID, **settings(file.read_text())}
    assert (said["Restart"], said["RestartPreventExitStatus"]) == (["on-failure"], ["2"])
    assert said["StartLimitIntervalSec"] == ["0"], "no number of failures is too many"
    assert int(said["RestartSec"][0]) >= 5
    assert said["EnvironmentFile"] == ["/etc/etagere/store.env"]


def test_the_settings_that_go_with_it_are_accepted() -> None:
    page = (ROOT / "docs" / "network.md").read_text()
    [written] = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert Settings(**tomllib.loads(written)).allowed_hosts == ("models.example.org",)


def test_little_is_exposed(unit: Path) -> None:
    done = analyze("security", "--offline=yes", "--no-pager", f"--threshold={MOST_EXPOSED}", unit)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze takes no unit that is not installed")
    assert done.returncode == 0, done.stdout


class Inside:
    """A unit's command in its sandbox, with a folder in the place of the machine's paths."""

    def __init__(self, unit: Path, folder: Path) -> None:
        said = settings(unit.read_text())
        [name] = said["StateDirectory"]
        self.state = folder / name
        self.state.mkdir()
        (folder / "etagere.toml").write_text("port = 0\n")
        places = {
            PROGRAM: str(Path(sys.executable).with_name("etagere")),
            "/srv/etagere/models.py": str(ROOT / "tests" / "models" / "sandboxed.py"),
            "/etc/etagere/etagere.toml": str(folder / "etagere.toml"),
            f"/var/lib/{name}": str(self.state),
        }
        [start] = said["ExecStart"]
        command = [places.get(word, word) for word in shlex.split(start)]
        self.words = command[1:]
        self.command = [sys.executable, str(ROOT / "tests" / "deploy" / "sandbox.py"), str(unit), *command]
        self.command = [*self._without_privileges(), *self.command]
        self.environment = {**dict(line.split("=", 1) for line in said["Environment"]), "HOME": str(self.state)}

    def _without_privileges(self) -> list[str]:
        """Whoever is root has them taken, and a file system that can be written in the service's folder alone."""
        if not IS_ROOT:
            return []
        mounts = 'mount --bind "$0" "$0" && mount -o remount,bind,ro / && cd "$0" && exec "$@"'
        unprivileged = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
        return ["unshare", "--mount", "sh", "-c", mounts, str(self.state), *unprivileged]


class Sandboxed(Server):
    """The service."""

    def __init__(self, folder: Path) -> None:
        inside, self.outside = Inside(UNIT, folder), folder / "outside"
        self.state = inside.state
        super().__init__(inside.command, inside.environment, inside.state)


class Joined(Part):
    """A process that shares a store with others."""

    def __init__(self, unit: Path, folder: Path, store: Store) -> None:
        inside = Inside(unit, folder)
        super().__init__(inside.words, {**inside.environment, "ETAGERE_STORE": store.url})
        self.command = inside.command


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where there is a sandbox to be had."""
    if find_library("seccomp") is None:
        pytest.skip("libseccomp is not installed")
    if IS_ROOT and subprocess.run(["unshare", "--mount", "true"], capture_output=True, timeout=30).returncode:
        pytest.skip("mounts cannot be changed here")
    return tmp_path_factory.mktemp("sandbox")


@pytest.fixture(scope="module")
def sandboxed(folder: Path) -> Iterator[Sandboxed]:
    with Sandboxed(folder) as service:
        yield service


def test_models_can_do_what_they_need_and_no_more(sandboxed: Sandboxed) -> None:
    answer = sandboxed.result(f"/attempts?outside={sandboxed.outside}")
    assert answer.status == 200, answer.body
    done = answer.json()
    assert done.pop("write elsewhere") == ("Read-only file system" if IS_ROOT else "done")
    assert done == {
        "compute": "done",
        "start a program": "done",
        "import polars": "done",
        "write in its folder": "done",
        "listen on loopback": "done",
        "write what is executed": "Operation not permitted",
        "see raw packets": "Address family not supported by protocol",
        "change the root": "Operation not permitted",
    }


def test_what_the_service_keeps_is_its_own(sandboxed: Sandboxed) -> None:
    sandboxed.result(f"/attempts?outside={sandboxed.outside}")
    assert {path.name for path in sandboxed.state.iterdir()} > {"lock", "etagere.sqlite3"}
    assert [path for path in sandboxed.state.rglob("*") if path.stat().st_mode & 0o077] == []


def test_it_stops_in_order_and_in_time(sandboxed: Sandboxed) -> None:
    assert sandboxed.get("/endless?x=1").status == 202
    status = f"/r/{sandboxed.get('/endless?x=1').etag[3:-1]}/status"
    while sandboxed.get(status).json()["state"] != "running":
        time.sleep(0.01)
    begun = time.monotonic()
    assert sandboxed.stop() == 0
    assert time.monotonic() - begun < int(SAID["TimeoutStopSec"][0])


def test_a_worker_and_a_collector_work_in_theirs(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("redis")
    store = Store(tmp_path / "store").start()
    others = [Joined(unit, tmp_path, store) for unit in UNITS if unit != UNIT]
    models, shared = ROOT / "tests" / "models" / "sandboxed.py", {"ETAGERE_STORE": store.url}
    try:
        with Server.serve(models, tmp_path / "node", env=shared) as node:
            for each in others:
                each.start()
            answer = node.result(f"/attempts?outside={tmp_path / 'outside'}")
            assert answer.status == 200, answer.body
            done = answer.json()
            assert done["write elsewhere"] == ("Read-only file system" if IS_ROOT else "done")
            assert done["write what is executed"] == "Operation not permitted"
            assert node.get("/endless?x=2").status == 202
            assert [each.stop() for each in others] == [0, 0]
    finally:
        for each in others:
            each.stop()
        store.stop()
