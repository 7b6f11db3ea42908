"""Contracts: what every run table, cache and result queue must do, as tests to subclass.

An adapter's test subclasses a contract and provides its fixtures::

    class TestMyRunTable(RunTableContract):
        @pytest.fixture
        async def table(self, clock): ...
"""

from etagere.testing.cache import CacheContract
from etagere.testing.differences import DifferencesContract
from etagere.testing.holdings import HoldingsContract
from etagere.testing.interest import InterestContract
from etagere.testing.pending import PendingContract
from etagere.testing.prints import PrintsContract
from etagere.testing.result_queue import ResultQueueContract
from etagere.testing.run_table import RunTableContract
from etagere.testing.samples import ManualClock
from etagere.testing.shares import SharesContract
from etagere.testing.stored import StoredContract
from etagere.testing.variants import VariantsContract

__all__ = [
    "CacheContract",
    "DifferencesContract",
    "HoldingsContract",
    "InterestContract",
    "ManualClock",
    "PendingContract",
    "PrintsContract",
    "ResultQueueContract",
    "RunTableContract",
    "SharesContract",
    "StoredContract",
    "VariantsContract",
]
