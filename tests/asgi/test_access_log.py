"""The line that is logged for a request."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from etagere.asgi.access_log import AccessLog

pytestmark = pytest.mark.anyio


async def answer(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def ignore(*_: Any) -> None:
    return


@pytest.mark.parametrize(
    ("scope", "logged"),
    [
        ({"raw_path": b"/a%0Ab%1b[2J", "path": "/a\nb\x1b[2J"}, "/a%0Ab%1b%5B2J"),
        ({"raw_path": b"/a\x9b\n?secret=1", "path": "/a"}, "/a%9B%0A"),
        ({"path": "/a\nb c"}, "/a%0Ab%20c"),
        ({"raw_path": b"/heat@1.csv", "path": "/heat@1.csv"}, "/heat@1.csv"),
    ],
)
async def test_the_path_is_logged_as_it_was_sent(
    scope: dict[str, Any], logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="etagere"):
        await AccessLog(answer)({"type": "http", "method": "GET", **scope}, ignore, ignore)
    (line,) = caplog.messages
    assert line.startswith(f"request method=GET path={logged} status=404 ms=")
    assert line.isprintable()


async def test_an_application_that_never_answers_is_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    scope = {"type": "http", "method": "GET", "path": "/", "client": ("::1", 4711)}
    with caplog.at_level(logging.INFO, logger="etagere"):
        await AccessLog(ignore)(scope, ignore, ignore)
    (record,) = caplog.records
    assert record.fields["status"] is None  # type: ignore[attr-defined]
    assert record.message.endswith(" client=::1")
