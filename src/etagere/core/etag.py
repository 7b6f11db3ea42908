"""Entity tags (RFC 9110 §8.8.3), and the two of a resource.

The *pending tag* is weak and names the resource alone: `W/"<id>"`. The *ready tag* is strong and
names the bytes: `"<id>.<digest>.<format>"`, with `.gz` or `.zst` behind it for a coded variant.
They differ in their opaque part, because caches on the way compare a client's tag with the one of a
fresh 200 themselves, and weakly.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

DIGEST_LENGTH = 10
_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_LIST = re.compile(rf"\s*(?:{_TAG.pattern}\s*)?(?:,\s*(?:{_TAG.pattern}\s*)?)*")
# What Apache, nginx modules and CDNs append to a tag when they compress on the way.
_CODED = re.compile(r"(?:-gzip|-br|-zstd|;gzip)$")


class EntityTag(NamedTuple):
    """An opaque tag and whether it is weak."""

    opaque: str
    weak: bool = False

    def __str__(self) -> str:
        return f'W/"{self.opaque}"' if self.weak else f'"{self.opaque}"'

    def matches_weakly(self, other: EntityTag) -> bool:
        """Weak comparison (RFC 9110 §8.8.3.2)."""
        return self.opaque == other.opaque


ANY = EntityTag("*")
"""What `*` parses to; no tag of a resource is called so."""


def parse(field: str) -> tuple[EntityTag, ...]:
    """The tags of an If-Match or If-None-Match field; none where the field is not well-formed."""
    if single := _TAG.fullmatch(field):
        return (EntityTag(single[2], single[1] is not None),)
    if field.strip() == "*":
        return (ANY,)
    if not _LIST.fullmatch(field):
        return ()
    return tuple(EntityTag(opaque, bool(weak)) for weak, opaque in _TAG.findall(field))


def uncoded(tag: EntityTag) -> EntityTag:
    """The tag without the suffix that an intermediary's compression put on it; for If-None-Match only."""
    return EntityTag(_CODED.sub("", tag.opaque), tag.weak)


def pending_tag(id: str) -> EntityTag:
    """The tag of a resource whose representation is not there yet."""
    return EntityTag(id, weak=True)


def pending_field(id: str) -> bytes:
    """The pending tag as it stands in a field."""
    return b'W/"%b"' % id.encode("ascii")


@lru_cache(maxsize=1024)
def short_digest(digest: bytes) -> str:
    """The part of a ready tag that stands for a SHA-256: the first 10 characters of its base32, in lower case."""
    return base64.b32encode(digest[:10]).decode("ascii")[:DIGEST_LENGTH].lower()


def ready_tag(id: str, digest: bytes, name: str) -> EntityTag:
    """The tag of a representation with this SHA-256; its name is the format's, or that of its coded variant."""
    return EntityTag(f"{id}.{short_digest(digest)}.{name}")


def digest_and_name(shown: EntityTag) -> tuple[str, str]:
    """The short digest and the name in a ready tag."""
    _, digest, name = shown.opaque.split(".", 2)
    return digest, name


_READY = re.compile(r"([a-z2-7]{32})\.([a-z2-7]{10})\.([a-z0-9]+(?:\.(?:gz|zst))?)")


def find_ready(tags: Iterable[EntityTag], id: str, *names: str) -> EntityTag | None:
    """The first tag that is a ready tag of this resource under one of these names, as it was given out.

    A name is a format's, or that of its coded variant; whatever the digest is.
    """
    for tag in tags:
        if not tag.opaque.startswith(id):
            continue
        bare = uncoded(tag)
        found = _READY.fullmatch(bare.opaque)
        if found and found[1] == id and found[3] in names:
            return EntityTag(bare.opaque)
    return None
