"""A log line for each request; outside the application, because it costs more than a ping itself."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from etagere.asgi.request import sent_path
from etagere.asgi.responses import ANSWER, CLIENT, Receive, Response, Scope, Send
from etagere.core.tally import Answered
from etagere.logs import get_logger

log = get_logger("etagere.access")

_READY = frozenset({Answered.hit, Answered.partial, Answered.revalidated, Answered.waited})


class AccessLog:
    """Wraps an ASGI application that leaves its `Response` in the scope; query strings are data and are not logged."""

    def __init__(self, application: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request through and log it."""
        began = time.perf_counter()
        statuses: list[int] = []

        async def noted(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
            await send(message)

        await self._application(scope, receive, noted)
        spent = round((time.perf_counter() - began) * 1000, 3)
        log.info(
            "request",
            method=scope["method"],
            path=sent_path(scope),
            status=statuses[-1] if statuses else None,
            ms=spent,
            **about(scope.get(ANSWER)),
            client=_client(scope),
        )


def _client(scope: Scope) -> str | None:
    """The name of the client; its address where that is not known."""
    client, peer = scope.get(CLIENT), scope.get("client")
    if client is not None:
        name: str = client.name
        return name
    return peer[0] if peer else None


def about(response: Response | None) -> dict[str, str | None]:
    """The kind of the answer, and the id of the resource that it is about."""
    if response is None:
        return {}
    return {"answer": str(response.answer), "id": response.pending or _ended(response)}


def _ended(response: Response) -> str | None:
    """The id of a resource whose run has ended."""
    if response.answer in _READY:
        tag = next((value for name, value in response.headers if name == b"etag"), b"")
        return tag.decode("ascii").strip('"').partition(".")[0] or None
    return response.problem.get("id") if response.problem else None
