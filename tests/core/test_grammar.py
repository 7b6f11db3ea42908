"""The grammar of every simple type: what is accepted, its canonical text, and what is refused."""

from __future__ import annotations

import json
import math
import struct
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from etagere.core import grammar
from etagere.core.json_text import MAX_DEPTH, Members, Number, depth, load, quote, write_object

INTS = {
    "0": "0",
    "-0": "0",
    "007": "7",
    "-042": "-42",
    "9223372036854775807": "9223372036854775807",
    "-9223372036854775808": "-9223372036854775808",
    "0" * 5000 + "1": "1",
}
NO_INTS = [
    "", "-", "+1", " 1", "1 ", "1\n", "1_0", "0x1", "1.0", "1e3", "--1", "１", "²", "٣", "true", "one", "NaN",
    "9223372036854775808", "-9223372036854775809", "9" * 5000,
]  # fmt: skip

FLOATS = {
    "0": "0",
    "-0": "0",
    "-0.0": "0",
    "1": "1",
    "1.0": "1",
    "01.50": "1.5",
    ".5": "0.5",
    "5.": "5",
    "-.5e1": "-5",
    "1E+2": "100",
    "1e16": "10000000000000000",
    "123456789012345680000": "123456789012345680000",
    "1e20": "100000000000000000000",
    "1e21": "1e+21",
    "-1.5e300": "-1.5e+300",
    "0.0001": "0.0001",
    "1e-5": "0.00001",
    "1.25e-6": "0.00000125",
    "0.000001": "0.000001",
    "1e-7": "1e-7",
    "1.5e-7": "1.5e-7",
    "5e-324": "5e-324",
    "1e-400": "0",
    "1.7976931348623157e308": "1.7976931348623157e+308",
    "0.1": "0.1",
    "0.30000000000000004": "0.30000000000000004",
    "333333333.33333329": "333333333.3333333",
}
NO_FLOATS = [
    "", ".", "-", "+1", " 1", "1 ", "1\n", "1_0", "0x1", "0x1p3", "1e", "1e+", "e1", "1.5.2", "1,5", "NaN", "nan",
    "Infinity", "inf", "-inf", "1e400", "-1e400", "１", "1e１", "1d3", "1f", "½", "−1", "1e 16",
]  # fmt: skip

BOOLS = {"true": "true", "TRUE": "true", "True": "true", "fAlSe": "false"}
NO_BOOLS = ["", "1", "0", "yes", "on", "t", " true", "true ", "ｔrue", "falſe"]

DATES = {"2020-02-29": "2020-02-29", "0001-01-01": "0001-01-01", "9999-12-31": "9999-12-31"}
NO_DATES = [
    "", "2021-02-29", "2020-13-01", "0000-01-01", "20200229", "2020-2-9", "2020-W01-1", "2020-060", "2020-02-29 ",
    "2020-02-29T00:00:00", "２020-01-01", "-2020-01-01", "2020/01/01",
]  # fmt: skip

DATETIMES = {
    "2020-01-01T00:00:00Z": "2020-01-01T00:00:00Z",
    "2020-01-01T00:00Z": "2020-01-01T00:00:00Z",
    "2020-01-01T01:00:00+01:00": "2020-01-01T00:00:00Z",
    "2019-12-31T18:30:00-05:30": "2020-01-01T00:00:00Z",
    "2020-01-01T00:00:00.500Z": "2020-01-01T00:00:00.5Z",
    "2020-01-01T00:00:00.000000Z": "2020-01-01T00:00:00Z",
    "2020-01-01T00:00:00.000001-00:00": "2020-01-01T00:00:00.000001Z",
    "0001-01-01T00:00:00Z": "0001-01-01T00:00:00Z",
}
NO_DATETIMES = [
    "", "2020-01-01", "2020-01-01T00:00:00", "2020-01-01 00:00:00Z", "2020-01-01t00:00:00z", "2020-01-01T24:00:00Z",
    "2020-01-01T00:00:60Z", "2020-01-01T00Z", "2020-01-01T00:00:00,5Z", "2020-01-01T00:00:00.1234567Z",
    "2020-01-01T00:00:00+0100", "2020-01-01T00:00:00+24:00", "2020-01-01T00:00:00 01:00", "2021-02-29T00:00:00Z",
    "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "1577836800", "2020-01-01T00:00:00Ｚ",
]  # fmt: skip

