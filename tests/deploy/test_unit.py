"""The systemd unit: systemd finds no fault in it, and the service and numpy work in its sandbox."""

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
from tests.deploy.sandbox import settings
from tests.harness import Server

from etagere.config import Settings

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "etagere.service"
SAID = settings(UNIT.read_text())
# In tenths; systemd calls up to 4 "OK", a unit without a sandbox has 9.6.
MOST_EXPOSED = 13
IS_ROOT = os.geteuid() == 0

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@pytest.fixture(scope="module")
def unit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unit with a program that is there."""
    written = tmp_path_factory.mktemp("units") / UNIT.name
    written.write_text(UNIT.read_text().replace("/opt/etagere/bin/etagere", shutil.which("true") or ""))
    return written


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60)


def test_systemd_finds_no_fault(unit: Path) -> None:
    done = analyze("verify", "--man=no", unit)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_finds_a_fault_that_is_planted(unit: Path, tmp_path: Path) -> None:
    faulty = tmp_path / UNIT.name
    faulty.write_text(unit.read_text().replace("KillMode=mixed", "KillMode=mixt"))
    assert "ignoring: mixt" in analyze("verify", "--man=no", faulty).stderr


def test_the_settings_that_go_with_it_are_accepted() -> None:
    page = (ROOT / "docs" / "network.md").read_text()
    [written] = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert Settings(**tomllib.loads(written)).allowed_hosts == ("models.example.org",)


def test_little_is_exposed(unit: Path) -> None:
    done = analyze("security", "--offline=yes", "--no-pager", f"--threshold={MOST_EXPOSED}", unit)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze takes no unit that is not installed")
    assert done.returncode == 0, done.stdout


class Sandboxed(Server):
    """The unit's command, with a folder in the place of the machine's paths."""

    def __init__(self, folder: Path) -> None:
        self.state, self.outside = folder / "state", folder / "outside"
        self.state.mkdir()
        (folder / "etagere.toml").write_text("port = 0\n")
        places = {
            "/opt/etagere/bin/etagere": str(Path(sys.executable).with_name("etagere")),
            "/srv/etagere/models.py": str(ROOT / "tests" / "models" / "sandboxed.py"),
            "/etc/etagere/etagere.toml": str(folder / "etagere.toml"),
            "/var/lib/etagere": str(self.state),
        }
        [start] = SAID["ExecStart"]
        command = [places.get(word, word) for word in shlex.split(start)]
        inside = [sys.executable, str(ROOT / "tests" / "deploy" / "sandbox.py"), str(UNIT), *command]
        environment = dict(line.split("=", 1) for line in SAID["Environment"])
        super().__init__([*self._without_privileges(), *inside], {**environment, "HOME": str(self.state)}, self.state)

    def _without_privileges(self) -> list[str]:
        """Whoever is root has them taken, and a file system that can be written in the service's folder alone."""
        if not IS_ROOT:
            return []
        mounts = 'mount --bind "$0" "$0" && mount -o remount,bind,ro / && cd "$0" && exec "$@"'
        unprivileged = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
        return ["unshare", "--mount", "sh", "-c", mounts, str(self.state), *unprivileged]


@pytest.fixture(scope="module")
def sandboxed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandboxed]:
    if find_library("seccomp") is None:
        pytest.skip("libseccomp is not installed")
    folder = tmp_path_factory.mktemp("sandbox")
    if IS_ROOT and subprocess.run(["unshare", "--mount", "true"], capture_output=True, timeout=30).returncode:
        pytest.skip("mounts cannot be changed here")
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
