"""httplint on answers given as JSON on standard input, its notes as JSON on standard output.

It runs in the judges' environment, where httplint is and the project is not.
"""

from __future__ import annotations

import base64
import json
import sys
from typing import Any

from httplint.message import HttpRequestLinter, HttpResponseLinter


def lint(exchange: dict[str, Any]) -> list[dict[str, str]]:
    """The notes on one answer."""
    request = HttpRequestLinter()
    target = f"http://localhost{exchange['target']}"
    request.process_request_topline(exchange["method"].encode(), target.encode(), b"1.1")
    request.process_headers([(name.encode(), value.encode()) for name, value in exchange["fields"]])
    response = HttpResponseLinter(start_time=exchange["received"], _related=request)
    response.is_head_response = exchange["method"] == "HEAD"
    response.process_response_topline(b"1.1", str(exchange["status"]).encode(), exchange["reason"].encode())
    response.process_headers([(name.encode(), value.encode()) for name, value in exchange["head"]])
    response.feed_content(base64.b64decode(exchange["content"]))
    response.finish_content(True)
    return [
        {"note_id": type(note).__name__, "level": note.level.name, "summary": str(note.summary)}
        for note in response.notes
    ]


if __name__ == "__main__":
    json.dump({name: lint(exchange) for name, exchange in json.load(sys.stdin).items()}, sys.stdout)
