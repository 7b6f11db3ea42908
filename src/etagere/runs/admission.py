"""How many runs may be pending, in all and of one client, and how many new ones a client may start."""

from __future__ import annotations

import math
from collections import Counter

from etagere.core.quota import Quota
from etagere.errors import OverCapacity, QuotaExhausted, ShareExhausted

RETRY_AFTER_S = 5
LARGEST_BACKLOG = 256 * 1024 * 1024
"""So many bytes of canonical URIs may be pending: a QUERY may bring megabytes."""
_SPARE = 1024


class Admission:
    """Counts the pending runs, those being recorded too; a client without a name has neither share nor quota."""

    def __init__(self, max_pending: int, quota: Quota | None) -> None:
        self._max_pending = max_pending
        self._share = share_of(max_pending)
        self._quota = quota
        self._runs = 0
        self._size = 0
        self._started: Counter[str] = Counter()
        self._whole: dict[str, float] = {}
        self._tidied = 0

    def enter(self, client: str, size: int) -> None:
        """A run that this client has started is pending; `size` is the bytes of its URI."""
        self._runs += 1
        self._size += size
        self._started[client] += 1

    def leave(self, client: str, size: int) -> None:
        """It is not any more."""
        self._runs -= 1
        self._size -= size
        self._started[client] -= 1
        if not self._started[client]:
            del self._started[client]

    def full(self, size: int) -> OverCapacity | None:
        """Why no run with a URI of this size can be pending besides."""
        if self._runs < self._max_pending and (not self._runs or self._size + size <= LARGEST_BACKLOG):
            return None
        return over_capacity(self._runs)

    def exhausted(self, client: str) -> ShareExhausted | None:
        """Why this client can have no more runs pending."""
        if not client or self._started[client] < self._share:
            return None
        return share_exhausted(self._share)

    def charge(self, client: str, now: float) -> float | None:
        """Count a new run of this client; returned is what is to be recorded of its quota, if it has one.

        Raises:
            QuotaExhausted: it has started as many as it may for now.
        """
        if not client or self._quota is None:
            return None
        before = self._whole.get(client, now)
        whole = self._quota.charge(before, now)
        if whole is None:
            raise quota_exhausted(self._quota, self._quota.wait(before, now))
        self._whole[client] = whole
        self._tidy(now)
        return whole

    def refund(self, client: str) -> None:
        """The last run of this client was not recorded."""
        if self._quota is not None and client in self._whole:
            self._whole[client] = self._quota.refund(self._whole[client])

    def load(self, client: str, whole: float) -> None:
        """What was recorded of a client's quota."""
        self._whole[client] = whole

    def _tidy(self, now: float) -> None:
        """Forget those who have their whole quota, whenever there are twice as many as were left the last time."""
        if len(self._whole) > _SPARE + 2 * self._tidied:
            self._whole = {client: whole for client, whole in self._whole.items() if whole > now}
            self._tidied = len(self._whole)


def share_of(max_pending: int) -> int:
    """How many of the runs that may be pending one client may have started."""
    return max(1, math.ceil(max_pending / 2))


def over_capacity(runs: int) -> OverCapacity:
    """What to say where so many runs are pending, and no more may be."""
    return OverCapacity(f"{runs} runs are pending.", retry_after=RETRY_AFTER_S)


def share_exhausted(share: int) -> ShareExhausted:
    """What to say to a client that has started so many pending runs."""
    return ShareExhausted(f"{share} runs are pending that this client has started.", retry_after=RETRY_AFTER_S)


def quota_exhausted(quota: Quota, wait: int) -> QuotaExhausted:
    """What to say to a client that has to wait for so many seconds.

    With the fields of draft-ietf-httpapi-ratelimit-headers.
    """
    fields = {
        "ratelimit-policy": f'"runs";q={quota.runs};w={quota.seconds:.0f}',
        "ratelimit": f'"runs";r=0;t={wait}',
    }
    said = f"It is {quota.runs} new runs in {quota.seconds:.0f} s."
    return QuotaExhausted(said, retry_after=wait, headers=fields)
