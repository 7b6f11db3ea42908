"""Problem documents (RFC 9457)."""

from __future__ import annotations

from typing import Any

import orjson

from etagere.asgi.problem_types import FAILURES
from etagere.asgi.responses import Headers, Response
from etagere.core.credentials import covered
from etagere.core.representation import Failure, Kind
from etagere.core.tally import Answered
from etagere.errors import Problem

MEDIA_TYPE = b"application/problem+json"
REFUSAL_MAX_AGE = 300


def of_problem(problem: Problem, root: str) -> Response:
    """The answer that an error of ours gives; `root` is where the application is mounted."""
    headers: Headers = [(b"cache-control", b"no-store")]
    if problem.retry_after is not None:
        headers.append((b"retry-after", b"%d" % problem.retry_after))
    headers += [(name.encode(), value.encode()) for name, value in problem.extensions.pop("headers", {}).items()]
    # What is wrong is shown, and that may be a key where none belongs.
    document = document_of(problem, root)
    text = orjson.dumps(document).decode()
    if (shown := covered(text)) is not text:
        document = orjson.loads(shown)
    return _response(problem.status, headers, document, _answer(problem.status))


def document_of(problem: Problem, root: str) -> dict[str, Any]:
    """The problem document of an error of ours."""
    return {
        "type": f"{root}/-/problems/{problem.type}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        **{name: value for name, value in problem.extensions.items() if name != "headers"},
    }


def of_failure(failure: Failure, root: str, *, fresh: bool, private: bool = False) -> Response:
    """The answer of a remembered failure; `fresh` says that no cache may keep it, `private` that no shared one may."""
    refused = failure.kind is Kind.refused
    control = b"max-age=%d" % REFUSAL_MAX_AGE if refused and not fresh else b"no-store"
    if private and control != b"no-store":
        control = b"private, " + control
    status, answer = FAILURES[failure.kind].status, Answered.refused if refused else Answered.failed
    return _response(status, [(b"cache-control", control)], failure_document(failure, root), answer)


def failure_document(failure: Failure, root: str) -> dict[str, Any]:
    """The problem document of a remembered failure."""
    kind = FAILURES[failure.kind]
    return {
        "type": f"{root}/-/problems/{kind.name}",
        "title": kind.title,
        "status": kind.status,
        "detail": failure.detail,
        "id": failure.id,
        "seconds": round(failure.seconds, 3),
        "attempt": failure.attempt,
        **failure.facts,
    }


def _answer(status: int) -> Answered:
    if status in (429, 503):
        return Answered.unavailable
    return Answered.error if status == 500 else Answered.rejected


def _response(status: int, headers: Headers, document: dict[str, Any], answer: Answered) -> Response:
    body = orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)
    sized = [
        (b"content-type", MEDIA_TYPE),
        (b"content-length", b"%d" % len(body)),
        (b"x-content-type-options", b"nosniff"),
    ]
    # Any of them may be a page instead.
    return Response(status, [*headers, (b"vary", b"Accept"), *sized], body, problem=document, answer=answer)
