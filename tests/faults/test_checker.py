"""The checker finds every kind of broken promise; else its silence would say nothing."""

from __future__ import annotations

import pytest
from tests.faults.checker import NOTHING, REFUSED, Allowed, broken_promises, repeated
from tests.faults.conversation import HANGS, NO_ANSWER, Seen

PENDING, READY, OTHER = 'W/"id"', '"id.digest.bin"', '"id.other.bin"'
RIGHT = "right"


def story(*steps: tuple[str, int, str, str], right: str = RIGHT, allowed: Allowed = NOTHING) -> list[str]:
    """What is wrong with requests one after the other: tag sent, status, tag, digest of the body."""
    history = [
        Seen("/known", sent, 2.0 * n, 2.0 * n + 1, status, tag, digest, "1" if tag.startswith("W/") else "")
        for n, (sent, status, tag, digest) in enumerate(steps)
    ]
    return broken_promises(history, {"/known": right}, allowed)


ACCEPTED = ("", 202, PENDING, "")
PINGED = (PENDING, 304, PENDING, "")
DELIVERED = (PENDING, 200, READY, RIGHT)
BROKEN = (PENDING, NO_ANSWER, "", "")
NO_ROOM = ("", 503, "", "")


@pytest.mark.parametrize(
    "steps",
    [
        [ACCEPTED, PINGED, DELIVERED],
        [DELIVERED, (READY, 304, READY, ""), ("", 200, READY, RIGHT)],
        [ACCEPTED, BROKEN, ACCEPTED, PINGED, BROKEN, DELIVERED, BROKEN],
    ],
)
def test_a_proper_conversation_is_none(steps: list[tuple[str, int, str, str]]) -> None:
    assert not story(*steps)


@pytest.mark.parametrize(
    ("said", "steps"),
    [
        ("wrong bytes", [(PENDING, 200, READY, "wrong")]),
        ("forgotten", [ACCEPTED, (PENDING, 202, PENDING, ""), DELIVERED]),
        ("not any more", [DELIVERED, ACCEPTED, DELIVERED]),
        ("not any more", [DELIVERED, PINGED, DELIVERED]),
        ("several tags", [DELIVERED, ("", 200, OTHER, RIGHT)]),
        ("several tags", [ACCEPTED, ("", 202, 'W/"other"', ""), DELIVERED]),
        ("never finished", [ACCEPTED, PINGED]),
        ("another tag", [ACCEPTED, (PENDING, 304, READY, "")]),
        ("under a weak tag", [(PENDING, 200, PENDING, RIGHT)]),
        ("under a strong tag", [("", 202, READY, ""), DELIVERED]),
        ("nobody provoked", [ACCEPTED, (PENDING, 500, "", ""), DELIVERED]),
        ("nobody provoked", [ACCEPTED, (PENDING, HANGS, "", ""), DELIVERED]),
        ("nobody provoked", [NO_ROOM, ACCEPTED, DELIVERED]),
        ("nobody provoked", [ACCEPTED, (PENDING, 422, "", "")]),
        ("never given out", [ACCEPTED, DELIVERED, (OTHER, 304, OTHER, "")]),
        ("never given out", [('W/"other"', 304, 'W/"other"', ""), ACCEPTED, DELIVERED]),
    ],
)
def test_a_broken_promise_is_found(said: str, steps: list[tuple[str, int, str, str]]) -> None:
    assert any(said in fault for fault in story(*steps))


@pytest.mark.parametrize(
    ("right", "allowed", "steps"),
    [
        (REFUSED, NOTHING, [ACCEPTED, PINGED, (PENDING, 422, "", ""), ("", 422, "", "")]),
        (RIGHT, Allowed(evicted=True), [ACCEPTED, DELIVERED, ACCEPTED, DELIVERED]),
    ],
)
def test_what_the_faults_excuse_is_none(right: str, allowed: Allowed, steps: list[tuple[str, int, str, str]]) -> None:
    assert not story(*steps, right=right, allowed=allowed)


def test_a_refusal_that_is_a_result_is_found() -> None:
    assert story(ACCEPTED, DELIVERED, right=REFUSED)


@pytest.mark.parametrize(("retry_after", "fault"), [("5", False), ("", True)])
def test_a_busy_service_says_when_to_ask_again(retry_after: str, fault: bool) -> None:
    refused = Seen("/known", "", 0.0, 1.0, 503, retry_after=retry_after)
    accepted = Seen("/known", "", 2.0, 3.0, 202, PENDING, retry_after="1")
    delivered = Seen("/known", PENDING, 4.0, 5.0, 200, READY, RIGHT)
    assert bool(broken_promises([refused, accepted, delivered], {"/known": RIGHT}, Allowed(busy=True))) is fault


def test_a_pending_answer_without_retry_after_is_found() -> None:
    faults = broken_promises([Seen("/known", "", 0.0, 1.0, 202, PENDING)], {"/known": RIGHT})
    assert any("when to ask again" in fault for fault in faults)


def test_requests_at_the_same_time_bind_each_other_to_nothing() -> None:
    first = Seen("/known", "", 0.0, 9.0, 200, READY, RIGHT)
    accepted = Seen("/known", "", 0.5, 0.7, 202, PENDING, retry_after="1")
    late = Seen("/known", PENDING, 1.0, 2.0, 304, PENDING, retry_after="1")
    last = Seen("/known", "", 3.0, 4.0, 200, READY, RIGHT)
    assert not broken_promises([first, accepted, late, last], {"/known": RIGHT})


def test_repetitions_are_counted() -> None:
    assert repeated(["1 100", "2 101", "1 102", "1 103"]) == {"1": 2}
