"""Chromium without a window, told what to do over its DevTools protocol through a pair of pipes; no package needed."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PATIENCE_S = 30.0
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--remote-debugging-pipe",
    # Whatever a page asked of another machine would fail at once, and is in the log all the same.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


_LEFT = frozenset({"Inspected target navigated or closed", "Execution context was destroyed."})


class PageLeft(RuntimeError):
    """The page went to another address while something was asked of it."""


class Chromium:
    """A browser process of its own; `tab` opens a page in it."""

    def __init__(self, executable: str, profile: Path) -> None:
        commands, self._write = os.pipe()
        self._read, answers = os.pipe()
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (commands, answers)]

        def place() -> None:
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        self._process = subprocess.Popen(
            [executable, *OPTIONS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=False,
            preexec_fn=place,
        )
        for end in (commands, answers, *ends):
            os.close(end)
        self._rest = b""
        self._last = 0
        self._tabs: dict[str, Tab] = {}

    def tab(self) -> Tab:
        """A new page, everything about it being logged."""
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        tab = self._tabs[session] = Tab(self, session)
        for domain in ("Page", "Network", "Runtime", "Log"):
            tab.call(f"{domain}.enable")
        return tab

    def call(self, method: str, parameters: dict[str, Any] | None = None, session: str | None = None) -> Any:
        """Send a command and wait for its answer."""
        self._last += 1
        number = self._last
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters or {}}
        if session is not None:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive(PATIENCE_S)
            if answer is None:
                raise TimeoutError(f"{method} was not answered")
            if answer.get("id") == number:
                if "error" in answer:
                    error = PageLeft if answer["error"]["message"] in _LEFT else RuntimeError
                    raise error(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def receive(self, seconds: float) -> dict[str, Any] | None:
        """The next message; events are noted by their tab. None where none comes in time."""
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._read, selectors.EVENT_READ)
            while b"\0" not in self._rest:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    return None
                if not (chunk := os.read(self._read, 1 << 16)):
                    raise RuntimeError("Chromium is gone")
                self._rest += chunk
        raw, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(raw)
        if "method" in message and (tab := self._tabs.get(message.get("sessionId", ""))):
            tab.note(message["method"], message["params"])
        return message

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(Exception):
            self.call("Browser.close")
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        os.close(self._write)
        os.close(self._read)


class Tab:
    """One page: what it asked for, and what went wrong in it."""

    def __init__(self, browser: Chromium, session: str) -> None:
        self._browser = browser
        self._session = session
        self.requested: list[str] = []
        self.received: list[str] = []
        self.faults: list[str] = []
        self.loads = 0

    def call(self, method: str, **parameters: Any) -> Any:
        """A command to this page."""
        return self._browser.call(method, parameters, self._session)

    def note(self, method: str, event: dict[str, Any]) -> None:
        """Keep what an event says."""
        if method == "Network.requestWillBeSent":
            self.requested.append(event["request"]["url"])
        elif method == "Page.loadEventFired":
            self.loads += 1
        elif method == "Page.javascriptDialogOpening":
            self.faults.append(f"a dialog: {event['message']}")
        elif method == "Runtime.exceptionThrown":
            self.faults.append(f"an exception: {event['exceptionDetails']}")
        elif method == "Runtime.consoleAPICalled" and event["type"] in ("error", "warning"):
            self.faults.append(f"the console: {event['args']}")
        elif method == "Log.entryAdded" and event["entry"]["source"] != "network":
            self.faults.append(f"the log: {event['entry']['text']}")
        elif method == "Network.responseReceived":
            self._note_status(event["type"], event["response"])

    def _note_status(self, kind: str, response: dict[str, Any]) -> None:
        self.received.append(response["url"])
        # A document with an error status is a page that was asked for so.
        if kind != "Document" and response["status"] >= 400:
            self.faults.append(f"{response['status']} for {response['url']}")

    def go(self, url: str) -> None:
        """Open a URL and wait until it is loaded."""
        with self.loading():
            self.call("Page.navigate", url=url)

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """Wait until what happens inside has loaded another page."""
        before = self.loads
        yield
        self.until(lambda: self.loads > before, "a page to load")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def until(self, condition: Callable[[], Any], what: str, seconds: float = PATIENCE_S) -> Any:
        """Wait for a condition, looking again after each event; a page that was just left does not meet it."""
        deadline = time.monotonic() + seconds
        while not (found := _unless_left(condition)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {seconds:g} s for {what}")
            self._browser.receive(0.1)
        return found

    def screenshot(self, file: Path) -> None:
        """The whole page as a PNG."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))

    def resize(self, width: int, height: int = 900) -> None:
        """Another size of the window, in CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def scheme(self, name: str) -> None:
        """`light` or `dark`."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])


@contextlib.contextmanager
def chromium(executable: str) -> Iterator[Chromium]:
    """A browser with a new profile, closed at the end."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Chromium(executable, Path(profile))
        try:
            yield browser
        finally:
            browser.close()


def _unless_left(condition: Callable[[], Any]) -> Any:
    try:
        return condition()
    except PageLeft:
        return None
