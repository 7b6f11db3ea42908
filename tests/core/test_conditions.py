"""The state table of docs/conversation.md, cell by cell, and If-Match."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from etagere.core.conditions import Conditions, Decision, Standing, decide
from etagere.core.etag import EntityTag, parse, ready_tag, short_digest

ID = "a" * 32
DIGEST = hashlib.sha256(b"result").digest()
PT, RT = f'W/"{ID}"', str(ready_tag(ID, DIGEST, "json"))
OTHER_DIGEST = f'"{ID}.{short_digest(hashlib.sha256(b"other").digest())}.json"'


def decision(
    standing: Standing, none_match: str | None = None, match: str | None = None, digest: bytes | None = DIGEST
) -> tuple[Decision, EntityTag | None]:
    conditions = Conditions(None if match is None else parse(match), None if none_match is None else parse(none_match))
    return decide(standing, ID, ("json",), conditions, lambda _: digest)


S, D = Standing, Decision
TABLE = [
    (S.absent, {None: D.start, '"x"': D.start, PT: D.start, RT: D.still_ready, "*": D.start}),
    (S.pending, {None: D.accepted, '"x"': D.accepted, PT: D.still_pending, RT: D.still_ready, "*": D.still_pending}),
    (S.ready, {None: D.send, '"x"': D.send, PT: D.send, RT: D.still_ready, "*": D.still_ready}),
    (S.refused, dict.fromkeys([None, '"x"', PT, RT, "*"], D.refused)),
    (S.failed, {None: D.failed, '"x"': D.failed, PT: D.failed, RT: D.still_ready, "*": D.failed}),
]


@pytest.mark.parametrize(
    ("standing", "none_match", "expected"), [(s, n, d) for s, row in TABLE for n, d in row.items()]
)
def test_every_cell_of_the_state_table(standing: Standing, none_match: str | None, expected: Decision) -> None:
    assert decision(standing, none_match)[0] is expected


def test_a_forgotten_digest_is_believed_and_a_known_one_is_compared() -> None:
    assert decision(S.absent, OTHER_DIGEST, digest=None) == (D.still_ready, parse(OTHER_DIGEST)[0])
    assert decision(S.absent, OTHER_DIGEST)[0] is D.start
    assert decision(S.ready, OTHER_DIGEST)[0] is D.send


def test_the_tag_that_matched_is_given_back_without_what_a_proxy_did_to_it() -> None:
    assert decision(S.absent, f'W/{RT[:-1]}-gzip"') == (D.still_ready, ready_tag(ID, DIGEST, "json"))


def test_the_digest_is_not_asked_for_by_a_ping() -> None:
    def never(name: str) -> bytes | None:
        raise AssertionError("read")

    asked: Callable[[str], bytes | None] = never
    assert decide(S.pending, ID, ("json",), Conditions(None, parse(PT)), asked)[0] is D.still_pending


@pytest.mark.parametrize(
    ("standing", "match", "passes"),
    [
        (S.ready, RT, True), (S.ready, "*", True), (S.pending, "*", True), (S.pending, RT, True),
        (S.absent, "*", False), (S.absent, RT, True), (S.ready, PT, False), (S.pending, PT, False),
        (S.ready, OTHER_DIGEST, False), (S.ready, f"W/{RT}", False), (S.ready, RT[:-1] + '-gzip"', False),
        (S.failed, "*", False),
    ],
)  # fmt: skip
def test_if_match_compares_strongly_and_unstripped(standing: Standing, match: str, passes: bool) -> None:
    assert (decision(standing, match=match)[0] is not D.precondition_failed) is passes


def test_a_refusal_comes_before_every_precondition() -> None:
    assert decision(S.refused, match='"x"')[0] is D.refused


def test_if_match_comes_before_if_none_match() -> None:
    assert decision(S.ready, none_match=RT, match='"x"')[0] is D.precondition_failed


NAMES = ("json.zst", "json.gz", "json")


@pytest.mark.parametrize("name", NAMES)
def test_a_tag_of_any_coding_that_the_request_takes_is_right_while_nothing_is_there(name: str) -> None:
    shown = ready_tag(ID, DIGEST, name)
    conditions = Conditions(None, (shown,))
    assert decide(S.absent, ID, NAMES, conditions, lambda _: None) == (D.still_ready, shown)
    others = tuple(other for other in NAMES if other != name)
    assert decide(S.absent, ID, others, conditions, lambda _: None)[0] is D.start


def test_the_digest_that_is_compared_is_that_of_the_same_coding() -> None:
    other = hashlib.sha256(b"coded").digest()
    known = {"json": DIGEST, "json.gz": other}
    for name, digest, expected in (("json", DIGEST, D.still_ready), ("json.gz", DIGEST, D.send)):
        conditions = Conditions(None, (ready_tag(ID, digest, name),))
        assert decide(S.ready, ID, ("json", "json.gz"), conditions, known.get)[0] is expected
