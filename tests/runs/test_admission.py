"""Shares and quotas of many clients."""

from __future__ import annotations

import pytest

from etagere.core.quota import Quota
from etagere.errors import QuotaExhausted
from etagere.runs.admission import Admission

NOW = 1_700_000_000.0


def test_those_who_have_their_quota_back_are_forgotten() -> None:
    admission = Admission(10, Quota(2, 60.0))
    for number in range(10_000):
        admission.charge(f"c{number}", NOW + number)
    assert len(admission._whole) < 2000
    admission.charge("c9999", NOW + 9999)
    with pytest.raises(QuotaExhausted) as refused:
        admission.charge("c9999", NOW + 9999)
    assert refused.value.retry_after == 30


def test_a_client_without_a_name_has_neither_share_nor_quota() -> None:
    admission = Admission(2, Quota(1, 60.0))
    for _ in range(5):
        assert admission.charge("", NOW) is None
        admission.enter("", 1)
        assert admission.exhausted("") is None
    assert admission.full(1) is not None


def test_without_a_quota_nothing_is_recorded() -> None:
    admission = Admission(2, None)
    assert admission.charge("a", NOW) is None
    admission.refund("a")
