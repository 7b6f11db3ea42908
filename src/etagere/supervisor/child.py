"""The process of one run: `separate` and `enter`, then a function, a command or a new interpreter."""

from __future__ import annotations

import errno
import gc
import json
import os
import re
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import orjson

from etagere import figures, tabular
from etagere.core.representation import QUICK_BYTES
from etagere.encoding import encode
from etagere.errors import EncodingError, ImportFailed, Refused
from etagere.results import SECOND, Returned
from etagere.supervisor.environment import threads
from etagere.supervisor.linux import adopt_orphans, die_with_parent
from etagere.supervisor.program import Description, Job, load, owners_traceback
from etagere.tracking import report_to

_LONGEST_TEXT = 10_000
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_RETRY_SECONDS = 1.0
_LINGER_SECONDS = 0.5
_PLACE = re.compile(r"\{([^{}]*)\}")


class Events:
    """Lines to the supervisor. The FIFO is opened for each, because a model may close what it finds open."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self, **event: object) -> None:
        """Write one line; waits while the FIFO is full."""
        self._write(event, blocking=True)

    def progress(self, fraction: float, message: str) -> None:
        """Write a line that may be lost."""
        with suppress(OSError):
            self._write({"progress": fraction, "message": _legible(message)}, blocking=False)

    def done(self) -> None:
        """Write that the result is whole; where that is lost, the end of the process says it."""
        with suppress(OSError):
            self._write({"done": True}, blocking=False)

    def _write(self, event: Mapping[str, object], *, blocking: bool) -> None:
        fifo = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
        try:
            os.set_blocking(fifo, blocking)
            line = memoryview(orjson.dumps(event) + b"\n")
            while line:
                line = line[os.write(fifo, line) :]
        finally:
            os.close(fifo)


def separate(parent: int) -> None:
    """Make the forked process one of its own: session, signals, and dead when `parent` is."""
    os.setsid()
    die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    # What the run's processes leave behind stays below it, so that it can be told from other runs'.
    adopt_orphans()
    for number in (signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _redirect(os.devnull, os.O_RDONLY, 0)
    gc.enable()


def enter(directory: Path, trace: str) -> None:
    """Give it a run's environment and standard streams; `trace` is its traceparent, or empty."""
    describe(directory)
    if trace:
        os.environ["TRACEPARENT"] = trace
    _redirect(directory / "output", os.O_WRONLY, 1, 2)


def describe(directory: Path) -> None:
    """Tell it where its files are."""
    os.environ["RUN_DIR"] = str(directory / "work")
    os.environ["RUN_SPEC"] = str(directory / "spec.json")
    os.environ["RUN_EVENTS"] = str(directory / "events")


def run(job: Job, directory: Path) -> int:
    """Run a job in this process; the exit status. A command takes the process over."""
    os.chdir(directory / "work")
    events = Events(directory / "events")
    if job.function is None:
        return _command(job, directory, events)
    report_to(events.progress)
    try:
        _function(job, directory)
    except Refused as refusal:
        events.send(refused=_legible(str(refusal)))
    except EncodingError as error:
        events.send(failed=_legible(str(error)))
    except BaseException as error:
        events.send(failed=type(error).__name__, traceback=_legible(owners_traceback(error)))
    else:
        flush()
        if _is_known_at_once(job, directory):
            events.done()
            time.sleep(_LINGER_SECONDS)
        return 0
    return 1


def _is_known_at_once(job: Job, directory: Path) -> bool:
    """Whether the result is taken before the process has ended, which it is then told to do.

    Taking an address space down costs more than a short run; meanwhile the result is on its way. A run
    whose place another one waits for is over only when its process is gone.
    """
    return job.concurrency is None and (directory / "result").stat().st_size <= QUICK_BYTES


def renew(key: str, directory: Path, description: Description, count: int | None) -> NoReturn:
    """Become a new interpreter that loads the program itself and runs this model, with `count` threads if given."""
    (directory / "program.json").write_text(json.dumps(description))
    command = [sys.executable, "-P", "-m", "etagere.supervisor.child", key, str(directory)]
    chosen = threads(count) if count is not None else {}
    os.execve(sys.executable, command, {**os.environ, **chosen})  # noqa: S606


