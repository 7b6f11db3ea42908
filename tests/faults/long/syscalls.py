"""System calls of the whole service fail or are slow, by `strace`: it says 503, and heals by itself."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path
from random import Random

import pytest
from tests.faults.checker import Allowed, broken_promises
from tests.faults.conversation import Client, Seen
from tests.faults.figures import tell
from tests.faults.leftovers import is_sound, left_behind
from tests.faults.service import MODELS, Service, eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(1800)]

# Of each kind; fifty take an hour in all.
CALLS = int(os.environ.get("FAULTS_SYSCALLS", "6"))
KINDS = ("fdatasync,fsync", "pwrite64", "rename,renameat,renameat2", "linkat,link")
ERRORS = ("EIO", "ENOSPC")
HEALED_SECONDS = 15.0
SLOW_PING_SECONDS = 0.2


@pytest.fixture(scope="module")
def strace() -> str:
    found = shutil.which("strace")
    if found is None:
        pytest.skip("strace is not installed (in Debian: apt-get install strace)")
    tried = subprocess.run([found, "-qq", "-e", "inject=getcwd:error=EIO", "true"], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip(f"strace may not trace here: {tried.stderr.decode().strip()}")
    return found


class Injected:
    """A strace that follows one running service and hurts its system calls until it is closed."""

    def __init__(self, strace: str, service: Service, fault: str, log: Path) -> None:
        threads = [argument for thread in os.listdir(f"/proc/{service.pid}/task") for argument in ("-p", thread)]
        names = fault.partition(":")[0]
        command = [strace, "-f", "-qq", "-o", str(log), "-e", f"trace={names}", "-e", f"inject={fault}", *threads]
        self._log = log
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        eventually(lambda: _traced(service.pid), 10, "strace follows the service")

    def close(self) -> int:
        """Let the service go on unhurt; how many calls were hurt."""
        self._process.terminate()
        self._process.wait(10)
        return self._log.read_text().count("INJECTED") + self._log.read_text().count("DELAYED")


def _traced(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    return "TracerPid:\t0\n" not in status


def target_of(key: int, answers: dict[str, str]) -> str:
    size = 1_200_000 if key % 3 == 0 else 5000
    target = f"/known?key={key}&ms=1&size={size}"
    answers[target] = hashlib.sha256(hashlib.shake_256(b"%d" % key).digest(size)).hexdigest()
    return target


async def one_more(service: Service, history: list[Seen], answers: dict[str, str]) -> Seen:
    return await Client(service.port, history).ask(target_of(len(answers), answers))


@pytest.mark.parametrize("when", ["{n}", "{n}+"], ids=["once", "from then on"])
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_system_call_fails(strace: str, tmp_path: Path, kind: str, error: str, when: str) -> None:
    history: list[Seen] = []
    answers: dict[str, str] = {}
    env = {"EXECUTIONS": str(tmp_path / "executions")}
    hurt = 0
    with Service(MODELS / "known.py", tmp_path / "data", "--runs", "2", env=env) as service:
        client, random = Client(service.port, history), Random(0)
        for n in range(1, CALLS + 1):
            fault = f"{kind}:error={error}:when={when.format(n=n)}"
            injected = Injected(strace, service, fault, tmp_path / "strace.log")
            try:
                for _ in range(6):
                    await one_more(service, history, answers)
                    await asyncio.sleep(0.05)
            finally:
                hurt += injected.close()
            healing = time.monotonic()
            while (await one_more(service, history, answers)).status == 503:
                assert time.monotonic() - healing < HEALED_SECONDS, "it heals by itself"
                await asyncio.sleep(0.1)
            await asyncio.gather(*(client.converse(target, random, 60) for target in answers))
        # The end of a run that could not be journalled is found out at the next start.
        service.kill()
        service.start()
        for target in answers:
            await client.converse(target, random, 60)
        eventually(lambda: not left_behind(service.data), 20, f"all is tidy: {left_behind(service.data)}")
    assert hurt > 0
    assert is_sound(tmp_path / "data")
    faults = broken_promises(history, answers, Allowed(busy=True))
    assert not faults, (faults[:20], service.log[-3000:])
    busy = sum(seen.status == 503 for seen in history)
    tell(
        "system calls", f"{error} at {kind} {when.format(n='n')}: {hurt} failed, {busy} answers were 503, nothing lost"
    )


async def test_slow_storage_does_not_slow_pings(strace: str, tmp_path: Path) -> None:
    history: list[Seen] = []
    answers: dict[str, str] = {}
    env = {"EXECUTIONS": str(tmp_path / "executions")}
    with Service(MODELS / "known.py", tmp_path / "data", "--runs", "1", env=env) as service:
        target = "/known?key=77&ms=30000&size=10"
        tag = (await Client(service.port, []).ask(target)).tag
        injected = Injected(strace, service, "fdatasync,fsync:delay_enter=200ms", tmp_path / "strace.log")
        asking = [asyncio.create_task(one_more(service, history, answers)) for _ in range(40)]
        pings: list[Seen] = []
        while not all(task.done() for task in asking) or len(pings) < 200:
            await Client(service.port, pings).ask(target, tag)
            await asyncio.sleep(0.005)
        assert injected.close() > 0
    assert {task.result().status for task in asking} == {202}
    took = sorted(seen.ended - seen.began for seen in pings)
    p99 = took[int(len(took) * 0.99)]
    tell("slow storage", f"each sync 200 ms longer: ping p99 {p99 * 1000:.1f} ms")
    assert {seen.status for seen in pings} == {304}
    assert p99 <= SLOW_PING_SECONDS
