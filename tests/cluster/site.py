"""A Celery application that there is already: it has a task of its own, and hosts the runs of a cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.processes import LEASE_S, Cluster

CODE = """
from celery import Celery
from etagere.engines.celery import install
from models import app as models

app = Celery("site", broker={broker!r})


@app.task
def its_own(name):
    models.models["nap@1"].function(name=name)


install(app, models, store={store!r}, lease={lease}, runs=2{more})
"""
SEND = "from site_tasks import its_own; its_own.delay('own')"


class Site:
    """A worker of the application; `log` is what it prints."""

    def __init__(self, parts: Cluster, worker: subprocess.Popen[bytes], log: Path) -> None:
        self._parts = parts
        self.worker = worker
        self.log = log

    def send_own(self) -> None:
        """Ask for its own task, which comes to be known as `own`."""
        environment = {**os.environ, **self._parts.settings}
        command = [sys.executable, "-c", SEND]
        subprocess.run(command, cwd=self._parts.directory, env=environment, check=True, timeout=30)

    def stop(self) -> int:
        """SIGTERM, and its exit status."""
        self.worker.terminate()
        return self.worker.wait(30)


@contextmanager
def site(parts: Cluster, broker: str, pool: str = "threads", more: str = "") -> Iterator[Site]:
    """A worker at work, in a cluster that has the same models from then on; `more` are other settings."""
    directory = parts.directory
    code = CODE.format(broker=broker, store=parts.store.url, lease=LEASE_S, more=more)
    Path(directory, "site_tasks.py").write_text(code)
    Path(directory, "models.py").write_text(parts.target.read_text())
    parts.target = directory / "models.py"
    command = [sys.executable, "-m", "celery", "-A", "site_tasks", "worker", "-Q", "celery,etagere.default"]
    options = ["--pool", pool, "--concurrency", "2", "--without-gossip", "--without-mingle", "--loglevel", "INFO"]
    environment = {**os.environ, **parts.settings, "STARTS": str(parts.starts)}
    log = directory / "celery.log"
    with log.open("wb") as file:
        worker = subprocess.Popen([*command, *options], cwd=directory, env=environment, stdout=file, stderr=file)
        try:
            yield Site(parts, worker, log)
        finally:
            worker.kill()
            worker.wait()
