from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
# What their processes run is measured by the tests of those parts. Measured, a start takes twice the processor, and the
# loops of an example or of a conversion ten times.
UNMEASURED = {"docs", "examples", "faults", "scripts", "servers"}
# The fixtures of modules that start something.
SHARED = {
    "attacked", "granian", "hostile", "made", "place", "reported", "served", "server", "service", "shared", "uncut",
    "uvicorn",
}  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One worker for the tests that share a service, a supervisor or an environment, so that it is started once."""
    for item in items:
        if shared := sorted(SHARED & set(getattr(item, "fixturenames", ()))):
            parameters = getattr(item, "callspec", None)
            kinds = [str(parameters.params[name]) for name in shared if parameters and name in parameters.params]
            item.add_marker(pytest.mark.xdist_group("-".join([str(item.path.relative_to(TESTS)), *kinds])))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True, scope="module")
def measured_or_not(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keeps coverage out of the processes that the tests of some parts start."""
    measuring = "COVERAGE_PROCESS_CONFIG"
    with pytest.MonkeyPatch.context() as environment:
        if request.path.relative_to(TESTS).parts[0] in UNMEASURED:
            environment.delenv(measuring, raising=False)
        yield
