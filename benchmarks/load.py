"""Load by wrk, and ratios of two measurements that take turns."""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.client import Server

# Each connection goes on where the last one was: (target, tag) pairs, one after the other, for ever.
ROTATE = """
local requests = {}
for line in io.lines("%s") do
  local target, tag = line:match("^(%%S+) (.+)$")
  requests[#requests + 1] = wrk.format("GET", target, {["If-None-Match"] = tag, ["Host"] = "%s"})
end
local n = 0
function request()
  n = n %% #requests + 1
  return requests[n]
end
"""


def demand_wrk() -> None:
    """Raises SystemExit where wrk is missing."""
    if shutil.which("wrk") is None:
        raise SystemExit("benchmarks: wrk is missing (Debian and Ubuntu: apt install wrk)")


def rate(
    server: Server, target: str, tag: str = "", *, connections: int = 32, seconds: int = 1, key: str = ""
) -> float:
    """Requests per second of one target, from one thread, with a `key` if there is one."""
    fields = [f"If-None-Match: {tag}"] if tag else []
    fields += [f"Authorization: Bearer {key}"] if key else []
    return _wrk(server, target, [option for field in fields for option in ("-H", field)], connections, seconds)


def rotating_rate(server: Server, pings: Sequence[tuple[str, str]], *, seconds: int = 1) -> float:
    """Requests per second of many targets, each with its tag, in turn."""
    with tempfile.TemporaryDirectory() as folder:
        lines, script = Path(folder, "pings"), Path(folder, "rotate.lua")
        lines.write_text("".join(f"{target} {tag}\n" for target, tag in pings))
        script.write_text(ROTATE % (lines, f"{server.host}:{server.port}"))
        return _wrk(server, "/", ["-s", str(script)], 32, seconds)


def in_turn(rounds: int, first: Callable[[], float], second: Callable[[], float]) -> tuple[float, float]:
    """The median ratio of the first to the second, which take turns, and the median of the first."""
    pairs = [(first(), second()) for _ in range(rounds)]
    return statistics.median(a / b for a, b in pairs), statistics.median(a for a, _ in pairs)


def _wrk(server: Server, target: str, options: Sequence[str], connections: int, seconds: int) -> float:
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        *options,
        f"http://{server.host}:{server.port}{target}",
    ]
    report = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"Requests/sec:\s+([0-9.]+)", report)
    if found is None or "Non-2xx" in report or "Socket errors" in report:
        raise SystemExit(f"benchmarks: wrk was not answered as expected:\n{report}")
    return float(found[1])
