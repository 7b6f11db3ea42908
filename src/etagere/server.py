"""One process that serves: granian embedded, on a socket of our own."""

from __future__ import annotations

import asyncio
import ctypes
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from etagere.application import Etagere
from etagere.config import Settings
from etagere.errors import StartError

BACKLOG = 2048
HEADER_SECONDS = 10
# The longest head of a request, and what is gathered before a write: files go out in chunks of 128 KiB, and a
# buffer that is smaller than a chunk costs half of the rate.
BUFFER_BYTES = 192 * 1024
STOP_SECONDS = 10

# glibc's mallopt(3).
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_LARGE_BYTES = 512 * 1024
_ARENAS = 2


class _Embedded(Server):
    """granian on a socket that is bound already.

    Its own socket has SO_REUSEPORT, by which two services would share a port without a word.
    """

    def __init__(self, application: Any, listener: socket.socket) -> None:
        super().__init__(
            application,
            interface=Interfaces.ASGINL,
            websockets=False,
            # HTTP/2 would take 16 MiB of header for each of a connection's requests.
            http=HTTPModes.http1,
            backlog=BACKLOG,
            http1_settings=HTTP1Settings(header_read_timeout=HEADER_SECONDS * 1000, max_buffer_size=BUFFER_BYTES),
            log_enabled=False,
        )
        self.workers_kill_timeout = STOP_SECONDS
        self._listener = listener

    def _init_shared_socket(self) -> None:
        # The holder closes it.
        holder = SocketHolder(self._listener.detach(), False, BACKLOG)  # type: ignore[call-arg]
        self._ssp, self._shd, self._sfd = None, holder, holder.get_fd()  # type: ignore[assignment]


def bind(host: str, port: int, *, public: bool) -> socket.socket:
    """A listening socket.

    Raises:
        StartError: the port is in use, or the address is not loopback and `public` was not said.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise StartError(f"{host} is not an address of this machine: {error.strerror}.") from error
    if not public and not ip_address(address[0]).is_loopback:
        raise StartError(
            f"{host} is not a loopback address, and whoever reaches it could start runs: "
            "make keys with etagere keys add, put a proxy with access control in front, or say --insecure-public."
        )
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise StartError(f"cannot listen on {host} port {port}: {error.strerror}.") from error
    listener.setblocking(False)
    return listener


def is_public(listener: socket.socket) -> bool:
    """Whether others than this machine may reach it."""
    return not ip_address(listener.getsockname()[0]).is_loopback


def url_of(listener: socket.socket) -> str:
    """The URL of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def keep_memory_flat() -> None:
    """Have large buffers given back when they are freed, and small ones shared by all threads.

    By itself glibc raises the size from which it does the former, and lets threads have arenas of their
    own: after 3,500 results of every size a third of the service's memory was holes.
    """
    with suppress(AttributeError):  # other C libraries
        allocator = ctypes.CDLL(None)
        allocator.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        allocator.mallopt(_M_ARENA_MAX, _ARENAS)


async def serve(
    application: Etagere,
    settings: Settings,
    listener: socket.socket,
    ready: Callable[[str], None],
    changed: Callable[[], Any] | None = None,
) -> bool:
    """Serve until SIGTERM, SIGINT or, with `changed`, until that coroutine function returns; True in the last case.

    Raises:
        StartError: the application cannot start.
    """
    keep_memory_flat()
    await application.start(settings)
    server = _Embedded(application, listener)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        application.wind_down()
        server.stop()  # type: ignore[no-untyped-call]

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    watching = loop.create_task(changed()) if changed else None
    if watching is not None:
        watching.add_done_callback(lambda _: stop())
    ready(url_of(listener))
    with suppress(TimeoutError):
        await server.serve()
    await application.stop()
    if watching is None:
        return False
    reload = watching.done()
    watching.cancel()
    return reload
