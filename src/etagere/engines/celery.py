"""Celery as a host of workers: its messages say that there may be work in a queue, and nothing else.

What is true stands in the run table. So a message is acknowledged before anything is done, and lost, repeated or late
it costs time alone; results and retries are no business of Celery's. See docs/scaling.md.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Collection, Mapping
from concurrent.futures import CancelledError, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from typing import Any, Protocol

from celery import Celery, signals

from etagere.engines.broker import AGAIN_S, STOP_S, TASK, CeleryWorker, install_task, reach
from etagere.errors import StorageFull, StoreLost
from etagere.logs import get_logger
from etagere.tasks import cancel
from etagere.worker import Worker

POLL_S = 2.0
EXPIRES_S = 60.0
"""A message that nobody has taken for so long is dropped: whoever polls sends another."""
BEGIN_AGAIN_S = 5.0

Once = Callable[[str, float], Awaitable[bool]]
"""Whether nobody of those who share a store has said this in so many seconds; it is said by that."""

log = get_logger("etagere.engine")


class CeleryEngine:
    """An `Engine` whose workers are woken by messages of a broker, and look by themselves every other second.

    At most `runs` attempts go on at once. `waiting` tells how many runs wait in a queue. Those who wake the same fleet
    agree by `once` on who sends a message. `prefix` stands before the names of queues at the broker. Where it `hosts`,
    a Celery worker is started in this process; else this process is one.
    """

    def __init__(
        self,
        celery: Celery,
        worker: Worker,
        queues: Collection[str],
        runs: int,
        *,
        prefix: str,
        once: Once,
        waiting: Callable[[str], Mapping[str, int]],
        hosts: bool,
    ) -> None:
        self._celery = celery
        self._worker = worker
        self._queues = sorted(queues)
        self._runs = runs
        self._prefix = prefix
        self._once = once
        self._waiting = waiting
        self._free = runs
        self._attempts: set[asyncio.Task[None]] = set()
        self._polling: asyncio.Task[None] | None = None
        # Sending blocks, and a broker that is away for seconds.
        self._sender = ThreadPoolExecutor(1, "etagere-wake-ups")
        self._unsent = 0
        self._away = self._stopped = False
        self._loop = asyncio.get_running_loop()
        self._host = CeleryWorker(celery, [self._name(queue) for queue in self._queues], runs) if hosts else None

    async def start(self) -> None:
        """Begin to look for work."""
        self._polling = asyncio.create_task(self._poll())
        if self._host is not None:
            install_task(self._celery, self.received)
            self._host.start()
            self._hold(asyncio.ensure_future(self._look()))

    def wake(self, queue: str, reason: str = "") -> None:
        """Have somebody of the fleet look, once for each reason: whoever is first says so."""
        if self._stopped or self._unsent >= self._runs:
            return
        if queue in self._queues and self._waiting(queue):
            self._hold(asyncio.ensure_future(self._say(queue, reason)))

    async def stop(self) -> None:
        """See `Engine.stop`."""
        self._stopped = True
        await cancel([*self._attempts, *([self._polling] if self._polling else [])])
        if self._host is not None:
            await self._host.stop()
        self._sender.shutdown(wait=False, cancel_futures=True)

    def received(self, queue: str) -> None:
        """A message says that there may be work; called by a thread of Celery's, which waits as long as there is."""
        with suppress(RuntimeError, CancelledError):  # it is being stopped
            work = asyncio.run_coroutine_threadsafe(self._work(queue), self._loop)
            # A loop that has ended meanwhile answers no more, and Celery waits for this thread.
            while not self._stopped:
                with suppress(FutureTimeout):
                    work.result(AGAIN_S)
                    break

    async def _work(self, queue: str) -> None:
        """Work off a queue, if not as many do so already: those find what else there is."""
        if self._stopped or queue not in self._queues or not self._free:
            return
        self._free -= 1
        task = asyncio.ensure_future(self._worker.work([queue]))
        self._hold(task)
        try:
            await task
        except StoreLost:
            pass  # whoever follows the store says so
        except Exception:
            log.exception("a worker failed")
        finally:
            self._free += 1

    def _hold(self, task: asyncio.Task[None]) -> None:
        self._attempts.add(task)
        task.add_done_callback(self._attempts.discard)

    async def _poll(self) -> None:
        """Look for ever: for work that no message has told of, and for the fleet, which may be larger than this."""
        while True:
            await asyncio.sleep(POLL_S)
            for queue in self._queues:
                waiting = sum(self._waiting(queue).values())
                # One looks in any case, since that finds what others have lost.
                for _ in range(min(max(waiting, 1), self._free)):
                    self._hold(asyncio.ensure_future(self._work(queue)))
                if waiting:
                    self.wake(queue, f"{queue}.poll")

    async def _say(self, queue: str, reason: str) -> None:
        self._unsent += 1
        try:
            if await self._once(f"{self._prefix}.{reason}", POLL_S / 2):
                self._said(await self._loop.run_in_executor(self._sender, self._send, queue))
        except (StoreLost, StorageFull, RuntimeError):
            pass  # whoever polls finds it
        finally:
            self._unsent -= 1

    async def _look(self) -> None:
        with suppress(RuntimeError):  # it is being stopped
            self._said(await self._loop.run_in_executor(self._sender, reach, self._celery))

    def _send(self, queue: str) -> Exception | None:
        name = self._name(queue)
        try:
            self._celery.send_task(
                TASK, args=[queue], queue=name, expires=EXPIRES_S, ignore_result=True, serializer="json", retry=False
            )
        except Exception as error:  # of whichever broker there is
            return error
        return None

    def _name(self, queue: str) -> str:
        """What a queue is called at the broker."""
        return f"{self._prefix}.{queue}"

    def _said(self, error: Exception | None) -> None:
        if error is not None and not self._away:
            log.warning("the broker cannot be reached; workers look by themselves", reason=str(error) or repr(error))
        elif error is None and self._away:
            log.info("the broker is reached again")
        self._away = error is not None


