"""Replays what clients saw and says which promises were broken."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tests.faults.conversation import NO_ANSWER, Seen

REFUSED = "refused"
"""In the place of a digest: the model refuses, and 422 is the right end."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the faults of a test excuse: `busy` is 503 with a Retry-After, `evicted` that a result is computed again."""

    busy: bool = False
    evicted: bool = False


NOTHING = Allowed()


def broken_promises(history: Iterable[Seen], answers: Mapping[str, str], allowed: Allowed = NOTHING) -> list[str]:
    """What must not have been seen; `answers` gives the SHA-256 of the right bytes of each target."""
    by_target: dict[str, list[Seen]] = defaultdict(list)
    for seen in history:
        if seen.status != NO_ANSWER:
            by_target[seen.target].append(seen)
    found = []
    for target, all_seen in by_target.items():
        all_seen.sort(key=lambda seen: seen.began)
        found += [f"{target}: {fault}" for fault in _faults(all_seen, answers[target], allowed)]
    return found


def repeated(executions: Iterable[str]) -> Counter[str]:
    """How often each resource was really computed beyond the first time."""
    counted = Counter(line.split()[0] for line in executions)
    return Counter({key: times - 1 for key, times in counted.items() if times > 1})


def _faults(history: list[Seen], digest: str, allowed: Allowed) -> Iterator[str]:
    ends = (422,) if digest == REFUSED else (200, 304)
    for seen in history:
        yield from _alone(seen, digest, (*ends, 202, 304), allowed)
    for kind in (200, 202):
        tags = {seen.tag for seen in history if seen.status == kind}
        if len(tags) > 1:
            yield f"several tags where there is one: {tags}"
    yield from _tags(history)
    yield from _order(history, allowed)
    last = next((seen for seen in reversed(history) if seen.status != 503 or not allowed.busy), history[-1])
    if not _ended(last):
        yield f"accepted and never finished: {last}"


def _alone(seen: Seen, digest: str, statuses: tuple[int, ...], allowed: Allowed) -> Iterator[str]:
    """What is wrong whatever else was seen."""
    if seen.status == 503 and allowed.busy:
        if not seen.retry_after or seen.tag:
            yield f"a 503 without a Retry-After, or with a tag: {seen}"
    elif seen.status not in statuses:
        yield f"an answer that nobody provoked: {seen}"
    if seen.status == 200 and seen.digest != digest:
        yield f"wrong bytes: {seen}"
    if seen.status == 304 and seen.tag != seen.sent:
        yield f"a 304 to another tag than was sent: {seen}"
    if seen.status == 200 and seen.tag.startswith("W/"):
        yield f"a result under a weak tag: {seen}"
    if seen.status == 202 and not seen.tag.startswith("W/"):
        yield f"a 202 under a strong tag: {seen}"
    if seen.pending and not seen.retry_after:
        yield f"pending, and no word of when to ask again: {seen}"


def _tags(history: list[Seen]) -> Iterator[str]:
    """The tags of 304 are those that were given out: one while it is pending, one with the result."""
    for weak, kind in ((True, 202), (False, 200)):
        given = {seen.tag for seen in history if seen.status == kind}
        for seen in history:
            if seen.status == 304 and seen.tag.startswith("W/") is weak and seen.tag not in given:
                yield f"a 304 to a tag that was never given out: {seen}"


def _order(history: list[Seen], allowed: Allowed) -> Iterator[str]:
    """An answer that was complete before a request began binds the answer of that request."""
    accepted = min((seen.ended for seen in history if seen.pending), default=float("inf"))
    ready = min((seen.ended for seen in history if _ended(seen)), default=float("inf"))
    for seen in history:
        if seen.status == 503 and allowed.busy:
            continue
        if seen.began > ready and not _ended(seen) and not allowed.evicted:
            yield f"it was ready and is not any more: {seen}"
        if seen.began > accepted and seen.sent.startswith("W/") and seen.status == 202 and not allowed.evicted:
            yield f"it was accepted and had been forgotten: {seen}"


def _ended(seen: Seen) -> bool:
    return seen.ready or seen.status == 422
