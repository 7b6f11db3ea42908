"""Log events: a few words and their fields, through the standard library's `logging`.

Where they go is the host application's business; `to_stderr` is for the command. No logger of ours
can fail: an event that cannot be written is lost, and what it tells of goes on.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from etagere.core.credentials import covered

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class Logger:
    """Writes events of one part of the package; `event` and `fields` are kept on the record, too."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def info(self, event: str, **fields: Any) -> None:
        """What goes as it should."""
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """What somebody should look at."""
        self._log(logging.WARNING, event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """What somebody must look at."""
        self._log(logging.ERROR, event, fields)

    def exception(self, event: str, **fields: Any) -> None:
        """An error, with the traceback of the exception that is being handled."""
        self._log(logging.ERROR, event, fields, exc_info=True)

    def _log(self, level: int, event: str, fields: dict[str, Any], *, exc_info: bool = False) -> None:
        if self._logger.isEnabledFor(level):
            with suppress(Exception):
                extra = {"event": event, "fields": fields}
                self._logger.log(level, "%s", text_of(event, fields), extra=extra, exc_info=exc_info)


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(self.format(record) + "\n")


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        record.levelname = record.levelname.lower()
        return super().format(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802
        # Its message may be a model's or a client's: no line of it begins where events do.
        return "    " + printable(covered(super().formatException(ei)), lines=True).replace("\n", "\n    ")


class _JsonFormatter(logging.Formatter):
    """An object for each event: `time`, `level`, `event`, a `traceback`, and the fields; in ASCII alone."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {name: _plain(value) for name, value in getattr(record, "fields", {}).items() if value is not None}
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        known = {
            "time": time,
            "level": record.levelname.lower(),
            "event": getattr(record, "event", record.getMessage()),
        }
        if record.exc_info:
            known["traceback"] = self.formatException(record.exc_info)
        return covered(json.dumps(known | {name: value for name, value in fields.items() if name not in known}))


def get_logger(name: str) -> Logger:
    """The logger of a part; `name` begins with `etagere`, and may be configured by it."""
    return Logger(name)


def text_of(event: str, fields: dict[str, Any]) -> str:
    """One line, `event name=value …`; a text of several lines follows below it.

    What cannot be printed is escaped: models and clients write some of these values. What looks like a key or a token
    is covered: somebody may have put one where it does not belong. None is left out.
    """
    texts = {name: str(value).strip() for name, value in fields.items() if value is not None}
    words = [event, *(f"{name}={printable(text, lines=True)}" for name, text in texts.items() if "\n" not in text)]
    blocks = [f"{name}:\n{printable(text, lines=True)}" for name, text in texts.items() if "\n" in text]
    return covered("\n".join([" ".join(words), *blocks]).replace("\n", "\n    "))


def to_stderr(level: int = logging.INFO, *, machine: bool = False) -> None:
    """Write events of this level and above to standard error, for people to read, or as JSON for a `machine`."""
    handler, for_people = _Handler(), _Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")
    handler.setFormatter(_JsonFormatter() if machine else for_people)
    logger = logging.getLogger("etagere")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False


def say(text: str) -> None:
    """Write to standard error as far as that goes: its disk may be full, its reader gone."""
    with suppress(OSError, ValueError):
        sys.stderr.write(text)
        sys.stderr.flush()


def printable(text: str, *, lines: bool = False) -> str:
    """The text with control characters escaped, so that it steers no terminal; with `lines` it may have several."""
    whole = "\n" if lines else ""
    return "".join(c if c.isprintable() or c in whole else c.encode("unicode_escape").decode() for c in text)


def _plain(value: Any) -> str | int | float | bool:
    """A value as JSON has it; anything else as its text."""
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)


def without_password(url: str) -> str:
    """A URL as it may be shown, or what was given in its place: without user, password and query.

    Whatever stands before the last `@` may be one of them: a password with a `/`, or an address without a scheme.
    """
    scheme = found[0] if (found := _SCHEME.match(url)) else ""
    return scheme + url[len(scheme) :].rpartition("@")[2].partition("?")[0].partition("#")[0]
