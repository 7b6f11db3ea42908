"""Ranges and large results over a real server: parts, resumption, and eviction under a slow client."""

from __future__ import annotations

import email
import hashlib
import http.client
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.harness import Answer, Server

MODELS = Path(__file__).parents[1] / "models" / "conversation.py"
MIB = 1 << 20
SMALL = "/table?rows=1000"
LARGE = "/pattern?size=5000000"
BOTH = pytest.mark.parametrize("path", [SMALL, LARGE])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server.serve(MODELS, tmp_path_factory.mktemp("data"), "--access-log") as server:
        server.result(SMALL)
        server.result(LARGE)
        yield server


@pytest.fixture(scope="module")
def wholes(server: Server) -> dict[str, Answer]:
    return {path: server.get(path) for path in (SMALL, LARGE)}


def parts(answer: Answer) -> list[tuple[str, str, bytes]]:
    """Type, Content-Range and content of the parts of a multipart answer."""
    message = email.message_from_bytes(f"Content-Type: {answer['Content-Type']}\r\n\r\n".encode() + answer.body)
    assert message.is_multipart()
    boundary = str(message.get_param("boundary")).encode()
    found = []
    for part in answer.body.split(b"--" + boundary + b"\r\n")[1:]:
        head, _, content = part.partition(b"\r\n\r\n")
        fields = email.message_from_bytes(head + b"\r\n\r\n")
        content = content.removesuffix(b"--" + boundary + b"--\r\n").removesuffix(b"\r\n")
        found.append((fields["Content-Type"], fields["Content-Range"], content))
    return found


@BOTH
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_range_is_what_the_whole_has_there(
    server: Server, wholes: dict[str, Answer], path: str, data: st.DataObject
) -> None:
    body = wholes[path].body
    start = data.draw(st.integers(0, len(body) - 1))
    last = data.draw(st.integers(start, len(body) + 10))
    answer = server.get(path, Range=f"bytes={start}-{last}")
    assert answer.status == 206
    assert answer.body == body[start : last + 1]
    assert answer["Content-Range"] == f"bytes {start}-{min(last, len(body) - 1)}/{len(body)}"
    assert answer["Content-Length"] == str(len(answer.body))


@BOTH
def test_the_fields_of_a_part_are_those_of_the_whole(server: Server, wholes: dict[str, Answer], path: str) -> None:
    whole, part = wholes[path], server.get(path, Range="bytes=-1")
    assert whole["Accept-Ranges"] == part["Accept-Ranges"] == "bytes"
    digest = hashlib.sha256(whole.body).digest()
    assert part["Repr-Digest"] == whole["Repr-Digest"] == f"sha-256=:{_base64(digest)}:"
    for name in ("ETag", "Cache-Control", "Vary", "Content-Type", "X-Content-Type-Options", "Content-Security-Policy"):
        assert part[name] == whole[name] != "None"
    assert part.headers.get_all("Content-Length") == ["1"]
    assert "Content-Range" not in whole.headers


def _base64(digest: bytes) -> str:
    return email.base64mime.body_encode(digest, eol="")  # type: ignore[attr-defined, no-any-return]


@BOTH
def test_several_ranges_are_parts_in_the_order_asked_for(server: Server, wholes: dict[str, Answer], path: str) -> None:
    body = wholes[path].body
    answer = server.get(path, Range="bytes=100-199, -5, 10-19,20-29, 99999999-")
    assert (answer.status, answer.etag) == (206, wholes[path].etag)
    assert "Content-Range" not in answer.headers
    assert answer["Content-Type"].startswith("multipart/byteranges; boundary=")
    assert answer["Content-Length"] == str(len(answer.body))
    size, kind = len(body), wholes[path]["Content-Type"]
    assert parts(answer) == [
        (kind, f"bytes 100-199/{size}", body[100:200]),
        (kind, f"bytes {size - 5}-{size - 1}/{size}", body[-5:]),
        (kind, f"bytes 10-29/{size}", body[10:30]),
    ]


@BOTH
def test_ranges_that_become_one_are_no_multipart(server: Server, wholes: dict[str, Answer], path: str) -> None:
    answer = server.get(path, Range="bytes=0-9,10-19,99999999-")
    assert (answer.status, answer["Content-Range"]) == (206, f"bytes 0-19/{len(wholes[path].body)}")
    assert answer.body == wholes[path].body[:20]


@BOTH
@pytest.mark.parametrize(
    "field",
    [
        "bytes=5-4",
        "lines=0-1",
        "bytes=a-b",
        "bytes=" + ",".join(f"{2 * n}-{2 * n}" for n in range(17)),
        "bytes=" + ",".join(["0-"] * 1000),
        "bytes=" + ",".join(["0-"] * 5000),
        f"bytes={'0,' * 4000}",
    ],
    ids=["reversed", "unit", "nonsense", "many", "overlapping", "ten-thousand-bytes", "commas"],
)
def test_what_makes_no_sense_or_costs_too_much_is_the_whole(
    server: Server, wholes: dict[str, Answer], path: str, field: str
) -> None:
    answer = server.get(path, Range=field)
    assert (answer.status, answer.body) == (200, wholes[path].body)


def test_several_ranges_of_more_than_a_mebibyte_are_the_whole(server: Server, wholes: dict[str, Answer]) -> None:
    answer = server.get(LARGE, Range=f"bytes=0-{MIB // 2},{MIB}-{MIB * 3 // 2}")
    assert (answer.status, answer.body) == (200, wholes[LARGE].body)
    inside = server.get(LARGE, Range=f"bytes=0-{MIB // 2 - 1},{MIB}-{MIB * 3 // 2 - 1}")
    assert (inside.status, len(parts(inside))) == (206, 2)


@BOTH
@pytest.mark.parametrize("field", ["bytes=99999999-", "bytes=-0", "bytes=99999999-,-0"])
def test_416_says_the_size(server: Server, wholes: dict[str, Answer], path: str, field: str) -> None:
    answer = server.get(path, Range=field)
    assert (answer.status, answer["Content-Type"]) == (416, "application/problem+json")
    assert answer["Content-Range"] == f"bytes */{len(wholes[path].body)}"
    assert answer["Cache-Control"] == "no-store"
    assert answer.json()["type"] == "/-/problems/range-not-satisfiable"


@BOTH
def test_if_range_compares_strongly(server: Server, wholes: dict[str, Answer], path: str) -> None:
    tag, date = wholes[path].etag, "Sun, 22 Nov 2099 00:00:00 GMT"
    others = [f"W/{tag}", tag.replace('"', "") + "-gzip", tag[:-1] + '-gzip"', f'W/"{tag[1:33]}"', date, "*", ""]
    asked = {"Range": "bytes=2-4"}
    assert server.request("GET", path, {**asked, "If-Range": tag}).body == wholes[path].body[2:5]
    for other in others:
        answer = server.request("GET", path, {**asked, "If-Range": other})
        assert (answer.status, answer.body) == (200, wholes[path].body), other
        unsatisfiable = server.request("GET", path, {"Range": "bytes=99999999-", "If-Range": other})
        assert unsatisfiable.status == 200, "416 only where the range would have been sent"


@BOTH
def test_preconditions_come_first(server: Server, wholes: dict[str, Answer], path: str) -> None:
    asked, tag = {"Range": "bytes=99999999-"}, wholes[path].etag
    assert server.request("GET", path, {**asked, "If-None-Match": tag}).status == 304
    assert server.request("GET", path, {**asked, "If-Match": '"other"'}).status == 412
    assert server.request("GET", path, {**asked, "If-Match": tag}).status == 416
    part = server.request("GET", path, {"Range": "bytes=0-0", "If-None-Match": '"other"'})
    assert (part.status, part.body) == (206, wholes[path].body[:1])


@BOTH
def test_head_ignores_ranges(server: Server, wholes: dict[str, Answer], path: str) -> None:
    for field in ("bytes=0-9", "bytes=99999999-"):
        answer = server.request("HEAD", path, {"Range": field})
        assert (answer.status, answer.body) == (200, b"")
        assert answer["Content-Length"] == str(len(wholes[path].body))
        assert answer["Accept-Ranges"] == "bytes"


def test_the_alias_has_ranges_too(server: Server, wholes: dict[str, Answer]) -> None:
    answer = server.get(f"/r/{wholes[LARGE].etag[1:33]}", Range="bytes=7-8")
    assert (answer.status, answer.body) == (206, wholes[LARGE].body[7:9])


def test_several_answers_on_one_connection(server: Server, wholes: dict[str, Answer]) -> None:
    connection = http.client.HTTPConnection(server.netloc, timeout=30)
    whole = wholes[LARGE].body
    for _ in range(3):
        for field, expected in ((None, whole), ("bytes=3-", whole[3:]), ("bytes=-9", whole[-9:])):
            connection.request("GET", LARGE, headers={"Range": field} if field else {})
            assert connection.getresponse().read() == expected
    connection.close()


