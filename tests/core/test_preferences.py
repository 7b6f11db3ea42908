from __future__ import annotations

import string
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from etagere.core.preferences import LONGEST_SECONDS, only_if_cached, parse, wait_seconds

TOKENS = st.text(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~", min_size=1, max_size=12)
TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=12).filter(
    lambda text: not any("\x7f" <= char < "\x80" for char in text)
)
SPACES = st.sampled_from(["", " ", "\t", "  "])


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@st.composite
def words(draw: st.DrawFn) -> tuple[str, str]:
    """A word as it is sent, and what it says."""
    if draw(st.booleans()):
        token = draw(TOKENS)
        return token, token
    text = draw(TEXTS)
    return quoted(text), text


@st.composite
def preferences(draw: st.DrawFn) -> tuple[str, str, str]:
    """A preference as it is sent, its name and its value."""
    name, value, said = draw(TOKENS), "", ""
    sent = name
    if draw(st.booleans()):
        value, said = draw(words())
        sent += draw(SPACES) + "=" + draw(SPACES) + value
    for _ in range(draw(st.integers(0, 3))):
        sent += draw(SPACES) + ";" + draw(SPACES)
        if draw(st.booleans()):
            sent += draw(TOKENS) + "=" + draw(words())[0]
    return sent, name.lower(), said


@given(st.lists(preferences(), max_size=6), SPACES, SPACES)
def test_what_was_written_is_read_and_the_first_of_a_name_counts(
    written: list[tuple[str, str, str]], before: str, after: str
) -> None:
    field = f"{before},{after}".join(sent for sent, _, _ in written)
    expected: dict[str, str] = {}
    for _, name, value in written:
        expected.setdefault(name, value)
    assert parse(field) == expected


@given(st.text())
@example('wait="')
@example('wait="1\\')
def test_nothing_that_can_be_sent_is_an_error(field: str) -> None:
    assert all(name == name.lower() for name in parse(field))
    assert 0 <= wait_seconds(field) <= LONGEST_SECONDS


@given(st.sampled_from(["=", "a b", "a=b c", 'a="b', "a=", "@", "a=b;c d", 'a"b"']), preferences())
def test_what_is_broken_is_passed_over(broken: str, sound: tuple[str, str, str]) -> None:
    sent, name, value = sound
    assert parse(f"{sent}, {broken}") == {name: value}
    if '"' not in broken:
        assert parse(f"{broken}, {sent}") == {name: value}


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        ("wait=10", 10),
        ("Wait = 10", 10),
        ('wait="10"', 10),
        ('wait="1\\0"', 10),
        ("wait=10; foo=bar", 10),
        ("respond-async, wait=10", 10),
        ("foo; wait=3, wait=5", 5),
        ('foo="a, wait=3", wait=5', 5),
        ("wait=5, wait=3", 5),
        ("wait=x, wait=3", 0),
        ("wait=007", 7),
        ("wait=" + "9" * 5000, LONGEST_SECONDS),
        ("wait=" + "0" * 5000 + "1", 1),
        ("wait=-1", 0),
        ("wait=1.5", 0),
        ("wait=\xb2", 0),
        ("wait", 0),
        ('wait=""', 0),
        ("respond-async", 0),
        ("", 0),
    ],
)
def test_seconds(field: str, seconds: int) -> None:
    assert wait_seconds(field) == seconds


@pytest.mark.parametrize(
    ("field", "only"),
    [
        ("only-if-cached", True),
        ("max-age=0, Only-If-Cached", True),
        ("no-cache", False),
        ('x="only-if-cached"', False),
        ("only-if-cached-please", False),
    ],
)
def test_only_if_cached(field: str, only: bool) -> None:
    assert only_if_cached(field) is only


@pytest.mark.parametrize("piece", ['"', '\\"', '"\\', "; ", " ;", "a=", ' "', ";a=b ", "a ", ","])
def test_no_field_takes_long(piece: str) -> None:
    began = time.process_time()
    parse("a=" + piece * (8192 // len(piece)) + "\x00")
    assert time.process_time() - began < 0.1
