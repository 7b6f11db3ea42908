"""curl's own tag file is a whole client: 202, 304, 200, 304."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from judges.service import Service
from tests.harness import Server


def curl(folder: Path, url: str) -> tuple[str, str]:
    """The status and the tag file after one request."""
    tag, body = folder / "tag", folder / "body"
    known = ["--etag-compare", str(tag)] if tag.exists() else []
    command = ["curl", "-sS", "-o", str(body), "-w", "%{http_code}", "--etag-save", str(tag), *known, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout, tag.read_text().strip()


def test_curl_alone_holds_the_conversation(service: Service, way: Server, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    gate = f"curl{way.netloc.partition(':')[2]}"
    url = f"{way.url}/gated?gate={gate}"
    status, pending = curl(tmp_path, url)
    assert (status, pending[:3]) == ("202", 'W/"')
    ping, tag = curl(tmp_path, url)
    # nginx and Varnish ask without the condition, so their pings are answered 202.
    assert ping in (("304",) if way is service else ("304", "202"))
    assert tag == pending
    service.open(gate)
    assert service.result(f"/gated?gate={gate}").status == 200
    status, ready = curl(tmp_path, url)
    assert (status, ready[:1]) == ("200", '"')
    assert (tmp_path / "body").read_text() == f'{{"gate":"{gate}","version":"1"}}'
    status, tag = curl(tmp_path, url)
    # Squid's own 304 has no tag, which costs curl a transfer later on.
    assert (status, tag) in {("304", ready), ("304", "" if "Via" in way.get("/").headers else ready)}