DURATIONS = {
    "PT0S": "PT0S",
    "-PT0S": "PT0S",
    "P0D": "PT0S",
    "P1W": "P7D",
    "P1W2DT3H": "P9DT3H",
    "PT90M": "PT1H30M",
    "PT86400S": "P1D",
    "PT0.500S": "PT0.5S",
    "P1DT2H3M4.5S": "P1DT2H3M4.5S",
    "-P1DT1S": "-P1DT1S",
    "PT0.000001S": "PT0.000001S",
    "P999999999D": "P999999999D",
    "PT0007S": "PT7S",
}
NO_DURATIONS = [
    "", "P", "PT", "P1DT", "1", "1:00:00", "P1Y", "P1M", "PT1.5H", "PT.5S", "PT1.S", "PT1.1234567S", "+PT1S", "pt1s",
    "P-1D", "PT1S1M", "P1000000000D", "P" + "9" * 30 + "W", "P１D", " PT1S", "--PT1S",
]  # fmt: skip

TABLES = [
    (grammar.parse_int, grammar.format_int, INTS, NO_INTS),
    (grammar.parse_float, grammar.format_float, FLOATS, NO_FLOATS),
    (grammar.parse_bool, grammar.format_bool, BOOLS, NO_BOOLS),
    (grammar.parse_date, grammar.format_date, DATES, NO_DATES),
    (grammar.parse_datetime, grammar.format_datetime, DATETIMES, NO_DATETIMES),
    (grammar.parse_timedelta, grammar.format_timedelta, DURATIONS, NO_DURATIONS),
]
ACCEPTED = [(parse, form, text, canonical) for parse, form, good, _ in TABLES for text, canonical in good.items()]
REFUSED = [(parse, text) for parse, _, _, bad in TABLES for text in bad]


@pytest.mark.parametrize(("parse", "form", "text", "canonical"), ACCEPTED)
def test_accepted_text_has_one_canonical_form(parse: Any, form: Any, text: str, canonical: str) -> None:
    assert form(parse(text)) == canonical
    assert form(parse(canonical)) == canonical


@pytest.mark.parametrize(("parse", "text"), REFUSED)
def test_anything_else_is_refused_with_a_reason(parse: Any, text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|range|too la|too long|no such"):
        parse(text)


def test_text_is_taken_literally() -> None:
    for text in ("", " a ", "\0", "ﬁ", "e\u0301", "é", "\u202e", "𝄞", "null", "[1]"):
        assert grammar.format_str(grammar.parse_str(text)) == text
    with pytest.raises(ValueError, match="UTF-8"):
        grammar.parse_str("\ud800")


WRONG = [
    (grammar.format_int, [True, 1.0, "1", None]),
    (grammar.format_float, [True, "1", None, math.nan, math.inf, -math.inf, 10**400]),
    (grammar.format_bool, [1, "true", None]),
    (grammar.format_str, [1, b"a", None, "\udfff"]),
    (grammar.format_date, [datetime(2020, 1, 1, tzinfo=UTC), "2020-01-01", None]),
    (grammar.format_datetime, [datetime(2020, 1, 1), date(2020, 1, 1), "x"]),
    (grammar.format_timedelta, [1, "PT1S"]),
]


@pytest.mark.parametrize(("form", "value"), [(form, value) for form, values in WRONG for value in values])
def test_only_values_of_the_type_have_a_canonical_text(form: Any, value: object) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)):
        form(value)


def test_an_int_is_a_float_and_subclasses_do_not_choose_their_own_spelling() -> None:
    class Loud(int):
        def __repr__(self) -> str:
            return "LOUD"

    assert grammar.format_float(10**20) == "100000000000000000000"
    assert grammar.format_int(Loud(3)) == "3"


def test_the_range_of_an_int_can_be_widened_and_is_told() -> None:
    assert grammar.parse_int("1" + "0" * 4000, high=10**4001) == 10**4000
    with pytest.raises(ValueError, match=r"expected 0 to 9$"):
        grammar.parse_int("10", 0, 9)
    with pytest.raises(ValueError, match=r"expected 1 to 8$"):
        grammar.parse_int("10", 0, 9, told=(1, 8))
    with pytest.raises(ValueError, match=r"out of range$"):
        grammar.parse_int("9" * 4301, high=10**4300)


