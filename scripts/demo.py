"""Serve the heat example on loopback and hold the whole conversation with it, over plain HTTP.

With --once it ends there: 0 if every answer was as promised, 1 if one was not.
"""

from __future__ import annotations

import argparse
import json
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPMessage
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "heat.py"
QUESTION = "/heat?alpha=0.1&length=2&steps=700000"
SAME_QUESTION = "/heat?steps=0700000&points=101&length=2.0&alpha=0.10"
SHOWN = ("ETag", "Retry-After", "Run-Status", "Cache-Control", "Content-Type", "Content-Length")
PATIENCE = 120.0
AT_ONCE = 1.0


@dataclass(frozen=True)
class Answer:
    """The head and the content of one answer, and how long it took in seconds."""

    status: int
    headers: HTTPMessage
    content: bytes
    seconds: float

    @property
    def tag(self) -> str:
        """The entity tag, empty where there is none."""
        return self.headers.get("ETag", "")

    @property
    def progress(self) -> float:
        """The fraction that Run-Status tells (RFC 9651), 0 where it tells none."""
        found = re.search(r"progress=([0-9.]+)", self.headers.get("Run-Status", ""))
        return float(found[1]) if found else 0.0

    @property
    def retry_after(self) -> float:
        """Seconds to wait before the next ping; one where the server does not say."""
        return float(self.headers.get("Retry-After", "1"))


