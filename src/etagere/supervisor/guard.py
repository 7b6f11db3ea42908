"""The guard: the parent of the warm process, which outlives it until nothing of it is left.

A run's own process dies with the warm process (PR_SET_PDEATHSIG), what a model has started itself
does not: it is the guard's to inherit and to kill, also when the service was killed too.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Set
from contextlib import suppress
from itertools import chain

from etagere.supervisor.linux import adopt_orphans, below, children, die_with_parent

_SECONDS = 0.5
_TURN_SECONDS = 0.002


def stand_guard(service: int) -> int:
    """Fork: the child returns, with the guard's process id, and its parent stays as its guard.

    `service` is the process id of the guard's own parent.
    """
    guard = os.getpid()
    adopt_orphans()
    ward = os.fork()
    if ward == 0:
        return guard

    def look(*_: object) -> None:
        if os.getppid() != service:
            kill(ward)

    signal.signal(signal.SIGHUP, look)
    die_with_parent(signal.SIGHUP)
    look()
    os.waitpid(ward, 0)
    end_children()
    os._exit(0)


def end_children(spared: Callable[[], Set[int]] = frozenset) -> None:
    """Kill all children but those `spared`, and theirs when they have become ours, for as long as anything shows.

    Bounded, because what waits for a device cannot be killed.
    """
    deadline = time.monotonic() + _SECONDS
    while (left := children() - spared()) and time.monotonic() < deadline:
        kill_families(left)
        for pid in left:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(_TURN_SECONDS)


def kill_families(heads: Set[int]) -> None:
    """Kill these processes and, before what they have started is orphaned level by level, everything below them."""
    for pid in {*heads, *chain.from_iterable(map(below, heads))}:
        kill(pid)


def kill(pid: int) -> None:
    """Kill a process of ours; it may be gone already."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def kill_group(leader: int) -> None:
    """Kill the process group of a run; it may be gone already."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
