"""What the Linux kernel is asked about processes; elsewhere these functions do and know nothing."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LINUX = sys.platform == "linux"
_LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_parent(number: int) -> None:
    """Be sent this signal when the parent's thread ends; check `os.getppid` afterwards, it may have ended before."""
    if _LINUX:
        _LIBC.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends, in place of init."""
    if _LINUX:
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children(of: int | str = "self") -> set[int]:
    """The process ids of a process's children, adopted ones and zombies included; none where it is gone."""
    found: set[int] = set()
    for task in _listed(f"/proc/{of}/task"):
        with suppress(OSError):
            found.update(map(int, Path(f"/proc/{of}/task/{task}/children").read_bytes().split()))
    return found


def below(process: int) -> Iterator[int]:
    """The process ids of a process's descendants, whatever session they are in.

    Those that come or go meanwhile may be missed, or be gone already.
    """
    seen, parents = {process}, [process]
    while parents:
        fresh = children(parents.pop()) - seen
        seen |= fresh
        parents += fresh
        yield from fresh


def other_threads() -> list[str]:
    """The names of the threads beside the calling one, those that Python does not know included."""
    named = {thread.native_id: thread.name for thread in threading.enumerate()}
    try:
        tasks = {int(task.name): (task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()}
    except OSError:
        return sorted(thread.name for thread in threading.enumerate() if thread is not threading.current_thread())
    return sorted(named.get(task, name) for task, name in tasks.items() if task != threading.get_native_id())


def private_memory(process: int) -> int:
    """The bytes of memory that a process shares with nobody; 0 where it is gone.

    Pages that a fork still shares with its parent do not count (proc_pid_smaps(5)).
    """
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_bytes().splitlines()
    except OSError:
        return 0
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(b"Private_"))


def _listed(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []
