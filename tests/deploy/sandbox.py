"""Become a command in the sandbox of a systemd unit, as far as one process can without systemd.

`sandbox.py UNIT COMMAND …`: the system calls, the kinds of sockets, memory that is written and executed, privileges,
files and the mask of new ones are those of the unit. It needs systemd-analyze for the names, and libseccomp.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_EQUAL, _MASKED_EQUAL = 4, 7
_PROT_WRITE, _PROT_EXEC, _SHM_EXEC = 2, 4, 0o100000
_PR_SET_NO_NEW_PRIVS = 38


class _Comparison(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


class Filter:
    """A seccomp filter."""

    def __init__(self, default: int) -> None:
        self.library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
        self.library.seccomp_init.restype = ctypes.c_void_p
        self.context = ctypes.c_void_p(self.library.seccomp_init(ctypes.c_uint32(default)))

    def add(self, action: int, name: str, *arguments: tuple[int, int, int, int]) -> None:
        number = self.library.seccomp_syscall_resolve_name(name.encode())
        if number < 0:  # another architecture's
            return
        compared = (_Comparison * len(arguments))(*(_Comparison(*argument) for argument in arguments))
        add = self.library.seccomp_rule_add_array
        done = add(self.context, ctypes.c_uint32(action), number, ctypes.c_uint(len(arguments)), compared)
        assert done in (0, -errno.EACCES), (name, done)  # the default already

    def load(self) -> None:
        assert self.library.seccomp_load(self.context) == 0


def settings(unit: str) -> dict[str, list[str]]:
    """What a unit says, by name."""
    said: dict[str, list[str]] = {}
    for line in unit.splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            said.setdefault(name, []).append(value)
    return said


def members(name: str) -> Iterator[str]:
    """The system calls of a set such as @system-service."""
    if not name.startswith("@"):
        yield name
        return
    listed = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True)
    for line in listed.stdout.splitlines()[1:]:
        if not line.strip().startswith("#"):
            yield from members(line.strip())


def system_calls(filters: list[str]) -> set[str]:
    """The system calls that are left by an allow list and the deny lists after it."""
    allowed: set[str] = set()
    for words in filters:
        for name in words.removeprefix("~").split():
            change = allowed.difference_update if words.startswith("~") else allowed.update
            change(members(name))
    return allowed


def denied(said: dict[str, list[str]]) -> Filter:
    """What systemd denies by the arguments of a call."""
    deny, refuse = Filter(_ALLOW), _ERRNO | errno.EPERM
    if said.get("MemoryDenyWriteExecute") == ["yes"]:
        both = _PROT_WRITE | _PROT_EXEC
        deny.add(refuse, "mmap", (2, _MASKED_EQUAL, both, both))
        for name in ("mprotect", "pkey_mprotect"):
            deny.add(refuse, name, (2, _MASKED_EQUAL, _PROT_EXEC, _PROT_EXEC))
        deny.add(refuse, "shmat", (2, _MASKED_EQUAL, _SHM_EXEC, _SHM_EXEC))
    families = {getattr(socket, name).value for name in said["RestrictAddressFamilies"][0].split()}
    for family in set(range(50)) - families:
        deny.add(_ERRNO | errno.EAFNOSUPPORT, "socket", (0, _EQUAL, family, 0))
    return deny


def enter(unit: Path) -> None:
    """Confine this process, and what it becomes."""
    said = settings(unit.read_text())
    allow = Filter(_ERRNO | errno.EPERM)
    for name in system_calls(said["SystemCallFilter"]):
        allow.add(_ALLOW, name)
    deny = denied(said)
    os.umask(int(said["UMask"][0], 8))
    files = min(int(said["LimitNOFILE"][0]), resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    assert ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    deny.load()
    allow.load()


if __name__ == "__main__":
    enter(Path(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
