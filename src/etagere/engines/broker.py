"""Celery's side of a fleet: an application on a broker, the task that wakes, and a worker in this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from typing import Any

from celery import Celery
from celery.worker import WorkController
from kombu.connection import Connection

from etagere.logs import get_logger

TASK = "etagere.work"
AGAIN_S = 1.0
STOP_S = 5.0

log = get_logger("etagere.engine")


def application(broker: str) -> Celery:
    """A Celery application of our own on this broker."""
    made = Celery("etagere", broker=broker, set_as_current=False)
    made.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={"socket_connect_timeout": 2, "socket_timeout": 5},
    )
    return made


def check(broker: str) -> None:
    """See that there is a transport for a broker's URL.

    Raises:
        LookupError: nobody knows one.
        ImportError: what it needs is not installed.
        ValueError: it is no URL; what is said of it may have a part of the password.
    """
    try:
        Connection(broker).get_transport_cls()  # type: ignore[no-untyped-call]
    except KeyError as error:
        raise LookupError(*error.args) from error


def reach(application: Celery) -> Exception | None:
    """What keeps us from the broker, if anything does; blocks."""
    try:
        with application.connection_for_write() as connection:
            connection.connect()
    except Exception as error:  # of whichever broker there is
        return error
    return None


class CeleryWorker:
    """A Celery worker in this process, on a thread of its own, of these queues of the broker."""

    def __init__(self, celery: Celery, queues: Collection[str], runs: int) -> None:
        self._celery = celery
        self._queues = list(queues)
        self._runs = runs
        self._controller: WorkController | None = None
        self._thread = threading.Thread(target=self._run, name="etagere-celery", daemon=True)
        self._stopping = threading.Event()

    def start(self) -> None:
        """Consume messages, and go on trying where there is no broker."""
        self._thread.start()

    async def stop(self) -> None:
        """Consume no more."""
        self._stopping.set()
        ended, loop = asyncio.Event(), asyncio.get_running_loop()
        # Where there is no broker that may hang, and nobody is to wait for the thread then.
        threading.Thread(target=self._end, args=(partial(loop.call_soon_threadsafe, ended.set),), daemon=True).start()
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), STOP_S)

    def _end(self, ended: Callable[[], object]) -> None:
        if self._controller is not None:
            with suppress(Exception):
                self._controller.stop()
        with suppress(RuntimeError):  # the loop is closed by now
            ended()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._controller = self._celery.WorkController(
                    pool="threads", concurrency=self._runs, queues=self._queues, quiet=True,
                    without_heartbeat=True, without_mingle=True, without_gossip=True,
                )  # fmt: skip
                self._controller.start()
            except Exception as error:  # of whichever broker there is
                log.warning("the Celery worker has ended and is started again", reason=repr(error))
            self._stopping.wait(AGAIN_S)


def install_task(celery: Celery, received: Callable[[str], None]) -> None:
    """Have an application answer wake-ups."""

    def work(queue: str, *_: Any) -> None:
        received(str(queue))

    celery.task(work, name=TASK, ignore_result=True, acks_late=False)
    celery.finalize()
