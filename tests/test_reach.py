"""What a client can reach of models of which only retired versions are left."""

from __future__ import annotations

import itertools

import pytest

from etagere.core.clients import Access
from etagere.model import Registry
from etagere.reach import Reaches


@pytest.mark.parametrize("order", list(itertools.permutations(Access)))
def test_of_retired_versions_that_differ_in_it_the_strictest_access_counts(order: tuple[Access, ...]) -> None:
    retired = {f"heat@{number}": access for number, access in enumerate(order)}
    assert Reaches(Registry(), Access.open, retired).access == {"heat": Access.private}
