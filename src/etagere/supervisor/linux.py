"""What the Linux kernel is asked about processes; elsewhere these functions do and know nothing."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
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


def children() -> set[int]:
    """The process ids of this process's children, adopted ones and zombies included."""
    try:
        listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    except OSError:
        return set()
    return {int(pid) for pid in listed.split()}


def other_threads() -> list[str]:
    """The names of the threads beside the calling one, those that Python does not know included."""
    named = {thread.native_id: thread.name for thread in threading.enumerate()}
    try:
        tasks = {int(task.name): (task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()}
    except OSError:
        return sorted(thread.name for thread in threading.enumerate() if thread is not threading.current_thread())
    return sorted(named.get(task, name) for task, name in tasks.items() if task != threading.get_native_id())


def private_memory(session: int) -> int:
    """The bytes of memory that the processes of this session share with nobody.

    Pages that a fork still shares with its parent do not count (proc_pid_smaps(5)).
    """
    return sum(_private(pid) for pid in _members(session))


def _members(session: int) -> Iterator[str]:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            status = Path("/proc", pid, "stat").read_bytes()
        except OSError:
            continue
        if session_of(status) == session:
            yield pid


def session_of(status: bytes) -> int | None:
    """The session in the content of /proc/PID/stat; None where a process that was just vanishing left less."""
    # The command's name stands in parentheses and may itself hold any character (proc_pid_stat(5)).
    fields = status.rpartition(b")")[2].split(maxsplit=4)
    return int(fields[3]) if len(fields) > 3 else None


def _private(pid: str) -> int:
    try:
        lines = Path("/proc", pid, "smaps_rollup").read_bytes().splitlines()
    except OSError:
        return 0
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(b"Private_"))
