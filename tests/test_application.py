"""The life of an application: started by its host or by its first request, stopped, started again."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from etagere import DeclarationError, Etagere, StartError
from etagere.supervisor.linux import children

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def get(app: Etagere, path: str = "/") -> tuple[int, dict[bytes, bytes], Any]:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b""}
    await app({**scope, "headers": [(b"host", b"localhost")], "root_path": "", "server": None}, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), json.loads(b"".join(m["body"] for m in sent[1:]))


async def under_way(data: Path) -> None:
    """Return between the first and the last that a start does."""
    for _ in range(1_000_000):
        if (data / "runs").exists():
            return
        await asyncio.sleep(0)
    raise AssertionError("it does not start")


def test_a_keyword_that_is_no_setting_is_refused() -> None:
    with pytest.raises(DeclarationError, match="no setting max_pendnig; did you mean max_pending"):
        Etagere(max_pendnig=3)


@pytest.mark.parametrize("fault", ["a directory that is a file", "settings", "a fault of ours"])
async def test_a_failed_late_start_is_a_503_and_the_next_request_tries_again(
    fault: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = Etagere(data=tmp_path / "data")
    if fault == "settings":
        app.defaults["port"] = 70_000
    elif fault == "a directory that is a file":
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "runs").touch()
    else:
        app.setup(_nowhere)
    status, headers, problem = await get(app)
    assert (status, headers[b"content-type"], headers[b"retry-after"]) == (503, b"application/problem+json", b"5")
    assert problem["type"] == "/-/problems/unavailable"
    assert any(record.levelno == logging.ERROR for record in caplog.records)
    app.defaults.pop("port", None)
    app._setups.clear()
    if (tmp_path / "data" / "runs").is_file():
        (tmp_path / "data" / "runs").unlink()
    assert (await get(app))[0] == 200
    await app.stop()


def _nowhere() -> None:
    """Not to be found by its module's name."""


_nowhere.__module__ = "no.such.module"


async def test_requests_at_the_same_time_share_one_start(tmp_path: Path) -> None:
    app = Etagere(data=tmp_path / "data")
    answers = await asyncio.gather(*(get(app) for _ in range(5)))
    assert [status for status, _, _ in answers] == [200] * 5
    await app.start()
    await app.stop()


async def test_a_stop_during_a_late_start_leaves_nothing(tmp_path: Path) -> None:
    app = Etagere(data=tmp_path / "data")
    before, tasks = children(), asyncio.all_tasks()
    asking = asyncio.create_task(get(app))
    await under_way(tmp_path / "data")
    await app.stop()
    await asking
    assert children() == before
    assert asyncio.all_tasks() == tasks
    assert (tmp_path / "data" / "lock").read_bytes() == b""
    status, _, problem = await get(app)
    assert (status, problem["type"]) == (503, "/-/problems/stopping")
    async with app.lifespan():
        assert (await get(app))[0] == 200


async def test_a_start_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    app, before = Etagere(data=tmp_path / "data"), children()
    starting = asyncio.create_task(app.start())
    await under_way(tmp_path / "data")
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert children() == before
    assert (tmp_path / "data" / "lock").read_bytes() == b""


async def test_a_file_in_the_place_of_a_directory_is_a_start_error(tmp_path: Path) -> None:
    for name in ("runs", "blobs"):
        data = tmp_path / name
        data.mkdir()
        (data / name).touch()
        with pytest.raises(StartError, match=f"{name} cannot be used: File exists"):
            await Etagere(data=data).start()


def test_what_a_models_process_imports_is_light() -> None:
    code = "import sys, etagere, etagere.supervisor.warm; etagere.Etagere(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ})
    loaded = {name.partition(".")[0] for name in done.stdout.split()} | set(done.stdout.split())
    heavy = {"structlog", "rich", "pygments", "apsw", "granian", "jinja2", "starlette", "pydantic_settings"}
    assert not loaded & (heavy | {"etagere.asgi", "etagere.web", "etagere.service", "etagere.database"})
