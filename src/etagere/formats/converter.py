"""Conversions, each in a short-lived process of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from etagere.errors import InternalError, Stopping, StorageFull
from etagere.formats.columns import NotTabular
from etagere.formats.convert import NO_ROOM, NOT_TABULAR
from etagere.logs import get_logger
from etagere.supervisor.environment import for_models

TIME_LIMIT_S = 600.0
_LONGEST_REASON = 1000
_TABLES = frozenset({"json", "csv", "arrow", "parquet"})
_SOURCES = frozenset({"json", "arrow"})

log = get_logger("etagere.formats")


def can_convert(source: str, target: str) -> bool:
    """Whether a format is made from another one by `Converter.convert`."""
    return source in _SOURCES and target in _TABLES


class Converter:
    """Converts files; `close` ends the conversions under way, and no other begins.

    A conversion may take `memory` bytes, by default half of the machine's.
    """

    def __init__(self, memory: int | None = None) -> None:
        self._memory = memory or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
        self._processes: set[asyncio.subprocess.Process] = set()
        self._closed = False

    async def convert(self, source_format: str, source: Path, target_format: str, target: Path) -> None:
        """Write what is in the file `source` to the file `target`, which is not there yet.

        Raises:
            NotTabular: the result is no table, or not one that the format can hold or that fits into the memory.
            InternalError: it failed, or took too long; the log says why.
            StorageFull: there is no room for what it writes.
            Stopping: it was ended by `close`.
        """
        self._go_on()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "etagere.formats.convert"),
            *(source_format, str(source), target_format, str(target), str(os.getpid()), str(self._memory)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=for_models(os.environ),
        )
        self._processes.add(process)
        try:
            said, complaint = await asyncio.wait_for(process.communicate(), TIME_LIMIT_S)
        except TimeoutError:
            log.error("conversion ended at its time limit", to=target_format, seconds=TIME_LIMIT_S)
            raise InternalError(f"To write the result as {target_format} took too long.") from None
        finally:
            self._processes.discard(process)
            _kill(process)
            await process.wait()
        self._go_on()
        if process.returncode == NOT_TABULAR:
            raise NotTabular(said.decode("utf-8", "replace")[:_LONGEST_REASON])
        if process.returncode == NO_ROOM:
            raise StorageFull(f"There is no room to write the result as {target_format}.")
        if process.returncode != 0:
            log.error("conversion failed", to=target_format, error=complaint.decode("utf-8", "replace")[-2000:])
            raise InternalError(f"The result could not be written as {target_format}.")

    def close(self) -> None:
        """Kill what is under way."""
        self._closed = True
        for process in self._processes:
            _kill(process)

    def _go_on(self) -> None:
        if self._closed:
            raise Stopping("The service is stopping. Ask again in a moment.")


def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
