"""Operators' commands over HTTP, to a service that is somewhere else."""

from __future__ import annotations

import json
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from etagere.errors import EtagereError, NoService, Refusal

ANSWER_S = 60.0
LARGEST_ANSWER = 16 * 1024 * 1024


class _Nowhere(HTTPRedirectHandler):
    """Follows no redirect, which would take the key somewhere else."""

    def redirect_request(self, *_: object) -> None:
        return None


def ask(url: str, key: str, operation: str, *, seconds: float | None = ANSWER_S, **arguments: Any) -> dict[str, Any]:
    """What the operation of the service at this URL returns; blocks for at most so many `seconds` without a byte.

    Raises:
        EtagereError: the URL is none, or there is no key.
        NoService: it cannot be reached.
        Refusal: it did not do it.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise EtagereError(f"{url} is no URL of a service, such as https://models.example.org")
    if not key or not key.isascii() or not key.isprintable():
        raise EtagereError("set ETAGERE_KEY to an operator's key; etagere keys add NAME --role operator makes one")
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json", "accept": "application/json"}
    content = json.dumps(arguments).encode()
    request = Request(f"{url.rstrip('/')}/-/operations/{operation}", content, headers, method="POST")  # noqa: S310
    try:
        with build_opener(_Nowhere).open(request, timeout=seconds) as answer:
            done: dict[str, Any] = json.loads(answer.read(LARGEST_ANSWER))
            return done
    except HTTPError as error:
        with error:
            raise Refusal(error.code, _detail(error)) from error
    except (URLError, OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise NoService(f"The service at {url} cannot be reached, or is no Etagere: {reason}.") from error


def _detail(error: HTTPError) -> str:
    """What the problem document says; another server on the way may have answered instead."""
    try:
        document = json.loads(error.read(LARGEST_ANSWER))
        return str(document["detail"])
    except (OSError, HTTPException, ValueError, LookupError, TypeError):
        return f"{error.code} {error.reason}"
