"""Replays what clients saw and says which promises were broken."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

from tests.faults.conversation import NO_ANSWER, Seen


def broken_promises(history: Iterable[Seen], answers: Mapping[str, str]) -> list[str]:
    """What must not have been seen; `answers` gives the SHA-256 of the right bytes of each target."""
    by_target: dict[str, list[Seen]] = defaultdict(list)
    for seen in history:
        if seen.status != NO_ANSWER:
            by_target[seen.target].append(seen)
    found = []
    for target, all_seen in by_target.items():
        all_seen.sort(key=lambda seen: seen.began)
        found += [f"{target}: {fault}" for fault in _faults(all_seen, answers[target])]
    return found


def repeated(executions: Iterable[str]) -> Counter[str]:
    """How often each resource was really computed beyond the first time."""
    counted = Counter(line.split()[0] for line in executions)
    return Counter({key: times - 1 for key, times in counted.items() if times > 1})


def _faults(history: list[Seen], digest: str) -> Iterator[str]:
    for seen in history:
        if seen.status not in (200, 202, 304):
            yield f"an answer that nobody provoked: {seen}"
        if seen.status == 200 and seen.digest != digest:
            yield f"wrong bytes: {seen}"
        if seen.status == 304 and seen.tag != seen.sent:
            yield f"a 304 to another tag than was sent: {seen}"
        if seen.status == 200 and seen.tag.startswith("W/"):
            yield f"a result under a weak tag: {seen}"
        if seen.status == 202 and not seen.tag.startswith("W/"):
            yield f"a 202 under a strong tag: {seen}"
    for kind in (200, 202):
        tags = {seen.tag for seen in history if seen.status == kind}
        if len(tags) > 1:
            yield f"several tags where there is one: {tags}"
    yield from _order(history)
    if not history[-1].ready:
        yield f"accepted and never finished: {history[-1]}"


def _order(history: list[Seen]) -> Iterator[str]:
    """An answer that was complete before a request began binds the answer of that request."""
    accepted = min((seen.ended for seen in history if seen.pending), default=float("inf"))
    ready = min((seen.ended for seen in history if seen.ready), default=float("inf"))
    for seen in history:
        if seen.began > ready and not seen.ready:
            yield f"it was ready and is not any more: {seen}"
        if seen.began > accepted and seen.sent.startswith("W/") and seen.status == 202:
            yield f"it was accepted and had been forgotten: {seen}"
