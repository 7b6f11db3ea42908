"""The servers that are measured, each a process of its own: `etagere serve` with default settings."""

from __future__ import annotations

import json
import os
import re
import resource
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.client import Answer, Server

HERE = Path(__file__).parent
START_SECONDS = 60.0
STOP_SECONDS = 30.0


@contextmanager
def service(**environment: str) -> Iterator[Server]:
    """The service with the models of the benchmarks and an empty data directory."""
    with served("models.py", environment) as server:
        yield server


@contextmanager
def told(**environment: str) -> Iterator[Server]:
    """The service with runs that end when it is told to, and an empty data directory."""
    with served("outcomes.py", environment) as server:
        yield server


@contextmanager
def sleeping(answer: Answer, seconds: float) -> Iterator[Server]:
    """The bare application, which sleeps first."""
    with bare(answer, BENCHMARK_SLEEP=str(seconds)) as server:
        yield server


@contextmanager
def bare(answer: Answer, **environment: str) -> Iterator[Server]:
    """The bare application, which sends what the service once sent."""
    # Date and Server are the server's own.
    fields = [field for field in answer.fields if field[0] not in ("date", "server")]
    record = {"status": answer.status, "fields": fields, "content": answer.content.decode("latin-1")}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(record, file)
        file.flush()
        with served("bare.py", {"BENCHMARK_ANSWER": file.name, **environment}) as server:
            yield server


@contextmanager
def bare_file(path: Path) -> Iterator[Server]:
    """The bare application that has its server send a file."""
    with served("bare_file.py", {"BENCHMARK_FILE": str(path)}) as server:
        yield server


@contextmanager
def served(target: str, environment: dict[str, str]) -> Iterator[Server]:
    _allow_connections()
    with tempfile.TemporaryDirectory(prefix="etagere-benchmark-") as folder:
        log = Path(folder, "log")
        command = [sys.executable, "-m", "etagere", "serve", str(HERE / target)]
        with (
            log.open("wb") as errors,
            subprocess.Popen(
                [*command, "--port", "0", "--data", f"{folder}/data"],
                stdout=subprocess.PIPE,
                stderr=errors,
                env=os.environ | environment,
            ) as process,
        ):
            try:
                yield _ready(process, log)
            finally:
                _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _ready(process: subprocess.Popen[bytes], log: Path) -> Server:
    assert process.stdout is not None
    told, _, _ = select.select([process.stdout], [], [], START_SECONDS)
    line = process.stdout.readline().decode() if told else ""
    found = re.search(r"http://([0-9.]+):([0-9]+)", line)
    if found is None:
        raise SystemExit(f"benchmarks: the server did not start:\n{log.read_text()}")
    return Server(found[1], int(found[2]), process.pid)


def _allow_connections() -> None:
    """Servers inherit the limit; a thousand connections need more than the usual 1,024 files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 8192:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))
