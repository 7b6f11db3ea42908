"""The circuit, simulated by ngspice where that is installed; `scripts/judges` installs it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.examples.command import EXAMPLES, run

FILTER = {"resistance": 100.0, "inductance": 1e-3, "capacitance": 1e-7, "start": 100.0, "stop": 1e6, "points": 5}

needs_ngspice = pytest.mark.skipif(shutil.which("ngspice") is None, reason="the ngspice program is not installed")


def simulate(folder: Path, path: str | None = None, **changes: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "RUN_EVENTS": str(folder / "events")}
    return subprocess.run(
        [sys.executable, EXAMPLES / "circuit_run.py"],
        cwd=folder,
        env=environment if path is None else {**environment, "PATH": path},
        input=json.dumps({**FILTER, **changes}),
        capture_output=True,
        text=True,
        timeout=60,
    )


def events(folder: Path) -> dict[str, str]:
    return json.loads((folder / "events").read_text())


@needs_ngspice
def test_the_filter_responds_as_its_transfer_function(tmp_path: Path) -> None:
    done = simulate(tmp_path)
    header, *rows = done.stdout.splitlines()
    assert header == "frequency_hz,gain_db,phase_deg"
    frequency, gain, phase = np.array([[float(field) for field in row.split(",")] for row in rows]).T
    assert (frequency[0], frequency[-1], len(frequency)) == (100.0, 1e6, 21)
    s = 2j * np.pi * frequency
    transfer = 1 / (1 + s * 100.0 * 1e-7 + s**2 * 1e-3 * 1e-7)
    np.testing.assert_allclose(gain, 20 * np.log10(abs(transfer)), atol=1e-6)
    np.testing.assert_allclose(phase, np.degrees(np.angle(transfer)), atol=1e-6)


@needs_ngspice
def test_the_filter_gives_the_same_bytes_again(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    assert simulate(first).stdout == simulate(second).stdout != ""


@pytest.mark.parametrize("value", ["1\n.control\nshell touch owned\n.endc", "1e3", [1], None, True])
def test_only_numbers_get_into_the_netlist(tmp_path: Path, value: object) -> None:
    done = simulate(tmp_path, resistance=value)
    assert done.returncode == 1
    assert events(tmp_path) == {"failed": "a parameter is not a number"}
    assert [path.name for path in tmp_path.iterdir()] == ["events"]


def test_the_filter_refuses_an_empty_range(tmp_path: Path) -> None:
    done = simulate(tmp_path, start=1e6, stop=1e6)
    assert (done.returncode, done.stdout) == (0, "")
    assert events(tmp_path) == {"refused": "stop must be above start"}


def test_the_filter_says_that_ngspice_is_missing(tmp_path: Path) -> None:
    done = simulate(tmp_path, path=str(tmp_path))
    assert done.returncode == 1
    assert "ngspice is not installed" in events(tmp_path)["failed"]


def test_the_filter_says_that_ngspice_failed(tmp_path: Path) -> None:
    broken = tmp_path / "ngspice"
    broken.write_text("#!/bin/sh\necho singular matrix\n")
    broken.chmod(0o755)
    done = simulate(tmp_path, path=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "singular matrix\n")
    assert events(tmp_path) == {"failed": "ngspice could not simulate the circuit"}


@needs_ngspice
def test_the_published_filter_gives_csv() -> None:
    done = run("circuit.py", "lowpass", "points=1")
    assert done.stdout.startswith("frequency_hz,gain_db,phase_deg\n100.0,"), done.stderr


@pytest.mark.parametrize(
    ("parameters", "path", "word"),
    [
        (["points=1\n.control\nshell touch owned\n.endc"], None, "points"),
        (["resistance=1e300"], None, "resistance"),
        (["start=100", "stop=10"], None, "refused: stop must be above start"),
        ([], "/nowhere", "failed: ngspice is not installed"),
    ],
)
def test_the_published_filter_says_why_it_does_not_run(parameters: list[str], path: str | None, word: str) -> None:
    done = run("circuit.py", "lowpass", *parameters, **({} if path is None else {"PATH": path}))
    assert (done.returncode != 0, done.stdout) == (True, "")
    assert word in done.stderr
