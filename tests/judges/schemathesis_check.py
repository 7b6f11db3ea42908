"""Has schemathesis hold a running service against its own OpenAPI document; ends with its exit code.

`JUDGES_BIN` is the directory with the executable, unless that is on the path. Arguments go to schemathesis.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import deque
from pathlib import Path
from threading import Thread

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

from tests.harness import Server  # noqa: E402

MODELS = ROOT / "tests" / "models" / "described.py"
SECONDS_OF_FUZZING = 90
SECONDS_IN_ALL = 170


def main() -> int:
    executable = Path(os.environ.get("JUDGES_BIN", "")) / "schemathesis"
    with tempfile.TemporaryDirectory() as folder, Server.serve(MODELS, Path(folder) / "data") as server:
        assert server.process is not None
        # A log that nobody reads would stop the service once the pipe is full.
        Thread(target=deque, args=(server.process.stdout, 20), daemon=True).start()
        command = [
            str(executable) if os.environ.get("JUDGES_BIN") else executable.name,
            "--no-color",
            "--config-file",
            str(HERE / "schemathesis.toml"),
            "run",
            f"{server.url}/-/openapi.json",
            "--checks=all",
            "--seed=1",
            "--max-examples=10",
            f"--max-time={SECONDS_OF_FUZZING}",
            "--continue-on-failure",
            # What is wrong for the judge, such as null, may be an empty value once it is written into a URI, and that
            # means that the parameter is left out.
            "--exclude-path-regex=^/optional",
            *sys.argv[1:],
        ]
        # Its crash files and its database of examples are left behind where it is run.
        return subprocess.run(command, cwd=folder, timeout=SECONDS_IN_ALL, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
