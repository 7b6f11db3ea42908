"""What is learnt of a model, and what clients are told of its runs."""

from __future__ import annotations

from etagere.core.history import History
from etagere.core.lifecycle import Run, State
from etagere.core.pacing import LATEST, LONGEST, Places
from etagere.pacer import Pacer

SINCE = 1000.0


def run(created: float = SINCE, model: str = "heat@1", state: State = State.running) -> Run:
    return Run("a", model, "default", created, state, 1, started=created if state is State.running else None)


class Service:
    def __init__(self, **histories: History) -> None:
        self.saved: dict[str, tuple[float, ...]] = {}
        self.free = 1
        known = {f"{name}@1": history for name, history in histories.items()}
        self.pacer = Pacer(known, lambda model: Places(2, self.free), self.save, SINCE)

    def save(self, model: str, history: History) -> None:
        self.saved[model] = history.seconds


def test_it_learns_each_model_by_itself() -> None:
    service = Service()
    for _ in range(20):
        service.pacer.learn("heat@1", 50.0)
    assert service.pacer.pace(run(), None, SINCE).eta == 50.0
    assert 50 <= service.pacer.pace(run(), None, SINCE).retry_after <= 53
    assert service.pacer.pace(run(model="heat@2"), None, SINCE) == (1, None)
    # A crash may cost a tenth of what is known.
    assert service.saved.keys() == {"heat@1"}
    assert len(service.saved["heat@1"]) >= 18


def test_what_is_remembered_counts_from_the_start() -> None:
    assert Service(heat=History([50.0] * 20)).pacer.pace(run(), None, SINCE).eta == 50.0


def test_it_follows_a_model_that_has_become_faster() -> None:
    service = Service(heat=History([500.0] * 64))
    for _ in range(70):
        service.pacer.learn("heat@1", 5.0)
    assert service.pacer.pace(run(), None, SINCE).retry_after <= 6


def test_a_queued_run_that_finds_a_place_is_not_said_to_wait() -> None:
    service, waiting = Service(heat=History([50.0] * 20)), run(state=State.queued)
    assert service.pacer.pace(waiting, 1, SINCE).eta == 50.0
    service.free = 0
    assert service.pacer.pace(waiting, 1, SINCE).eta == 75.0


def test_a_queue_takes_what_those_in_it_take() -> None:
    known = {"quick@1": History([0.1] * 20), "slow@1": History([8.0] * 20)}
    mixed = {"quick@1": 300, "slow@1": 1, "unknown@1": 50}
    pacer = Pacer(known, lambda model: Places(1, 0), lambda *_: None, SINCE, lambda queue: mixed)
    behind = pacer.pace(run(model="slow@1", state=State.queued), 301, SINCE)
    assert behind.eta is not None
    assert 38 <= behind.eta <= 58
    assert 18 <= behind.retry_after <= 40
    mixed = {"slow@1": 5, "quick@1": 1}
    behind = pacer.pace(run(model="quick@1", state=State.queued), 6, SINCE)
    assert behind.eta is not None
    assert 36 <= behind.eta <= 48
    assert behind.retry_after >= 18


def test_it_knows_the_longest_wait_that_was_told() -> None:
    service = Service(heat=History([50.0] * 20))
    first = service.pacer.tell(run(), None, SINCE).retry_after
    assert service.pacer.tell(run(), None, SINCE + 40).retry_after < first
    assert service.pacer.told("a") == first
    service.pacer.forget("a")
    service.pacer.pace(run(), None, SINCE)
    assert service.pacer.told("a") == 1


def test_what_an_earlier_service_told_may_have_been_the_most_there_is() -> None:
    pacer = Service(heat=History([50.0])).pacer
    assert pacer.told_at_most(run(SINCE - 1)) == LONGEST
    assert pacer.told_at_most(run(SINCE - 1, "wave@1")) == LATEST
