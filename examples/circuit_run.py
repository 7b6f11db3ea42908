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

TEMPLATE = Path(__file__).with_name("lowpass.cir")
NUMBERS = ("resistance", "inductance", "capacitance", "start", "stop", "points")


def number(value: object) -> str:
    """A number as ngspice reads it; nothing else gets into a netlist.

    Raises:
        SystemExit: it is no finite number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        sys.exit(f"not a number: {value!r}")
    return repr(value)


def refuse(reason: str) -> None:
    """Tell the service that the model will not compute these parameters (422), and end."""
    with Path(os.environ["RUN_EVENTS"]).open("a") as events:
        events.write(json.dumps({"refused": reason}) + "\n")
    sys.exit(0)


def simulate(netlist: str) -> str:
    """Run ngspice in the working directory; the response as it writes it: columns Hz, dB, degrees.

    Raises:
        SystemExit: ngspice is not installed, or did not simulate the circuit.
    """
    program = shutil.which("ngspice")
    if program is None:
        sys.exit("ngspice is not installed on the server (in Debian and Ubuntu: package ngspice)")
    circuit, response = Path("circuit.cir"), Path("response.txt")
    circuit.write_text(netlist, encoding="ascii")
    # -n: no .spiceinit of the user's, which could change the result.
    done = subprocess.run([program, "-n", "-b", circuit.name], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0 or not response.exists():
        sys.exit(f"ngspice could not simulate the circuit:\n{done.stdout}{done.stderr}")
    return response.read_text(encoding="ascii")


def main() -> None:
    """From the parameters to the response."""
    parameters = json.load(sys.stdin)
    numbers = {name: number(parameters[name]) for name in NUMBERS}
    if parameters["stop"] <= parameters["start"]:
        refuse("stop must be above start")
    response = simulate(Template(TEMPLATE.read_text(encoding="ascii")).substitute(numbers))
    print("frequency_hz,gain_db,phase_deg")
    for line in response.splitlines():
        print(",".join(repr(float(field)) for field in line.split()))


if __name__ == "__main__":
    main()
