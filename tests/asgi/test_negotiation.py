from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etagere.asgi.negotiation import Wanted, choose, codings, negotiate
from etagere.results import Returned, formats

CHROME = b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (None, Wanted.representation),
        (b"", Wanted.representation),
        (b"*/*", Wanted.representation),
        (b"application/json", Wanted.representation),
        (b"application/*;q=0.2", Wanted.representation),
        (CHROME, Wanted.page),
        (b"text/html", Wanted.page),
        (b"text/html, application/json", Wanted.representation),
        (b"text/html;q=0.5, */*;q=0.6", Wanted.representation),
        (b"text/*", Wanted.nothing),
        (b"text/csv", Wanted.nothing),
        (b"application/json;q=0, */*", Wanted.nothing),
        (b"application/json;q=2", Wanted.nothing),
        (b"*/*;q=x", Wanted.nothing),
        (b"*/*;q=1.x", Wanted.nothing),
        (b"TEXT/HTML;q=1.0;level=1", Wanted.page),
    ],
)
def test_a_page_only_where_html_is_named_and_preferred(accept: bytes | None, wanted: Wanted) -> None:
    assert negotiate(accept, "application/json") is wanted


def test_a_model_that_gives_html_gives_it() -> None:
    assert negotiate(CHROME, "text/html") is Wanted.representation


def test_parameters_of_the_models_media_type_do_not_matter() -> None:
    assert negotiate(b"text/csv", "text/csv; charset=utf-8") is Wanted.representation


TABLE = formats(Returned.table)
FRAME = [given.media_type.partition(";")[0] for given in TABLE]
weights = st.none() | st.integers(0, 1000).map(lambda thousandths: thousandths / 1000)
ranges = st.sampled_from([*FRAME, "text/html", "text/*", "application/*", "*/*", "image/png", "junk"])


def field(named: Mapping[str, float | None]) -> bytes:
    return ", ".join(name if q is None else f"{name};q={q:.3f}" for name, q in named.items()).encode()


@given(st.dictionaries(ranges, weights, min_size=1))
def test_the_format_that_is_sent_is_the_first_of_those_that_are_wanted_most(named: dict[str, float | None]) -> None:
    qualities = []
    for media_type in FRAME:
        candidates = (media_type, media_type.partition("/")[0] + "/*", "*/*")
        found = [1.0 if named[name] is None else named[name] for name in candidates if name in named]
        qualities.append(found[0] if found else 0.0)
    wanted, best = choose(field(named), TABLE)
    most = max(q for q in qualities if q is not None)
    assert best == TABLE[qualities.index(most)]
    html = named.get("text/html", 0.0)
    page = 1.0 if html is None else html
    expected = Wanted.page if page > most else Wanted.representation if most > 0 else Wanted.nothing
    assert wanted is expected


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_no_field_breaks_the_negotiation(accept: bytes, accept_encoding: bytes) -> None:
    assert choose(accept, TABLE)[1] in TABLE
    assert set(codings(accept_encoding, "text/csv") or ()) <= {"zstd", "gzip", "identity"}
    assert codings(accept_encoding, "image/png") in ((), None)


@given(st.dictionaries(st.sampled_from(["gzip", "zstd", "identity", "br", "*"]), weights))
def test_a_coding_that_is_refused_is_never_tried(named: dict[str, float | None]) -> None:
    taken = {name: 1.0 if q is None else q for name, q in named.items()}
    tried = codings(field(named), "text/csv")
    identity = taken.get("identity", taken.get("*", 1.0)) > 0
    if tried is None:
        assert not identity
        assert not any(taken.get(name, taken.get("*", 0.0)) > 0 for name in ("gzip", "zstd"))
        return
    coded = [name for name in tried if name != "identity"]
    assert all(taken.get(name, taken.get("*", 0.0)) > 0 for name in coded)
    assert all(taken.get(name, taken.get("*", 0.0)) >= taken.get("identity", 0.0) for name in coded)
    assert identity or "identity" not in tried
    assert not tried or tried[-1] == "identity" or not identity


@pytest.mark.parametrize(
    ("accept_encoding", "tried"),
    [
        (b"gzip, deflate, br, zstd", ("zstd", "gzip", "identity")),
        (b"gzip;q=0.9, zstd;q=0.5", ("gzip", "zstd", "identity")),
        (b"", ()),
        (b"identity", ()),
        (b"br", ()),
        (b"*;q=0", None),
        (b"gzip, *;q=0", ("gzip",)),
    ],
)
def test_the_codings_in_order(accept_encoding: bytes, tried: tuple[str, ...] | None) -> None:
    assert codings(accept_encoding, "application/json") == tried