def leave(status: int) -> NoReturn:
    """End the process without the exit handlers, which belong to the process that it was forked from."""
    flush()
    os._exit(status)


def flush() -> None:
    """Let go of what was printed; a model may have closed what it prints to."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()


def main() -> None:
    """Load the program that lies in the run's directory and run one of its models."""
    key, directory = sys.argv[1], Path(sys.argv[2])
    print_at_once()
    try:
        jobs = load(json.loads((directory / "program.json").read_text()))
    except ImportFailed as failure:
        Events(directory / "events").send(failed="ImportFailed", traceback=_legible(failure.traceback))
        leave(1)
    leave(run(jobs[key], directory))


def print_at_once() -> None:
    """What is printed shall not be lost in a buffer when the process crashes."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]


def _function(job: Job, directory: Path) -> None:
    assert job.function is not None
    assert job.parameters is not None
    values = job.parameters.parse_json((directory / "spec.json").read_bytes()).values
    result = _encoded(job, job.function(**values), directory)
    if isinstance(result, Path):
        result.rename(directory / "result")
    else:
        _store(result, directory / "result")


def _encoded(job: Job, returned: object, directory: Path) -> bytes | bytearray | Path:
    if job.returned is Returned.table:
        return tabular.encode(returned)
    if job.returned is Returned.figure:
        result, second = figures.encode(returned)
        # First, because with the result itself all is there.
        _store(second, directory / SECOND)
        return result
    return encode(returned, media_type=job.media_type, nan=job.nan, directory=directory / "work")


def _store(result: bytes | bytearray, target: Path) -> None:
    # Under its name the result is whole: a process that dies while it writes leaves none.
    part = target.with_name("result.part")
    with part.open("xb", buffering=0) as file:
        rest = memoryview(result)
        while rest:
            rest = rest[_write(file.fileno(), rest) :]
    part.rename(target)


def _write(file: int, data: memoryview) -> int:
    """Write what goes; waits for room while there is none: the time limit ends that."""
    while True:
        try:
            return os.write(file, data)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
        time.sleep(_RETRY_SECONDS)


def _command(job: Job, directory: Path, events: Events) -> int:
    arguments = command_line(job.argv, job.names, (directory / "spec.json").read_text())
    _redirect(directory / "spec.json", os.O_RDONLY, 0)
    _redirect(directory / "result", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 1)
    if job.threads is not None:
        os.environ.update(threads(job.threads))
    # Python ignores these; what is executed would inherit that.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(arguments[0], arguments)  # noqa: S606
    except (OSError, ValueError) as error:
        events.send(failed="the command cannot be executed", traceback=f"{arguments[0]}: {error}")
    return 1


def command_line(argv: tuple[str, ...], names: tuple[str, ...], parameters: str) -> list[str]:
    """The arguments with each `{name}` replaced by the canonical text of that parameter, in one pass.

    A parameter that is null or left out is an empty text; what is no parameter's name stays as it is. The
    program, the first argument, is the owner's alone.
    """
    texts = dict.fromkeys(names, "") | _texts(parameters)

    def text(place: re.Match[str]) -> str:
        return texts.get(place[1], place[0])

    return [argv[0], *(_PLACE.sub(text, item) for item in argv[1:])]


def _texts(parameters: str) -> dict[str, str]:
    """The members of a canonical JSON object; numbers and structures exactly as they are written there."""
    decoder = json.JSONDecoder()
    texts, at = {}, 1
    while parameters[at] != "}":
        name, colon = decoder.raw_decode(parameters, at + (parameters[at] == ","))
        value, end = decoder.raw_decode(parameters, colon + 1)
        texts[name] = value if isinstance(value, str) else "" if value is None else parameters[colon + 1 : end]
        at = end
    return texts


def _redirect(path: Path | str, flags: int, *descriptors: int) -> None:
    opened = os.open(path, flags, 0o600)
    for descriptor in descriptors:
        os.dup2(opened, descriptor)
    if opened not in descriptors:
        os.close(opened)


def _legible(text: str) -> str:
    """The end of a text, without what UTF-8 cannot carry."""
    return text[-_LONGEST_TEXT:].encode("utf-8", "replace").decode()


if __name__ == "__main__":
    main()
