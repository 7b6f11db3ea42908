from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etagere.core.ranges import MOST_OVERLAPS, MOST_RANGES, Span, content_range, spans, unsatisfied

sizes = st.integers(0, 60)
positions = st.integers(0, 70)
Asked = tuple[int | None, int | None]
asked = st.one_of(
    st.tuples(positions, st.none()),
    st.tuples(positions, positions).map(lambda pair: (min(pair), max(pair))),
    st.tuples(st.none(), positions),
)


def written(first: int | None, last: int | None) -> str:
    return f"{'' if first is None else first}-{'' if last is None else last}"


def wanted(one: Asked, size: int) -> set[int]:
    """The positions of a range, by the words of RFC 9110 §14.1.2."""
    first, last = one
    if first is None:
        return set(range(size)[size - min(last or 0, size) :])
    return {n for n in range(size) if first <= n and (last is None or n <= last)}


@given(st.lists(asked, min_size=1, max_size=MOST_RANGES), sizes, st.sampled_from([",", ", ", " ,\t", ",,"]))
def test_the_union_is_what_was_asked_and_nothing_twice(ranges: list[Asked], size: int, separator: str) -> None:
    each = [wanted(one, size) for one in ranges]
    overlaps = sum(bool(a & b) for n, a in enumerate(each) for b in each[:n])
    found = spans("bytes=" + separator.join(written(*one) for one in ranges), size)
    if found is None:
        assert overlaps > MOST_OVERLAPS or size == 0
        return
    assert overlaps <= MOST_OVERLAPS
    positions = [n for span in found for n in range(span.start, span.stop)]
    assert set(positions) == set().union(*each)
    assert len(positions) == len(set(positions))
    assert all(0 <= span.start < span.stop <= size for span in found)
    assert not any(a.touches(b) for n, a in enumerate(found) for b in found[:n])


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=2 * MOST_RANGES, unique=True))
def test_spans_that_do_not_touch_keep_their_order(numbers: list[int]) -> None:
    given_spans = tuple(Span(3 * n, 3 * n + 2) for n in numbers[:MOST_RANGES])
    field = "bytes=" + ",".join(written(span.start, span.stop - 1) for span in given_spans)
    assert spans(field, 3003) == given_spans


@given(st.integers(1, 10**15), st.data())
def test_what_content_range_says_can_be_asked_for_again(size: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, size - 1))
    span = Span(start, data.draw(st.integers(start + 1, size)))
    unit, _, rest = content_range(span, size).partition(" ")
    positions, _, complete = rest.partition("/")
    assert spans(f"{unit}={positions}", int(complete)) == (span,)


@given(st.one_of(st.text(), st.text("0123456789-, bytes=", max_size=40).map("bytes=".__add__)), sizes)
def test_no_text_breaks_the_parser(field: str, size: int) -> None:
    found = spans(field, size)
    assert found is None or all(0 <= span.start < span.stop <= size for span in found)


@pytest.mark.parametrize(
    "field",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=a-b",
        "bytes=-",
        "bytes=5",
        "bytes=5-4",
        "bytes=0-1,5-4",
        "bytes=0-1;2-3",
        "bytes=0 - 1",
        "bytes=+1-2",
        "bytes=0x1-2",
        "bytes=٠-١",
        "items=0-1",
        "bytes=0-1, bytes=2-3",
        "0-1",
    ],
)
def test_what_makes_no_sense_is_ignored(field: str) -> None:
    assert spans(field, 10) is None


@pytest.mark.parametrize(
    ("field", "size", "expected"),
    [
        ("bytes=0-0", 10, (Span(0, 1),)),
        ("BYTES = 0-0", 10, (Span(0, 1),)),
        ("bytes=0-", 10, (Span(0, 10),)),
        ("bytes=-3", 10, (Span(7, 10),)),
        ("bytes=-99", 10, (Span(0, 10),)),
        ("bytes=9-99", 10, (Span(9, 10),)),
        (f"bytes=1-{'9' * 5000}", 10, (Span(1, 10),)),
        (f"bytes={'0' * 5000}1-2", 10, (Span(1, 3),)),
        ("bytes=10-", 10, ()),
        ("bytes=-0", 10, ()),
        (f"bytes={'9' * 5000}-", 10, ()),
        ("bytes=0-", 0, ()),
        ("bytes=-0", 0, ()),
        ("bytes=-5", 0, None),
        ("bytes=50-, 1-2", 10, (Span(1, 3),)),
        ("bytes=8-9,0-1,2-3", 10, (Span(8, 10), Span(0, 4))),
        ("bytes=0-1,8-9,1-8", 10, (Span(0, 10),)),
        (",".join(["bytes=0-0", *(f"{2 * n}-{2 * n}" for n in range(1, MOST_RANGES))]), 99, 16),
        (",".join(["bytes=0-0", *(f"{2 * n}-{2 * n}" for n in range(1, MOST_RANGES + 1))]), 99, None),
        ("bytes=" + ",".join(["0-"] * 10_000), 99, None),
        ("bytes=0-,0-,0-", 99, None),
    ],
)
def test_what_is_meant(field: str, size: int, expected: tuple[Span, ...] | int | None) -> None:
    found = spans(field, size)
    assert (len(found) if isinstance(expected, int) and found else found) == expected


def test_the_field_of_a_416() -> None:
    assert unsatisfied(47) == "bytes */47"
    assert content_range(Span(0, 5), 47) == "bytes 0-4/47"
