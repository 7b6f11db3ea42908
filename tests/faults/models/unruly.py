"""Models that misbehave in every way that a process can, beside one that does not."""

from __future__ import annotations

import itertools
import math
import mmap
import os
import signal
import subprocess
import sys
import time

import etagere

app = etagere.Etagere()
MIB = 1024 * 1024
EXECUTIONS = os.environ.get("EXECUTIONS", os.devnull)


def begin(name: str) -> None:
    with open(EXECUTIONS, "a") as file:
        file.write(f"{name} {os.getpid()}\n")


@app.model(version="1")
def quiet(x: int) -> int:
    begin("quiet")
    return x * x


@app.model(version="1")
def refuses(x: int) -> int:
    begin("refuses")
    raise etagere.Refused(f"{x} is too much")


@app.model(version="1")
def raises(x: int) -> int:
    begin("raises")
    raise ValueError(f"the secret stands in {__file__}")


@app.model(version="1")
def exits(x: int) -> int:
    begin("exits")
    sys.exit(x)


@app.model(version="1")
def exits_at_once(x: int) -> int:
    begin("exits_at_once")
    os._exit(x)


@app.model(version="1")
def segfaults(x: int) -> int:
    begin("segfaults")
    os.kill(os.getpid(), signal.SIGSEGV)
    return x


@app.model(version="1")
def kills_its_group(x: int) -> int:
    begin("kills_its_group")
    os.killpg(0, signal.SIGKILL)
    return x


@app.model(version="1")
def forks(x: int, detached: bool = False) -> int:
    """Answers, and leaves a process that would go on for an hour."""
    begin("forks")
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=detached)
    return x


@app.model(version="1", time_limit=0.4)
def ignores_sigterm(x: int) -> int:
    begin("ignores_sigterm")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(60)


@app.model(version="1", time_limit=0.2, failure_ttl=5.0)
def too_slow(x: int) -> int:
    begin("too_slow")
    time.sleep(60)
    return x


@app.model(version="1", time_limit=0.4)
def stops_itself(x: int) -> int:
    begin("stops_itself")
    os.kill(os.getpid(), signal.SIGSTOP)
    return x


@app.model(version="1", failure_ttl=5.0)
def dies(x: int) -> int:
    begin("dies")
    print("the secret is", x)
    os._exit(1)


@app.model(version="1")
def multiplies(x: int, sessions: bool = False) -> int:
    """A fork bomb, of a thousand processes if nobody ends it before."""
    begin("multiplies")
    forked = mmap.mmap(-1, 1000)
    while (free := forked.find(b"\0")) >= 0:
        forked[free] = 1
        if os.fork() == 0 and sessions:
            os.setsid()
    while True:
        time.sleep(60)


@app.model(version="1", memory_limit=100 * MIB)
def hides_what_it_swallows(x: int) -> int:
    """In a process that has left the session, and whose parent has ended."""
    begin("hides_what_it_swallows")
    code = "import time; x = b'x' * (200 << 20); time.sleep(3600)"
    leave = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {code!r}], start_new_session=True)"
    subprocess.run([sys.executable, "-c", leave], check=True)
    time.sleep(60)
    return x


@app.model(version="1")
def fills_the_disk(x: int, size: int) -> int:
    begin("fills_the_disk")
    for n in itertools.count():
        with open(str(n), "wb") as file:
            file.write(b"x" * size)
    return x


@app.model(version="1", time_limit=10)
def prints_for_ever(x: int) -> int:
    begin("prints_for_ever")
    while True:
        os.write(1, b"x" * 65535 + b"\n")


@app.model(version="1")
def prints(mib: int) -> int:
    begin("prints")
    text = "x" * 1023 + "\n"
    for _ in range(mib):
        sys.stdout.write(text * 1024)
    return mib


@app.model(version="1", memory_limit=100 * MIB)
def swallows(mib: int) -> int:
    begin("swallows")
    taken = []
    for _ in range(mib):
        taken.append(b"x" * MIB)
        time.sleep(0.001)
    time.sleep(5)
    return len(taken)


@app.model(version="1")
def is_not_finite(x: int) -> dict[str, object]:
    begin("is_not_finite")
    return {"good": 1.0, "bad": [1.0, math.nan]}


@app.model(version="1")
def is_no_json(x: int) -> object:
    begin("is_no_json")
    return object()


@app.model(version="1")
def closes_everything(x: int) -> int:
    begin("closes_everything")
    os.closerange(0, 1000)
    return x


@app.model(version="1")
def removes_its_directory(x: int) -> int:
    begin("removes_its_directory")
    os.rmdir(os.environ["RUN_DIR"])
    return x
