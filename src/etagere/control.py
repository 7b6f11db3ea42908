"""The socket in the data directory, by which operators of the same user reach a running service.

A request is one line of JSON, `{"operation": "cancel", "arguments": {"id": "…"}}`; the answer is one, too: `{"done":
…}` with what the operation returns, or `{"problem": …}` with the members of a problem document.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from etagere.errors import InternalError, MalformedRequest, NoService, Problem, Refusal
from etagere.logs import get_logger
from etagere.operations import Operations
from etagere.tasks import cancel

NAME = "control"
LONGEST_LINE = 64 * 1024
CONNECTIONS = 16
REQUEST_S = 10.0
ANSWER_S = 60.0
# Linux: sun_path has 108 bytes, the last of them zero.
LONGEST_PATH = 107

# The path that the socket was bound to may not lead there any more.
_OURS: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}

log = get_logger("etagere.control")


class Control:
    """Serves the operations on the socket `control` in the data directory, which nobody else may hold."""

    def __init__(self, directory: Path, operations: Operations) -> None:
        self._directory = directory
        self._operations = operations
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen; where that cannot be done, the log says why, and the service does without."""
        try:
            listener = _listen(self._directory)
        except OSError as error:
            log.warning("operators' commands do not reach this service", place=str(self._directory), reason=str(error))
            return
        self._server = await asyncio.start_unix_server(self._connected, sock=listener, limit=LONGEST_LINE, **_OURS)

    async def stop(self) -> None:
        """Stop listening, and leave who is being answered."""
        if self._server is None:
            return
        self._server.close()
        await cancel(list(self._talks))
        (self._directory / NAME).unlink(missing_ok=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        try:
            if len(self._talks) <= CONNECTIONS:
                # A person who interrupts a command does not undo it.
                await self._talk(reader, writer)
        except (OSError, TimeoutError, ValueError):
            pass
        finally:
            self._talks.discard(task)
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer requests until there are no more, or a line is too long."""
        while line := await asyncio.wait_for(reader.readline(), REQUEST_S):
            answer = await self._answer(line)
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            return {"done": await self._perform(line)}
        except Problem as problem:
            found = problem
        except Exception:
            log.exception("fault of an operation")
            found = InternalError("The fault has been logged.")
        return {"problem": {"type": found.type, "title": found.title, "status": found.status, "detail": found.detail}}

    async def _perform(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            operation, arguments = str(request["operation"]), dict(request.get("arguments", {}))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise MalformedRequest("A request is a line of JSON with an operation and its arguments.") from error
        return await self._operations.perform(operation, arguments)


def ask(directory: Path, operation: str, *, seconds: float | None = ANSWER_S, **arguments: Any) -> dict[str, Any]:
    """What the operation of the service on this data directory returns; blocks for at most so many `seconds`.

    Raises:
        NoService: none can be reached.
        Refusal: it did not do it.
    """
    request = json.dumps({"operation": operation, "arguments": arguments}).encode() + b"\n"
    try:
        with _connection(directory, seconds) as connection, connection.makefile("rb") as answers:
            connection.sendall(request)
            answer = json.loads(answers.readline())
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as error:
        raise NoService(
            f"No service runs on the data directory {directory}. Start one with etagere serve, "
            "or name the directory of the one you mean by --data."
        ) from error
    except PermissionError as error:
        raise NoService(
            f"The data directory {directory} belongs to another user; run the command as the user of its service."
        ) from error
    except TimeoutError as error:
        raise NoService(
            f"The service on {directory} has not answered for {seconds:g} s; its log may say why."
        ) from error
    except (OSError, ValueError) as error:
        raise NoService(f"The service on {directory} ended the connection without an answer; try again.") from error
    if problem := answer.get("problem"):
        raise Refusal(problem["status"], problem["detail"])
    done: dict[str, Any] = answer["done"]
    return done


def _listen(directory: Path) -> socket.socket:
    """A listening socket in the place of whatever a killed service has left."""
    (directory / NAME).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    try:
        with _address(directory) as address:
            listener.bind(address)
            # Nobody can connect before it listens.
            os.chmod(directory / NAME, 0o600)
        listener.listen(CONNECTIONS)
    except BaseException:
        listener.close()
        raise
    return listener


@contextmanager
def _connection(directory: Path, seconds: float | None) -> Iterator[socket.socket]:
    with _address(directory) as address, socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(seconds)
        connection.connect(address)
        yield connection


@contextmanager
def _address(directory: Path) -> Iterator[str]:
    """A path of the socket that is short enough for one: through the directory's descriptor if it has to be.

    Raises:
        OSError: it is too long, and the system has no such paths.
    """
    path = str(directory / NAME)
    if len(os.fsencode(path)) <= LONGEST_PATH:
        yield path
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        short = f"/proc/self/fd/{descriptor}"
        if not os.path.isdir(short):
            raise OSError(errno.ENAMETOOLONG, f"a socket's path may have {LONGEST_PATH} bytes: use a shorter one", path)
        yield f"{short}/{NAME}"
    finally:
        os.close(descriptor)
