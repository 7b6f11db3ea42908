"""Models that succeed, fail and misbehave, for the tests of the supervisor."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from etagere import Refused, progress, track
from etagere.model import Registry

app = Registry()
MIB = 1024 * 1024
TABLE: list[int] = []
SHARED: list[bytearray] = []


@app.setup
def load_table() -> None:
    TABLE.extend((1, 2, 3))
    SHARED.append(bytearray(b"x" * (64 * MIB)))


@app.model(version="1")
def double(x: float) -> dict[str, Any]:
    return {"x": x, "double": 2 * x}


@app.model(version="1")
def surroundings() -> dict[str, Any]:
    names = ("RUN_DIR", "RUN_SPEC", "RUN_EVENTS", "ETAGERE_PORT", "OMP_NUM_THREADS", "PYTHONHASHSEED")
    environment = {name: os.environ.get(name) for name in names}
    group, session = os.getpgid(0) == os.getpid(), os.getsid(0) == os.getpid()
    Path("scratch").write_text("mine")
    return {"environment": environment, "cwd": str(Path.cwd()), "leader": group and session, "stdin": sys.stdin.read()}


@app.model(version="1")
def array(n: int) -> dict[str, Any]:
    return {"x": np.arange(n, dtype=float), "strided": np.arange(2 * n)[::2], "mean": np.float32(0.5)}


@app.model(version="1", media_type="text/csv")
def table(rows: int) -> bytes:
    return b"a,b\n" + b"1,2\n" * rows


@app.model(version="1", media_type="text/plain")
def file() -> Path:
    Path("out").mkdir()
    Path("out/report.txt").write_text("written")
    return Path("out/report.txt")


@app.model(version="1", media_type="text/plain")
def symlink() -> Path:
    Path("link").symlink_to("/etc/hostname")
    return Path("link")


@app.model(version="1")
def refusing(x: float) -> None:
    raise Refused(f"{x} is too much")


@app.model(version="1")
def raising() -> None:
    raise ValueError("a secret of the owner")


@app.model(version="1")
def raising_loudly() -> None:
    print("x" * 10_000)
    print("last words \x1b]0;title\x07")
    raise ValueError("\x1b[2Jred")


@app.model(version="1")
def exiting() -> None:
    sys.exit(0)


@app.model(version="1")
def vanishing(status: int) -> None:
    print("last words")
    os._exit(status)


@app.model(version="1")
def segfaulting() -> None:
    sys.stderr.write("about to read nothing\n")
    ctypes.string_at(0)


@app.model(version="1")
def not_finite() -> dict[str, Any]:
    return {"temperature": [1.0, 2.0, 3.0, float("nan")]}


@app.model(version="1")
def setup_data() -> list[int]:
    TABLE.append(4)
    return TABLE


@app.model(version="1")
def leaving_processes(daemon: bool) -> str:
    """Two descendants stay behind; a daemon leaves the session too."""
    hold = "import time; time.sleep(600)"
    if daemon:
        code = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', '{hold}'], stdout=-3).pid)"
        done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True, check=True)
        return done.stdout.decode()
    return str(subprocess.Popen([sys.executable, "-c", hold]).pid)


@app.model(version="1")
def waiting(stubborn: bool) -> None:
    """Runs for ever, with a child of its own; says which processes these are."""
    if stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    progress(0.5, f"{os.getpid()} {helper.pid}")
    while True:
        time.sleep(600)


@app.model(version="1")
def printing(mebibytes: int) -> str:
    progress(0.0, "printing")
    block = b"-" * (MIB - 1) + b"\n"
    for _ in range(mebibytes):
        os.write(1, block)
    print("the end")
    return "printed"


@app.model(version="1")
def hungry(mebibytes: int) -> int:
    """Takes memory of its own, in a grandchild too, and keeps it until it is told otherwise."""
    code = f"import time; x = b'x' * ({mebibytes} << 20); time.sleep(600)"
    subprocess.run([sys.executable, "-c", code], check=True)
    return mebibytes


@app.model(version="1")
def hungry_daemon(mebibytes: int) -> int:
    """The same in a process that has left the session, and whose parent has ended."""
    code = f"import time; x = b'x' * ({mebibytes} << 20); time.sleep(600)"
    leave = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {code!r}], start_new_session=True)"
    subprocess.run([sys.executable, "-c", leave], check=True)
    time.sleep(600)
    return mebibytes


@app.model(version="1")
def bomb(most: int, sessions: bool) -> int:
    """Forks without end, each in a session of its own if so told; `most` spares the machine if nobody else does."""
    forked = mmap.mmap(-1, most)
    progress(0.5, str(os.getpid()))
    while (free := forked.find(b"\0", 0)) >= 0:
        forked[free] = 1
        if os.fork() == 0 and sessions:
            os.setsid()
    while True:
        time.sleep(600)


@app.model(version="1")
def crowd(number: int) -> int:
    """Has so many processes, which ignore SIGTERM, until it is told otherwise."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for _ in range(number):
        if os.fork() == 0:
            while True:
                signal.pause()
    progress(0.5, str(os.getpid()))
    while True:
        signal.pause()


@app.model(version="1")
def killing_its_parent() -> None:
    """Takes the warm process along."""
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)


