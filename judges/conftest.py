"""One line for each check: its name, then `ok`, `FAILED`, or `skipped` (the reasons stand at the end)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from judges.proxies import PROXIES, Proxy, between
from judges.rabbitmq import RabbitMQ
from judges.service import Service
from tests.harness import Server


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """The words of a check's line."""
    if report.when == "call" and report.passed:
        return "passed", ".", "ok"
    if report.skipped:
        return "skipped", "s", "skipped"
    return None


@pytest.fixture(scope="session")
def judges_bin() -> Path:
    """Where the judges' executables are."""
    if folder := os.environ.get("JUDGES_BIN"):
        return Path(folder)
    pytest.skip("JUDGES_BIN does not say where the judges are; use scripts/judges")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service for the checks of one file."""
    with Service(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture(scope="module", params=["direct", *PROXIES])
def cache(request: pytest.FixtureRequest) -> type[Proxy] | None:
    """None, then each kind of cache."""
    kind = PROXIES.get(request.param)
    if kind is not None and kind.found() is None:
        pytest.skip(f"{kind.program} is not installed")
    return kind


@pytest.fixture(scope="module")
def way(service: Service, cache: type[Proxy] | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The service itself, then each cache in front of it."""
    with between(service, cache, tmp_path_factory.mktemp("cache")) as way:
        yield way


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """RabbitMQ, where it is installed."""
    if RabbitMQ.found() is None:
        pytest.skip("rabbitmq-server is not installed")
    broker = RabbitMQ(tmp_path_factory.mktemp("rabbitmq")).start()
    yield broker
    broker.stop()
