"""What a run may use while it lasts, and how that is looked at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, islice

from etagere.core.representation import Kind
from etagere.supervisor.directory import RunDirectory
from etagere.supervisor.linux import below, private_memory
from etagere.supervisor.usage import Usage


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit: the option or setting that gives its `value`, and what going beyond it means.

    With `grace` a run beyond it is asked to end before it is killed; what grows meanwhile is not.
    """

    name: str
    value: float
    unit: str
    detail: str
    kind: Kind = Kind.failed
    grace: bool = False

    @property
    def facts(self) -> dict[str, object]:
        """What a problem document says of it."""
        return {"limit": {"name": self.name, "value": self.value, "unit": self.unit}}


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a run by the names of their options and settings: seconds, bytes and processes."""

    time_limit: float
    memory_limit: int | None
    max_result: int
    max_run_dir: int
    max_processes: int

    @property
    def time(self) -> Limit:
        """That of its time."""
        detail = f"it took more than {self.time_limit:g} s"
        return Limit("time_limit", self.time_limit, "s", detail, Kind.timeout, grace=True)

    @property
    def memory(self) -> Limit:
        """That of the memory of all its processes; for runs that have one."""
        value = self.memory_limit or 0
        return Limit("memory_limit", value, "bytes", f"it used more than {value} bytes of memory", Kind.memory)

    @property
    def result(self) -> Limit:
        """That of its result."""
        return Limit("max_result", self.max_result, "bytes", f"the result has more than {self.max_result} bytes")

    @property
    def run_dir(self) -> Limit:
        """That of everything in its directory."""
        detail = f"its directory takes more than {self.max_run_dir} bytes (max_run_dir)"
        return Limit("max_run_dir", self.max_run_dir, "bytes", detail)

    @property
    def processes(self) -> Limit:
        """That of the processes that it has at once."""
        detail = f"it has more than {self.max_processes} processes at once (max_processes)"
        return Limit("max_processes", self.max_processes, "processes", detail)


class Watch:
    """Looks at what one run uses."""

    def __init__(self, limits: Limits, directory: RunDirectory) -> None:
        self._limits = limits
        self._directory = directory
        self._usage = Usage(directory.path)

    def crossed(self, leader: int) -> Limit | None:
        """The limit that the run of this process is beyond, or None; blocks for some milliseconds."""
        return next(self._crossed(leader), None)

    def _crossed(self, leader: int) -> Iterator[Limit]:
        limits = self._limits
        if self._directory.size() > limits.max_result:
            yield limits.result
        if self._usage.count() > limits.max_run_dir:
            yield limits.run_dir
        family = [leader, *islice(below(leader), limits.max_processes)]
        if len(family) > limits.max_processes:
            yield limits.processes
        limit = limits.memory_limit
        # Added up no further than it takes to know.
        if limit is not None and any(total > limit for total in accumulate(map(private_memory, family))):
            yield limits.memory
