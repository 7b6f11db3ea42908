"""What comes out of a run while it lasts: what it prints and what it says of itself.

Nothing of it is trusted; all of it is bounded.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from etagere.core.media import is_media_type

CHUNK = 65536
LONGEST_OUTPUT = 65536
LONGEST_LINE = 65536
_LAST_CHUNKS = 32
_LONGEST_MESSAGE = 500
_LONGEST_DETAIL = 4000
_LONGEST_MEDIA_TYPE = 255


class Fifo:
    """Reads a new FIFO in the event loop while it is entered, never more than a chunk a turn."""

    def __init__(self, path: Path, sink: Callable[[bytes], object]) -> None:
        self._path = path
        self._sink = sink
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> Self:
        os.mkfifo(self._path, 0o600)
        # Open for writing too: no writer then has to wait for us, and we never see an end of file.
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_NONBLOCK)
        self._loop.add_reader(self._descriptor, self._read)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)

    def drain(self) -> None:
        """Take what is left once the run has ended; bounded, because somebody may still be writing."""
        for _ in range(_LAST_CHUNKS):
            if not self._read():
                return

    def _read(self) -> bool:
        try:
            chunk = os.read(self._descriptor, CHUNK)
        except BlockingIOError:
            return False
        self._sink(chunk)
        return True


class Tail:
    """The last that was printed; all of it goes to `echo`, where there is one."""

    def __init__(self, echo: Callable[[bytes], object] | None) -> None:
        self._echo = echo
        self._kept = bytearray()

    def feed(self, chunk: bytes) -> None:
        """More was printed."""
        if self._echo is not None:
            self._echo(chunk)
        self._kept += chunk
        del self._kept[:-LONGEST_OUTPUT]

    def text(self) -> str:
        """What is kept, as far as it is UTF-8."""
        return self._kept.decode("utf-8", "replace")


class Events:
    """The JSON lines of a run, the last of each kind; what is not of a known shape is ignored."""

    def __init__(self, progress: Callable[[float, str], None], done: Callable[[], None]) -> None:
        self._progress = progress
        self._done = done
        self._rest = b""
        self._news: tuple[float, str] | None = None
        self.refused: str | None = None
        self.failed: str | None = None
        self.traceback = ""
        self.result: str | None = None
        self.media_type: str | None = None

    def feed(self, chunk: bytes) -> None:
        """More was said; of several reports of progress at once only the last is passed on."""
        *lines, rest = (self._rest + chunk).split(b"\n")
        # One byte too many is enough to know the line for too long when its end comes.
        self._rest = rest[: LONGEST_LINE + 1]
        for line in lines:
            if len(line) <= LONGEST_LINE:
                self._hear(line)
        if self._news is not None:
            news, self._news = self._news, None
            self._progress(*news)

    def _hear(self, line: bytes) -> None:
        try:
            event = orjson.loads(line)
        except orjson.JSONDecodeError:
            return
        match event:
            case {"progress": float() | int() as fraction} if not isinstance(fraction, bool):
                self._news = (min(1.0, max(0.0, float(fraction))), _text(event.get("message"))[:_LONGEST_MESSAGE])
            case {"refused": str() as detail}:
                self.refused = detail[:_LONGEST_DETAIL]
            case {"failed": str() as detail}:
                self.failed = detail[:_LONGEST_DETAIL]
                self.traceback = _text(event.get("traceback"))
            case {"result": str() as file} if _fits(event.get("media_type")):
                self.result = file
                self.media_type = event.get("media_type")
            case {"done": done} if done is True:
                self._done()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _fits(media_type: Any) -> bool:
    return media_type is None or (
        isinstance(media_type, str) and len(media_type) <= _LONGEST_MEDIA_TYPE and is_media_type(media_type)
    )
