from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

TESTS = Path(__file__).parent
# What their processes run is measured by the tests of those parts. Measured, a start takes twice the processor, and the
# loops of an example or of a conversion ten times.
UNMEASURED = {"cluster/test_faults.py", "deploy", "docs", "examples", "faults", "scripts", "servers"}

# How fast the machine is at the moment is not what laws are about.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True, scope="module")
def measured_or_not(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keeps coverage out of the processes that the tests of some parts start."""
    measuring = "COVERAGE_PROCESS_CONFIG"
    with pytest.MonkeyPatch.context() as environment:
        place = request.path.relative_to(TESTS)
        if not UNMEASURED.isdisjoint((place.parts[0], str(place))):
            environment.delenv(measuring, raising=False)
        yield
