"""A TCP proxy that can be told to cut, to hold back, to delay, or to say twice what goes through it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress


class Proxy:
    """Between clients and a port; told what to do from any thread."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self.delay = 0.0
        # After how many seconds the target is told again, on another connection, what clients say; None: never. That
        # counts for connections that are made from now on, as a relay does that sends again what it is not sure of.
        self.again: float | None = None
        self._target = target
        self._flowing = asyncio.Event()
        self._pipes: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._stop = asyncio.Event()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def cut(self) -> None:
        """Nothing goes through, and nobody is told: packets are lost."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def heal(self) -> None:
        """What was held back goes through."""
        self._loop.call_soon_threadsafe(self._flowing.set)

    def reset(self) -> None:
        """End all connections."""
        self._loop.call_soon_threadsafe(lambda: [pipe.cancel() for pipe in self._pipes])

    def start(self) -> Proxy:
        ready = threading.Event()
        self._loop.call_soon_threadsafe(lambda: None)
        self._ready = ready
        self._thread.start()
        assert ready.wait(10)
        return self

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._flowing.set()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for pipe in self._pipes:
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        echo = None if self.again is None else await asyncio.open_connection("127.0.0.1", self._target)
        self._begin(self._pipe(reader, back, echo[1] if echo else None))
        self._begin(self._pipe(there, writer))
        if echo:
            self._begin(_swallow(echo[0]))

    def _begin(self, pipe: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(pipe)
        self._pipes.add(task)
        task.add_done_callback(self._pipes.discard)

    async def _pipe(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, echo: asyncio.StreamWriter | None = None
    ) -> None:
        try:
            while data := await source.read(65536):
                await self._flowing.wait()
                if self.delay:
                    await asyncio.sleep(self.delay)
                sink.write(data)
                if echo is not None and self.again is not None:
                    self._loop.call_later(self.again, echo.write, data)
                await sink.drain()
        except OSError:
            pass
        finally:
            sink.close()
            if echo is not None:
                echo.close()


async def _swallow(source: asyncio.StreamReader) -> None:
    with suppress(OSError):
        while await source.read(65536):
            pass


@contextmanager
def proxy(target: int) -> Iterator[Proxy]:
    """A proxy in front of a port."""
    made = Proxy(target).start()
    try:
        yield made
    finally:
        made.stop()
