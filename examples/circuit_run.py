"""Write the parameters on standard input (JSON) into the netlist, run ngspice, print its response as CSV."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from string import Template
from typing import NoReturn

TEMPLATE = Path(__file__).with_name("lowpass.cir")
NUMBERS = ("resistance", "inductance", "capacitance", "start", "stop", "points")


def end(event: str, reason: str) -> NoReturn:
    """Tell the service that the model `refused` these parameters (422) or `failed` (500), and why."""
    with Path(os.environ["RUN_EVENTS"]).open("a", encoding="utf-8") as events:
        events.write(json.dumps({event: reason}) + "\n")
    sys.exit(0 if event == "refused" else 1)


def number(value: object) -> str:
    """A finite number as ngspice reads it; nothing else gets into a netlist."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        end("failed", "a parameter is not a number")
    return repr(value)


def simulate(netlist: str) -> str:
    """Run ngspice in the working directory; the response as it writes it: columns Hz, dB, degrees."""
    program = shutil.which("ngspice")
    if program is None:
        end("failed", "ngspice is not installed on the server (in Debian and Ubuntu: package ngspice)")
    circuit, response = Path("circuit.cir"), Path("response.txt")
    circuit.write_text(netlist, encoding="ascii")
    # -n: no .spiceinit of the user's, which could change the result.
    command = [program, "-n", "-b", circuit.name]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0 or not response.exists():
        sys.stderr.buffer.write(done.stdout)
        end("failed", "ngspice could not simulate the circuit")
    return response.read_text(encoding="ascii")


def main() -> None:
    """From the parameters to the response."""
    parameters = json.load(sys.stdin)
    numbers = {name: number(parameters[name]) for name in NUMBERS}
    if parameters["stop"] <= parameters["start"]:
        end("refused", "stop must be above start")
    response = simulate(Template(TEMPLATE.read_text(encoding="ascii")).substitute(numbers))
    print("frequency_hz,gain_db,phase_deg")
    for line in response.splitlines():
        print(",".join(repr(float(field)) for field in line.split()))


if __name__ == "__main__":
    main()
