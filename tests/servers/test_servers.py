"""The same conversation on other servers, mounted under a prefix, and behind a proxy that strips one."""

from __future__ import annotations

import gzip
import http.client
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
from tests.harness import Server

ROOT = Path(__file__).parents[2]


def uvicorn(http: str, application: str, data: Path, gates: Path, *options: str) -> Server:
    command = [sys.executable, "-m", "uvicorn", "--http", http, "--port", "0", *options, application]
    return Server(
        command, {"ETAGERE_DATA": str(data), "GATES": str(gates), "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}, ROOT
    )


def converse(server: Server, prefix: str, gates: Path, gate: str) -> None:
    """202, 304, 200, the ready 304, the alias and the status by the links that the answers give."""
    os.mkfifo(gates / gate)
    path = f"{prefix}/gated?gate={gate}"
    accepted = server.get(path)
    assert accepted.status == 202
    ping = server.get(path, accepted.etag)
    assert (ping.status, ping.etag, ping.body) == (304, accepted.etag, b"")
    alternate, monitor = (link.partition(">")[0].strip(" <") for link in accepted["Link"].split(","))
    status = server.get(urljoin(path, monitor))
    assert status.json()["id"] == accepted.json()["id"]
    assert urljoin(path, accepted.json()["links"]["status"]) == urljoin(path, monitor)
    assert server.get(urljoin(path, alternate), accepted.etag).status == 304
    with open(gates / gate, "w"):
        pass
    ready = server.result(path)
    assert ready.json() == {"gate": gate, "steps": 4}
    assert ready["Content-Type"] == "application/json"
    assert server.get(path, ready.etag).status == 304
    assert server.request("HEAD", path).etag == ready.etag
    described = urljoin(path, ready["Link"].partition(">")[0].strip("<"))
    assert server.get(described).json()["openapi"] == "3.1.0"
    assert server.get(f"{prefix}/gated?nothing=1").status == 400
    assert server.result(f"{prefix}/large?n=2").body == bytes([7]) * (2 << 20)
    os.mkfifo(gates / f"{gate}-of-a-page")
    page = server.get(f"{prefix}/gated?gate={gate}-of-a-page", Accept="text/html")
    with open(gates / f"{gate}-of-a-page", "w"):
        pass
    assert (page.status, page["Content-Type"]) == (202, "text/html; charset=utf-8")
    assert b'href="-/static/style.css"' in page.body
    assert server.get(f"{prefix}/-/static/style.css")["Content-Type"] == "text/css; charset=utf-8"


def download(server: Server, path: str) -> None:
    """A large result, whole and in parts, also by a client that goes away in the middle."""
    whole = server.result(path)
    assert (whole["Accept-Ranges"], int(whole["Content-Length"])) == ("bytes", len(whole.body))
    with closing(http.client.HTTPConnection(server.netloc, timeout=30)) as leaving:
        leaving.request("GET", path)
        with leaving.getresponse() as begun:
            assert begun.read(1000) == whole.body[:1000]
    with closing(http.client.HTTPConnection(server.netloc, timeout=30)) as staying:
        for start in (1, 12_345_678):
            fields = {"Range": f"bytes={start}-", "If-Range": whole.etag}
            staying.request("GET", path, headers=fields)
            with staying.getresponse() as part:
                assert (part.status, part.read()) == (206, whole.body[start:])
    parts = server.get(path, Range="bytes=0-9,-10")
    assert parts["Content-Type"].startswith("multipart/byteranges")
    assert whole.body[:10] in parts.body
    assert server.request("HEAD", path)["Content-Length"] == str(len(whole.body))
    assert server.get(path, Range=f"bytes={len(whole.body)}-")["Content-Range"] == f"bytes */{len(whole.body)}"


@pytest.mark.parametrize("http", ["httptools", "h11"])
def test_uvicorn(http: str, tmp_path: Path) -> None:
    with uvicorn(http, "tests.models.conversation:app", tmp_path / "data", tmp_path) as server:
        converse(server, "", tmp_path, "gate")
        download(server, "/pattern?size=24000000")
        assert server.get("/quick?x=1_0").json()["type"] == "/-/problems/invalid-parameters"


@pytest.mark.parametrize("http", ["httptools", "h11"])
def test_mounted_in_fastapi_under_a_prefix(http: str, tmp_path: Path) -> None:
    with uvicorn(http, "tests.models.mounted:host", tmp_path / "data", tmp_path) as server:
        assert server.get("/hello").json() == "hello"
        converse(server, "/science/models", tmp_path, "gate")
        download(server, "/science/models/pattern?size=24000000")
        bad = server.get("/science/models/quick?x=1_0")
        assert bad.json()["type"] == "/science/models/-/problems/invalid-parameters"


def test_other_formats_and_codings_on_uvicorn(tmp_path: Path) -> None:
    with uvicorn("h11", "tests.models.tables:app", tmp_path / "data", tmp_path) as server:
        table = server.result("/columns.csv?rows=400")
        assert (table.status, table.body[:16]) == (200, b"n,x,label,even\r\n")
        coded = server.get("/columns?rows=400", Accept="text/csv", Accept_Encoding="gzip")
        assert gzip.decompress(coded.body) == table.body
        assert server.get("/columns.csv?rows=400", coded.etag, Accept_Encoding="gzip").status == 304


def test_mounted_without_the_hosts_lifespan_the_first_request_starts_it(tmp_path: Path) -> None:
    with uvicorn(
        "httptools", "tests.models.conversation:app", tmp_path / "data", tmp_path, "--lifespan", "off"
    ) as server:
        converse(server, "", tmp_path, "gate")
    assert b"lifespan=models.lifespan" in server.printed


def test_several_worker_processes_cannot_share_a_data_directory(tmp_path: Path) -> None:
    with uvicorn("h11", "tests.models.conversation:app", tmp_path / "data", tmp_path):
        second = uvicorn("h11", "tests.models.conversation:app", tmp_path / "data", tmp_path)
        with pytest.raises(AssertionError, match="in use by process"):
            second.start()
        assert second.stop() != 0


@pytest.fixture
def stripping_proxy() -> Iterator[tuple[str, list[str]]]:
    """A proxy that takes `/behind` off and passes the rest on; the list takes the upstream's address."""
    upstream: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            connection = http.client.HTTPConnection(upstream[0], timeout=30)
            fields = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            connection.request(self.command, self.path.removeprefix("/behind"), headers=fields)
            answer = connection.getresponse()
            body = answer.read()
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "transfer-encoding"):
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            connection.close()

        do_GET = do_HEAD = pass_on

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{proxy.server_port}", upstream
        proxy.shutdown()
        thread.join()


def test_behind_a_proxy_that_strips_a_prefix(tmp_path: Path, stripping_proxy: tuple[str, list[str]]) -> None:
    url, upstream = stripping_proxy
    models = ROOT / "tests" / "models" / "conversation.py"
    with Server.serve(models, tmp_path / "data", env={"GATES": str(tmp_path)}) as server:
        upstream.append(server.netloc)
        outside = Server([])
        outside.url = url
        assert urlsplit(url).hostname == "127.0.0.1"
        converse(outside, "/behind", tmp_path, "gate")