class Works(Protocol):
    """An application whose models can be run for others: `Etagere`."""

    def check(self, settings: Mapping[str, Any]) -> object:
        """See that these settings do for that.

        Raises:
            StartError: they do not.
        """
        ...

    async def work(self, celery: Celery, settings: Mapping[str, Any]) -> Hosting:
        """Begin to run them, in the fleet of a Celery application."""
        ...


class Hosting(Protocol):
    """Workers at work."""

    @property
    def engine(self) -> Any:
        """The engine that wakes them."""
        ...

    async def stop(self) -> None:
        """End them."""
        ...


def install(celery: Celery, application: Works, **settings: Any) -> None:
    """Let a Celery application that there is already host the runs of an `Etagere`, beside its own tasks.

    `settings` are those of Etagere, `store` among them. Its workers take wake-ups from queues of the broker that are
    called `<namespace>.<queue>`, `etagere.default` if nothing else was said, so they are to consume those: `celery -A
    … worker -Q celery,etagere.default --pool threads`. A process of the pool `prefork` runs one at a time. While the
    store is away, a worker of the fleet does its other tasks and looks for it again and again.

    Raises:
        StartError: the settings are not valid.
    """
    application.check(settings)
    host = _Host(celery, application, settings)
    install_task(celery, host.received)
    # Weak references would be gone when this returns.
    signals.worker_ready.connect(host.ready, weak=False)
    signals.worker_process_init.connect(host.forked, weak=False)
    signals.worker_shutting_down.connect(host.shut_down, weak=False)
    signals.worker_process_shutdown.connect(host.stop, weak=False)


class _Host:
    """The workers of one process of a Celery application, in an event loop on a thread of their own."""

    def __init__(self, celery: Celery, application: Works, settings: Mapping[str, Any]) -> None:
        self._celery = celery
        self._application = application
        self._settings = dict(settings)
        self._hosting: Hosting | None = None
        self._beginning: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        # A pool's processes are not told of a shutdown, which waits for them: they read the end of this.
        self._ending, self._living = os.pipe()
        self._told = False

    def received(self, queue: str) -> None:
        """A message has come."""
        if self._hosting is not None:
            self._hosting.engine.received(queue)

    def ready(self, sender: Any, **_: Any) -> None:
        """A worker is ready; one of processes leaves it to those."""
        if "prefork" not in sender.controller.pool_cls.__module__:
            self._start(self._settings)

    def forked(self, **_: Any) -> None:
        """This is a process of a pool, and has one task at a time."""
        os.close(self._living)
        self._start({**self._settings, "runs": 1})
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._loop.add_reader, self._ending, self._end)

    def shut_down(self, **_: Any) -> None:
        """The worker is told to end, perhaps more than once."""
        if not self._told:
            self._told = True
            os.close(self._living)
        self.stop()

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._ending)
        threading.Thread(target=self.stop, daemon=True).start()

    def stop(self, **_: Any) -> None:
        """Runs under way go back to the queue."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        with suppress(FutureTimeout):
            asyncio.run_coroutine_threadsafe(self._halt(), loop).result(STOP_S)
        loop.call_soon_threadsafe(loop.stop)

    def _start(self, settings: Mapping[str, Any]) -> None:
        self._loop = loop = asyncio.new_event_loop()
        # What it starts is to live as long as the thread that has started it.
        threading.Thread(target=loop.run_forever, name="etagere", daemon=True).start()
        loop.call_soon_threadsafe(self._begin_soon, settings)

    def _begin_soon(self, settings: Mapping[str, Any]) -> None:
        self._beginning = asyncio.ensure_future(self._begin(settings))

    async def _begin(self, settings: Mapping[str, Any]) -> None:
        """Begin, however long that takes: nobody starts a fleet again because a store was away for a moment."""
        while self._hosting is None:
            try:
                self._hosting = await self._application.work(self._celery, settings)
            except Exception as error:
                log.error("no runs are taken, which is tried again", reason=str(error), seconds=BEGIN_AGAIN_S)
                await asyncio.sleep(BEGIN_AGAIN_S)

    async def _halt(self) -> None:
        if self._beginning is not None:
            await cancel([self._beginning])
        if self._hosting is not None:
            await self._hosting.stop()
