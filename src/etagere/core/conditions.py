"""Preconditions (RFC 9110 §13.2) on a resource that may not be there yet: a decision, and no effect.

The steps are numbered as in the order of evaluation that docs/conversation.md gives.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple

from etagere.core.etag import ANY, EntityTag, digest_and_name, find_ready, pending_tag, short_digest, uncoded


class Standing(Enum):
    """What a resource is to the request that has arrived."""

    absent = auto()
    pending = auto()
    ready = auto()
    refused = auto()
    failed = auto()


class Decision(Enum):
    """What the answer is. `start` needs a new run, and nothing else does."""

    start = auto()
    accepted = auto()
    still_pending = auto()
    still_ready = auto()
    send = auto()
    refused = auto()
    failed = auto()
    precondition_failed = auto()


class Conditions(NamedTuple):
    """The tags of If-Match and If-None-Match; None where the field is not there."""

    if_match: tuple[EntityTag, ...] | None = None
    if_none_match: tuple[EntityTag, ...] | None = None


KnownDigest = Callable[[str], bytes | None]
"""The SHA-256 of the representation of this name, where it is still known."""

UNCONDITIONAL = Conditions()
_BY_STANDING = {
    Standing.absent: Decision.start,
    Standing.pending: Decision.accepted,
    Standing.ready: Decision.send,
    Standing.failed: Decision.failed,
}


def decide(
    standing: Standing,
    id: str,
    names: tuple[str, ...],
    conditions: Conditions,
    known_digest: KnownDigest,
) -> tuple[Decision, EntityTag | None]:
    """What to answer, and the ready tag that matched where that is why.

    Args:
        standing: What the resource is.
        id: Its id.
        names: The format that this request would be given; with its coded variants, where it depends on
            the bytes which one that is.
        conditions: What the request says.
        known_digest: Asked only when it matters, for it may cost a read.
    """
    if standing is Standing.refused:  # 5
        return Decision.refused, None
    if conditions.if_match is not None and not _if_match(standing, id, names, conditions.if_match, known_digest):
        return Decision.precondition_failed, None  # 6
    tags = conditions.if_none_match or ()
    if shown := _current(find_ready(tags, id, *names), known_digest):  # 7
        return Decision.still_ready, shown
    if ANY in tags and standing is Standing.ready:
        return Decision.still_ready, None
    if standing is Standing.pending and _names_pending(tags, id):  # 10
        return Decision.still_pending, None
    return _BY_STANDING[standing], None  # 8, 9, 10, 11


def _current(shown: EntityTag | None, known_digest: KnownDigest) -> EntityTag | None:
    # A deterministic model has one representation, so a ready tag needs no bytes to be right;
    # only a digest that is known and differs speaks against it.
    if shown is None:
        return None
    theirs, name = digest_and_name(shown)
    digest = known_digest(name)
    return shown if digest is None or theirs == short_digest(digest) else None


def _names_pending(tags: tuple[EntityTag, ...], id: str) -> bool:
    pending = pending_tag(id)
    return any(tag == ANY or uncoded(tag).matches_weakly(pending) for tag in tags)


def _if_match(
    standing: Standing,
    id: str,
    names: tuple[str, ...],
    tags: tuple[EntityTag, ...],
    known_digest: KnownDigest,
) -> bool:
    if ANY in tags:
        return standing in (Standing.ready, Standing.pending)
    strong = [tag for tag in tags if not tag.weak and uncoded(tag) == tag]
    return _current(find_ready(strong, id, *names), known_digest) is not None
