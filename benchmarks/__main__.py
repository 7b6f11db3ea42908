"""All benchmarks, one table."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from pathlib import Path

from benchmarks import clients, cluster, hidden, large, limits, load, memory, pacing, pings, runs, starting, waiting


def main() -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks/run", description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 where a target is missed")
    check = parser.parse_args().check
    load.demand_wrk()
    print(f"{_machine()}\n\n| what | figure | target | met |\n|---|---|---|---|", flush=True)
    missed = False
    for part in (pings, runs, memory, limits, waiting, starting, clients, hidden, large, pacing, cluster):
        for figure in part.measure():
            print(f"| {figure.what} | {figure.found} | {figure.target} | {'yes' if figure.met else 'NO'} |", flush=True)
            missed |= not figure.met
    return int(check and missed)


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    python = f"{platform.python_implementation()} {platform.python_version()}"
    load_average = "/".join(f"{one:.1f}" for one in os.getloadavg())
    return f"{os.cpu_count()} × {model}, Linux {platform.release()}, {python}, load before: {load_average}."


if __name__ == "__main__":
    sys.exit(main())
