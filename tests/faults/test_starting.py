"""A service that cannot start says why, in one line, and ends with status 2."""

from __future__ import annotations

import re
import socket
import subprocess
from pathlib import Path

import pytest
from tests.faults.gates import Gates
from tests.faults.service import MODELS, Service


def refused(service: Service) -> list[str]:
    """What a service that cannot start printed: nothing on standard output, these lines on standard error."""
    ended = subprocess.run(service.command, env=service.env, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert ended.stdout == ""
    return ended.stderr.splitlines()


def test_a_model_that_does_not_import(tmp_path: Path) -> None:
    lines = refused(Service(MODELS / "broken.py", tmp_path / "data"))
    assert "ZeroDivisionError: division by zero" in lines[-1]
    assert re.search(r"broken\.py\b.*\bline 8\b", lines[-1])
    assert lines[0].startswith("Traceback")
    assert not any("etagere/supervisor" in line for line in lines)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import etagere\napp = etagere.Etagere(\n", r"SyntaxError.*line 2"),
        ("import nothing_of_this_name\n", "ModuleNotFoundError.*nothing_of_this_name"),
        ("import sys\nsys.exit('not today')\n", "SystemExit: not today"),
        ("x = 1\n", "Etagere()"),
    ],
    ids=["syntax", "module", "exit", "no application"],
)
def test_other_files_that_cannot_be_served(tmp_path: Path, source: str, said: str) -> None:
    target = tmp_path / "models.py"
    target.write_text(source)
    assert re.search(said.replace("()", r"\(\)"), refused(Service(target, tmp_path / "data"))[-1])


def test_a_setup_that_fails(tmp_path: Path) -> None:
    target = tmp_path / "models.py"
    target.write_text(
        "import etagere\napp = etagere.Etagere()\n"
        "@app.setup\ndef load() -> None:\n    raise OSError('no such table')\n"
        "@app.model(version='1')\ndef f(x: int) -> int:\n    return x\n"
    )
    lines = refused(Service(target, tmp_path / "data"))
    assert "no such table" in lines[-1]
    assert any(f"{target}" in line and "line 5" in line for line in lines)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    lines = refused(Service(tmp_path / "missing.py", tmp_path / "data"))
    assert len(lines) == 1
    assert "missing.py" in lines[0]


def test_a_port_in_use(tmp_path: Path) -> None:
    service = Service(MODELS / "known.py", tmp_path / "data")
    with socket.create_server(("127.0.0.1", service.port)):
        lines = refused(service)
    assert len(lines) == 1
    assert str(service.port) in lines[0]


def test_a_second_service_on_the_same_data(gates: Gates, tmp_path: Path) -> None:
    with gates.service(tmp_path / "data") as first:
        for _ in range(2):
            lines = refused(gates.service(tmp_path / "data"))
            assert len(lines) == 1
            assert f"process {first.pid}," in lines[0]
            assert str(tmp_path / "data") in lines[0]
        gate = gates.new()
        gates.open(gate)
        assert first.result(f"/gated?gate={gate}").status == 200


def test_a_second_service_on_the_same_port(gates: Gates, tmp_path: Path) -> None:
    with gates.service(tmp_path / "data") as first:
        second = Service(MODELS / "gated.py", tmp_path / "other", "--port", str(first.port), env=gates.environment)
        assert len(refused(second)) == 1
        assert first.get("/").status == 200


def test_a_data_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    lines = refused(Service(MODELS / "known.py", tmp_path / "data"))
    assert len(lines) == 1
    assert str(tmp_path / "data") in lines[0]


def test_a_public_address_is_refused(tmp_path: Path) -> None:
    lines = refused(Service(MODELS / "known.py", tmp_path / "data", "--host", "0.0.0.0"))
    assert len(lines) == 1
    assert "--insecure-public" in lines[0]


def test_nothing_is_left_of_a_start_that_failed(tmp_path: Path) -> None:
    service = Service(MODELS / "broken.py", tmp_path / "data")
    refused(service)
    assert not service.processes()
    with Service(MODELS / "known.py", tmp_path / "data", env={"EXECUTIONS": str(tmp_path / "executions")}) as started:
        assert started.result("/known?key=1&ms=1&size=10").status == 200
