"""The format and content coding that a request is given, chosen before there is a result."""

from __future__ import annotations

from dataclasses import replace

from etagere.asgi.negotiation import Wanted, choose, codings
from etagere.errors import NotAcceptable
from etagere.service import Address


def select(accept: bytes | None, accept_encoding: bytes | None, address: Address) -> tuple[Wanted, Address]:
    """What is wanted, and the address with the format and the codings that this request takes.

    Raises:
        NotAcceptable: there is no such format, or no such coding.
    """
    wanted, format = choose(accept, address.formats)
    if wanted is Wanted.nothing:
        if not address.fixed:
            raise _no_format(address)
        wanted = Wanted.representation
    coded = () if accept_encoding is None else codings(accept_encoding, format.media_type)
    if coded is None:
        raise NotAcceptable("The content codings are gzip and zstd, for what is not compressed already.")
    if format.name == address.format and not coded:
        return wanted, address
    return wanted, replace(address, format=format.name, media_type=format.media_type, codings=coded)


def _no_format(address: Address) -> NotAcceptable:
    given = ", ".join(format.media_type for format in address.formats)
    formats = [{"name": format.name, "media_type": format.media_type} for format in address.formats]
    return NotAcceptable(f"{address.model} is given as {given}.", formats=formats)