def test_an_empty_result(server: Server) -> None:
    assert server.result("/pattern?size=0").body == b""
    assert server.get("/pattern?size=0", Range="bytes=-5").status == 200
    answer = server.get("/pattern?size=0", Range="bytes=0-")
    assert (answer.status, answer["Content-Range"]) == (416, "bytes */0")


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_curl_resumes(server: Server, wholes: dict[str, Answer], tmp_path: Path) -> None:
    file = tmp_path / "result"
    file.write_bytes(wholes[LARGE].body[:1_234_567])
    command = ["curl", "-fsS", "-C", "-", "-o", str(file), "-w", "%{http_code} %{size_download}", server.url + LARGE]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert told == f"206 {5_000_000 - 1_234_567}"
    assert file.read_bytes() == wholes[LARGE].body


@contextmanager
def begun(server: Server, path: str, field: str = "") -> Iterator[http.client.HTTPResponse]:
    """An answer of which only the header was read so far, the second on its connection."""
    with closing(http.client.HTTPConnection(server.netloc, timeout=30)) as connection:
        connection.request("GET", path, headers={"Range": "bytes=0-2000000"})
        assert len(connection.getresponse().read()) == 2_000_001
        connection.request("GET", path, headers={"Range": field} if field else {})
        with connection.getresponse() as answer:
            yield answer


@pytest.mark.parametrize("field", ["", "bytes=1-"])
def test_eviction_breaks_no_download(tmp_path: Path, field: str) -> None:
    size = 24 * MIB
    path = f"/pattern?size={size}"
    with Server.serve(MODELS, tmp_path / "data", env={"ETAGERE_CACHE_SIZE": str(25 * MIB)}) as server:
        first = server.result(path)
        with begun(server, path, field) as slow:
            assert slow.status == (206 if field else 200)
            received = slow.read(1000)
            for other in (1, 2):
                assert server.result(f"/pattern?size={size + other}").status == 200
            assert server.get(f"/r/{first.etag[1:33]}/status").json()["state"] == "absent"
            received += slow.read()
        assert received == first.body[1 if field else 0 :]


def test_what_was_evicted_is_off_the_disk_after_the_stop(tmp_path: Path) -> None:
    blobs = tmp_path / "data" / "blobs"
    with Server.serve(MODELS, tmp_path / "data", env={"ETAGERE_CACHE_SIZE": str(3 * MIB)}) as server:
        for size in range(2 * MIB, 2 * MIB + 5):
            answer = server.result(f"/pattern?size={size}")
            assert len(answer.body) == size
    assert [path.name for path in blobs.rglob("*") if path.is_file()] == [hashlib.sha256(answer.body).hexdigest()]


def test_ranges_after_a_restart(tmp_path: Path) -> None:
    with Server.serve(MODELS, tmp_path / "data") as server:
        whole = server.result(LARGE)
    with Server.serve(MODELS, tmp_path / "data", "--access-log") as server:
        answer = server.request("GET", LARGE, {"Range": "bytes=4000000-", "If-Range": whole.etag})
        assert (answer.status, answer.body) == (206, whole.body[4_000_000:])
        assert server.get(LARGE).body == whole.body
    told = server.printed.decode()
    assert [told.count(f"path=/pattern status={status}") for status in (206, 200)] == [1, 1]


def test_a_range_of_a_lost_file_is_computed_again(tmp_path: Path) -> None:
    with Server.serve(MODELS, tmp_path / "data") as server:
        whole = server.result(LARGE)
        (file,) = (path for path in (tmp_path / "data" / "blobs").rglob("*") if path.is_file())
        file.unlink()
        assert server.get(LARGE, Range="bytes=0-9").status == 202
        assert server.result(LARGE, Range="bytes=0-9").body == whole.body[:10]


def test_what_nobody_reads_any_more_is_not_read_from_the_disk(tmp_path: Path) -> None:
    size = 64 * MIB
    with Server.serve(MODELS, tmp_path / "data") as server:
        assert server.result(f"/pattern?size={size}", Range="bytes=0-0").status == 206
        before = _read_by(server.pid)
        for _ in range(4):
            with begun(server, f"/pattern?size={size}", "bytes=1-") as gone:
                gone.read(1000)
        assert server.get(f"/pattern?size={size}", Range="bytes=0-0").status == 206
        while _files_open(server.pid):
            assert server.get("/pattern?size=1", Range="bytes=0-0").status in (202, 206)
        assert _read_by(server.pid) - before < size


def _read_by(pid: int) -> int:
    """The bytes that a process has read so far, from wherever."""
    rows = (line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(dict(rows)["rchar"])


def _files_open(pid: int) -> list[str]:
    descriptors = Path(f"/proc/{pid}/fd")
    targets = [os.readlink(descriptors / name) for name in os.listdir(descriptors) if (descriptors / name).is_symlink()]
    return [target for target in targets if "/blobs/" in target]