@app.model(version="1")
def stopping() -> None:
    """Stops itself, as a debugger would."""
    progress(0.5, str(os.getpid()))
    os.kill(os.getpid(), signal.SIGSTOP)


@app.model(version="1")
def writing(chunk: int, sparse: int = 0, links: int = 0, seconds: float = 600.0) -> list[int]:
    """Writes files of so many bytes into its directory until it is told otherwise, or for so long."""
    with open("sparse", "wb") as file:
        file.truncate(sparse)
    Path("linked").write_bytes(b"x" * MIB)
    for n in range(links):
        os.link("linked", f"link{n}")
    ends = time.monotonic() + seconds
    for n in count():
        if time.monotonic() > ends:
            return [n]
        folder = Path(str(n // 1000))
        folder.mkdir(exist_ok=True)
        (folder / str(n)).write_bytes(b"x" * chunk)
    raise AssertionError


@app.model(version="1")
def reading_shared() -> int:
    total = sum(SHARED[0][::4096])
    time.sleep(0.5)
    return total


@app.model(version="1", media_type="application/octet-stream")
def filling(mebibytes: int) -> bytes:
    return bytes(mebibytes * MIB)


@app.model(version="1")
def stepping(steps: int) -> int:
    for _ in track(range(steps), message="stepping"):
        pass
    return steps


@app.model(version="1")
def writing_result_first() -> None:
    """Puts a link where the result belongs."""
    os.symlink("/etc/hostname", "../result")
    os._exit(0)


@app.model(version="1")
def locking_itself_out() -> None:
    Path("closed/inner").mkdir(parents=True)
    Path("closed").chmod(0)
    raise ValueError


@app.model(version="1")
def closing_everything() -> str:
    os.closerange(0, 256)
    progress(0.5, "without descriptors")
    return "done"


@app.model(version="1", fresh=True)
def renewed() -> dict[str, Any]:
    return {"table": TABLE, "main": sys.argv[0].endswith("child.py"), "threads": os.environ["OMP_NUM_THREADS"]}


@app.model(version="1", threads=2)
def threaded() -> str:
    return os.environ["OMP_NUM_THREADS"]


@app.model(version="1")
def process(padding: int) -> list[Any]:
    return [os.getpid(), "x" * padding]


@app.model(version="1", concurrency=1)
def counted_process() -> list[Any]:
    return [os.getpid()]


@app.model(version="1")
def done_too_soon(result: bool) -> list[Any]:
    """Says what only the supervisor's own side should say."""
    if result:
        Path("../result").write_text("[1]")
    Path(os.environ["RUN_EVENTS"]).write_text('{"done": true}\n')
    signal.pause() if result else progress(0.5)
    return [2]


class Text(BaseModel):
    text: str = ""
    number: float = 0.5
    many: list[float] = []
    maybe: float | None = None


PYTHON = sys.executable
EVENTS = "import os, json; say = lambda **e: open(os.environ['RUN_EVENTS'], 'w').write(json.dumps(e) + chr(10)); "
ARGUMENTS = "import sys, json; print(json.dumps(sys.argv[1:]))"

app.command("arguments", [PYTHON, "-c", ARGUMENTS, "{text}", "--n={number}", "{many}", "{maybe}"],
            parameters=Text, version="1", media_type="application/json")  # fmt: skip
app.command("copy", ["cat"], parameters=Text, version="1")
app.command("failing", ["sh", "-c", "echo oops >&2; exit 3"], version="1")
app.command("killed", ["sh", "-c", "kill -KILL $$"], version="1")
app.command("missing", ["no-such-program"], version="1")
app.command("declaring", [PYTHON, "-c", EVENTS + "open('r.csv', 'w').write('1,2'); say(progress=0.25, message='half');"
            "say(result='r.csv', media_type='text/csv')"], version="1")  # fmt: skip
app.command("declaring_bytes", [PYTHON, "-c", EVENTS + "open('r', 'w').close();"
            "say(result='r', media_type='application/octet-stream')"], version="1")  # fmt: skip
TAKEN = "os.remove('../result'); os.mkdir('../result'); "
app.command("blocking", [PYTHON, "-c", EVENTS + TAKEN], version="1")
app.command("blocking_and_naming", [PYTHON, "-c", EVENTS + TAKEN + "open('r', 'w').close(); say(result='r')"],
            version="1")  # fmt: skip
app.command("pouring_late", ["sh", "-c", "sleep 0.7; exec cat /dev/zero"], version="1")
app.command("contradicting", [PYTHON, "-c", EVENTS + "open('r', 'w').close(); say(result='r', media_type='text/csv')"],
            version="1", media_type="image/png")  # fmt: skip
app.command("escaping", [PYTHON, "-c", EVENTS + "say(result='../spec.json')"], version="1")
app.command("declining", [PYTHON, "-c", EVENTS + "say(refused='not today')"], version="1")
app.command("babbling", [PYTHON, "-c", EVENTS + "f = open(os.environ['RUN_EVENTS'], 'wb', 0); f.write(b'x' * 200000);"
            r"f.write(b'\n[]\nnull\n{\"progress\": true}\n{\"progress\": \"1\"}\n{\"refused\": 1}\n\xff\n');"
            "say(result='r', media_type='not a type'); say(progress=7, message=3); print('fine')"],
            version="1")  # fmt: skip
app.command("pouring", ["sh", "-c", "exec cat /dev/zero"], version="1")
