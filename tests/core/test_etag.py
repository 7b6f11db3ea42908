from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etagere.core import etag
from etagere.core.etag import ANY, EntityTag, find_ready, parse, pending_tag, ready_tag, short_digest, uncoded

ID = "a" * 32
DIGEST = hashlib.sha256(b"result").digest()
opaque = st.text(st.characters(codec="latin-1", exclude_characters='"', exclude_categories=["Cc", "Zs"]), max_size=40)
tags = st.builds(EntityTag, opaque, st.booleans())


@given(st.lists(tags, min_size=1, max_size=5), st.sampled_from([",", ", ", " ,\t", ",, "]))
def test_a_list_of_tags_is_read_back(given_tags: list[EntityTag], separator: str) -> None:
    assert parse(separator.join(str(tag) for tag in given_tags)) == tuple(given_tags)


@given(st.text(max_size=60))
def test_no_text_breaks_the_parser(text: str) -> None:
    assert isinstance(parse(text), tuple)


@pytest.mark.parametrize("field", ["", "abc", '"a" "b"', '"a', "W/", 'w/"a"', '"a"b', "*, *", '*, "a"'])
def test_what_is_not_a_list_of_tags_names_none(field: str) -> None:
    assert parse(field) == ()


def test_star_is_any() -> None:
    assert parse(" * ") == (ANY,)


@pytest.mark.parametrize(
    ("one", "other", "weakly"),
    [('W/"1"', 'W/"1"', True), ('W/"1"', 'W/"2"', False), ('W/"1"', '"1"', True), ('"1"', '"1"', True)],
)
def test_weak_comparison_is_that_of_rfc_9110_8_8_3_2(one: str, other: str, weakly: bool) -> None:
    (left,), (right,) = parse(one), parse(other)
    assert left.matches_weakly(right) is weakly


def test_the_pending_tag_as_a_field() -> None:
    assert etag.pending_field(ID).decode() == str(pending_tag(ID))


def test_the_two_tags_never_match_each_other() -> None:
    assert not pending_tag(ID).matches_weakly(ready_tag(ID, DIGEST, "json"))
    assert "-" not in str(pending_tag(ID)) + str(ready_tag(ID, DIGEST, "json"))


def test_the_ready_tag_names_id_digest_and_format() -> None:
    assert str(ready_tag(ID, DIGEST, "json")) == f'"{ID}.{short_digest(DIGEST)}.json"'
    assert len(short_digest(DIGEST)) == etag.DIGEST_LENGTH


@pytest.mark.parametrize("suffix", ["-gzip", "-br", "-zstd", ";gzip"])
def test_a_suffix_put_on_by_a_proxy_is_taken_off(suffix: str) -> None:
    assert uncoded(EntityTag(ID + suffix, weak=True)) == pending_tag(ID)


@pytest.mark.parametrize(
    ("field", "found"),
    [
        (f'"{ID}.abcdefghij.json"', True),
        (f'W/"{ID}.abcdefghij.json"', True),
        (f'"x", "{ID}.abcdefghij.json-gzip"', True),
        (f'"{ID}.abcdefghij.csv"', False),
        (f'"{ID}.abc.json"', False),
        (f'"{"b" * 32}.abcdefghij.json"', False),
        (f'W/"{ID}"', False),
        ("*", False),
    ],
)
def test_a_ready_tag_is_found_whatever_its_digest(field: str, found: bool) -> None:
    shown = find_ready(parse(field), ID, "json")
    assert shown == (EntityTag(f"{ID}.abcdefghij.json") if found else None)


@pytest.mark.parametrize("name", ["json", "json.gz", "csv.zst", "gz", "gz.gz"])
def test_a_coded_variant_has_a_tag_of_its_own(name: str) -> None:
    tag = ready_tag(ID, DIGEST, name)
    assert find_ready([tag], ID, name) == tag
    assert find_ready([tag], ID, "other", "other.gz") is None
    assert etag.digest_and_name(tag) == (short_digest(DIGEST), name)


def test_what_is_no_coding_is_no_variant() -> None:
    assert find_ready(parse(f'"{ID}.abcdefghij.json.br"'), ID, "json", "json.br") is None