class Bar:
    """Progress on standard error: drawn in place on a terminal, a plain line for each step elsewhere."""

    def __init__(self) -> None:
        self.in_place = sys.stderr.isatty()

    def draw(self, fraction: float) -> None:
        """Show a fraction between 0 and 1."""
        filled = round(fraction * 40)
        line = f"    [{'#' * filled}{'.' * (40 - filled)}] {fraction:4.0%}"
        print(line, end="" if self.in_place else "\n", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Make room for a line of the conversation."""
        if self.in_place:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


@dataclass
class Conversation:
    """Requests to one server, shown as they go, and the promises that were not kept."""

    host: str
    bar: Bar = field(default_factory=Bar)
    broken: list[str] = field(default_factory=list)

    def get(self, target: str, tag: str | None = None) -> Answer:
        """One GET, conditional where there is a tag to show."""
        condition = {} if tag is None else {"If-None-Match": tag}
        self.bar.clear()
        print(f"> GET {target}", *(f"{name}: {value}" for name, value in condition.items()), sep="  ")
        begun = time.monotonic()
        with closing(HTTPConnection(self.host, timeout=30)) as connection:
            connection.request("GET", target, headers=condition)
            response = connection.getresponse()
            answer = Answer(response.status, response.headers, response.read(), time.monotonic() - begun)
        shown = (f"{name}: {answer.headers[name]}" for name in SHOWN if name in answer.headers)
        print(f"< {answer.status} {response.reason}", *shown, sep="  ")
        return answer

    def expect(self, kept: bool, promise: str) -> None:
        """Note a promise that was not kept."""
        if not kept:
            self.broken.append(promise)

    def hold(self) -> None:
        """The whole conversation: two clients, one question."""
        print("# A client asks. The run starts, and the answer is a tag to come back with.")
        first = self.get(QUESTION)
        self.expect(first.status == 202, f"the first GET is answered 202, not {first.status}")
        self.expect(first.tag.startswith('W/"'), "the 202 carries a pending tag")
        self.expect("Retry-After" in first.headers, "the 202 says when to come back")
        print("# It pings with the tag for as long as the server says 304.")
        ready = self.ping_until_ready(first)
        if ready is None:
            return
        self.check_result(first, ready)
        print("# Another client asks the same in its own spelling. It is the same resource: no second run.")
        same = self.get(SAME_QUESTION)
        self.expect(same.status == 200, f"another spelling is answered 200, not {same.status}")
        self.expect(same.seconds < AT_ONCE, f"another spelling is answered at once, not after {same.seconds:.1f} s")
        self.expect((same.tag, same.content) == (ready.tag, ready.content), "both clients get the same tag and bytes")
        print("# Later the first client asks whether its copy is still right.")
        again = self.get(QUESTION, ready.tag)
        self.expect(again.status == 304, f"the ready tag is answered 304, not {again.status}")
        self.expect((again.tag, again.content) == (ready.tag, b""), "that 304 repeats the ready tag, without content")

    def ping_until_ready(self, answer: Answer) -> Answer | None:
        """Ping until there is a result; None where there is none to wait for any more."""
        pending, seen, deadline = answer.tag, [answer.progress], time.monotonic() + PATIENCE
        while answer.status in (202, 304) and time.monotonic() < deadline:
            self.bar.draw(answer.progress)
            time.sleep(answer.retry_after)
            answer = self.get(QUESTION, answer.tag)
            if answer.status != 200:
                self.expect(answer.status == 304, f"a ping is answered 304, not {answer.status}")
                self.expect((answer.tag, answer.content) == (pending, b""), "a 304 repeats the tag, without content")
                seen.append(answer.progress)
        self.expect(answer.status == 200, f"the run ends in 200, not {answer.status} after {PATIENCE:.0f} s at most")
        self.expect(any(0 < fraction < 1 for fraction in seen), "the pings tell the progress")
        self.expect(seen == sorted(seen), "the progress never goes back")
        return answer if answer.status == 200 else None

    def check_result(self, first: Answer, ready: Answer) -> None:
        """The result: what was computed, and the head that lets it be cached."""
        self.bar.draw(1.0)
        self.bar.clear()
        self.expect(re.match(r'"[^"]+"$', ready.tag) is not None, "the result carries a strong tag")
        self.expect(ready.tag != first.tag.removeprefix("W/"), "the ready tag is not the pending tag")
        self.expect("max-age=" in ready.headers.get("Cache-Control", ""), "the result may be cached")
        rod = json.loads(ready.content)["temperature"]
        self.expect((rod[0], rod[-1]) == (100.0, 0.0), "the ends of the rod have their temperatures")
        print(f"# The result is {len(ready.content)} bytes: the rod is at {rod[len(rod) // 2]:.1f} °C in the middle.")


@contextmanager
def served(data: str) -> Iterator[subprocess.Popen[str]]:
    """The server of the example, on a free port; stopped when the block is left."""
    command = [str(Path(sys.executable).with_name("etagere")), "serve", str(EXAMPLE), "--port", "0", "--data", data]
    # Its own session: Ctrl-C on the terminal is for this script, which then stops the server.
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        yield server
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


def ready_host(server: subprocess.Popen[str]) -> str:
    """The host and port in the server's ready line; its output goes on being read, so that it never blocks.

    Raises:
        SystemExit: the server ended, or was not ready in time.
    """
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=follow, args=(server, lines), daemon=True).start()
    output, deadline = "", time.monotonic() + 60
    try:
        while line := lines.get(timeout=max(0.0, deadline - time.monotonic())):
            output += line
            if found := re.search(r"http://(127\.0\.0\.1:\d+)", line):
                return found[1]
    except queue.Empty:
        sys.exit(f"demo: the server was not ready within a minute:\n{output}")
    sys.exit(f"demo: the server ended before it was ready:\n{output}")


def follow(server: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    """Pass the server's lines on; an empty one is its end."""
    assert server.stdout is not None
    for line in server.stdout:
        lines.put(line)
    lines.put("")


def invite(host: str) -> None:
    """Say what to try by hand."""
    long_run = f"http://{host}/heat?alpha=0.25&steps=5000000"
    print(
        f"""
Serving until Ctrl-C. In a browser:
  http://{host}/                    the models
  http://{host}/-/models/heat       its parameters
  {long_run}
With curl, the same line again and again until the result is there:
  curl -i --etag-save tag --etag-compare tag '{long_run}'"""
    )


def interrupt(number: int, frame: object) -> None:
    """End as by Ctrl-C, so that the server is stopped and the data removed."""
    raise KeyboardInterrupt


def converse(host: str) -> bool:
    """Hold the conversation; False, and a word on each, if promises were not kept."""
    conversation = Conversation(host)
    try:
        conversation.hold()
    except (OSError, HTTPException, ValueError, LookupError) as error:
        conversation.expect(False, f"the conversation goes through to its end ({error!r})")
    for promise in conversation.broken:
        print(f"NOT AS PROMISED: {promise}", file=sys.stderr)
    return not conversation.broken


def main() -> int:
    """Run the demonstration; the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end after the conversation")
    once = parser.parse_args().once
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # SIGINT too: a shell may have had it ignored
        signal.signal(number, interrupt)
    with tempfile.TemporaryDirectory(prefix="etagere-demo-") as data, served(data) as server:
        host = ready_host(server)
        if not converse(host):
            return 1
        print("# Every answer was as promised.")
        if once:
            return 0
        with suppress(KeyboardInterrupt):
            invite(host)
            sys.exit(f"demo: the server ended with {server.wait()}.")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
