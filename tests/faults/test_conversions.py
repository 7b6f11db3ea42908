"""The service is killed while it has a result written in another format: nothing goes on, and the next one does it."""

from __future__ import annotations

import http.client
from pathlib import Path

from tests.faults.service import eventually
from tests.harness import Server

MODELS = Path(__file__).parents[1] / "models" / "tables.py"
TARGET = "/columns.csv?rows=300000"


def converting(data: Path) -> list[str]:
    """The processes that write below this data directory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        if "etagere.formats.convert" in command and str(data) in command:
            found.append(entry.name)
    return found


def test_a_conversion_does_not_outlive_the_service(tmp_path: Path) -> None:
    server = Server.serve(MODELS, tmp_path / "data").start()
    assert server.result("/columns?rows=300000").status == 200
    asking = http.client.HTTPConnection(server.netloc, timeout=30)
    asking.request("GET", TARGET)
    eventually(lambda: converting(tmp_path), 20, "the conversion is under way")
    server.kill()
    eventually(lambda: not converting(tmp_path), 2, "it is gone")
    asking.close()
    server.stop()
    with Server.serve(MODELS, tmp_path / "data") as again:
        assert list((tmp_path / "data" / "variants").iterdir()) == []
        answer = again.get(TARGET)
        assert (answer.status, answer.body.count(b"\r\n")) == (200, 300_001)