def test_a_space_where_a_plus_was_meant_gets_a_hint() -> None:
    for text in ("1e 16", "-1.E 5", "2020-01-01T00:00:00 01:00", '["2020-01-01T00:00 01:00"]', "[1e 16]"):
        assert "%2B" in grammar.plus_hint(text)
    for text in ("1 6", "1e16", " 1", "2020-01-01 00:00", "e 1"):
        assert grammar.plus_hint(text) == ""


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(9007199254740993.0)
@example(1.2345678901234567e20)
@example(2.2250738585072014e-308)
def test_floats_read_back_as_they_were(value: float) -> None:
    text = grammar.format_float(value)
    assert struct.pack("d", grammar.parse_float(text)) == struct.pack("d", value + 0.0)
    assert float(json.loads(text)) == value
    assert len(text.lstrip("-")) <= 25


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_floats_that_differ_are_spelt_differently(one: float, other: float) -> None:
    assert (one == other) is (grammar.format_float(one) == grammar.format_float(other))


@given(st.timedeltas())
@example(timedelta.min)
@example(timedelta.max)
def test_durations_read_back_as_they_were(value: timedelta) -> None:
    assert grammar.parse_timedelta(grammar.format_timedelta(value)) == value


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)), st.integers(-1439, 1439))
def test_the_same_instant_has_one_spelling(instant: datetime, minutes: int) -> None:
    utc = instant.replace(tzinfo=UTC)
    text = utc.astimezone(timezone(timedelta(minutes=minutes))).isoformat()
    assert grammar.parse_datetime(text) == utc
    assert grammar.format_datetime(grammar.parse_datetime(text)) == grammar.format_datetime(utc)


@given(st.text())
def test_whatever_the_text_what_is_accepted_has_a_canonical_form(text: str) -> None:
    for parse, form, _, _ in TABLES:
        try:
            value = parse(text)
        except ValueError:
            continue
        assert parse(form(value)) == value


def test_json_keeps_numbers_as_they_are_spelt_and_members_as_they_come() -> None:
    node = load(' {"b": [1.50, -0, 1E2], "a": "1", "b": null, "c": true} ')
    assert node == (("b", ["1.50", "-0", "1E2"]), ("a", "1"), ("b", None), ("c", True))
    assert isinstance(node, Members)
    assert type(node[0][1][0]) is Number
    assert type(node[1][1]) is str


NO_JSON = [
    "", "{", "[1,]", "[01]", "[.5]", "[+1]", "nul", "[NaN]", "[Infinity]", "[-Infinity]", "{a:1}", "'a'", '"\n"',
    "[1] 2", "\ufeff[]", '"\\x"', "[１]",
]  # fmt: skip


@pytest.mark.parametrize("text", NO_JSON)
def test_json_is_strict(text: str) -> None:
    with pytest.raises(ValueError, match="not JSON"):
        load(text)


def test_json_has_only_so_many_values() -> None:
    assert len(load("[" + "[0]," * 200_000 + "0]")) == 200_001  # type: ignore[arg-type]
    for text in ("[" + "0," * 1_000_000 + "0]", "[" + "{}," * 500_000 + "{}]", '{"a":' * 1_000_001):
        with pytest.raises(ValueError, match="more than 1000000 values"):
            load(text)
    assert load('"' + "[,{" * 1_000_000 + '"') == "[,{" * 1_000_000


def test_json_nests_only_so_deep() -> None:
    assert load("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    for text in ("[" * 33 + "]" * 33, '{"a":' * 33 + "1" + "}" * 33, "[" * 1_000_000):
        with pytest.raises(ValueError, match="deeper than 32"):
            load(text)


def test_brackets_inside_strings_do_not_count() -> None:
    assert depth('["[[[[\\"[[[", {"{": "}"}]') == 2
    assert depth('"' + '\\"[' * 500_000) == 0


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_json_strings_are_read_back(text: str) -> None:
    assert load(quote(text)) == text
    assert quote(text).encode()


def test_json_is_written_as_rfc_8785_says() -> None:
    # RFC 8785 §3.2.3: the sorting example.
    names = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    ordered = ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]
    assert list(json.loads(write_object(dict.fromkeys(names, "1")))) == ordered
    # RFC 8785 §3.2.2.2: the string of the example.
    assert quote('\u20ac$\u000f\nA\'B"\\\\"/') == '"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"'
