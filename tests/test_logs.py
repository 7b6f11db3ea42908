"""Log events, for people and as JSON: what models and clients bring cannot pass for an event, nor move a terminal."""

from __future__ import annotations

import json
import logging
import re
import unicodedata
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etagere import logs

log = logs.get_logger("etagere.tests")
HOSTILE = [
    "two\nlines",
    "12:00:00 info    run ended\n12:00:00 error   forged",
    '"}\n{"level": "error", "event": "forged"}',
    "\r\n12:00:00 error   forged",
    "\x1b[2J\x1b]0;title\x07",
    "\x9b31m\x7f\x00",
    "\u202egnp.exe\u2066\u200f",
    "a\u2028b\x85c\x0bd\x0ce",
    "\ud800",
]


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    logger = logging.getLogger("etagere")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.level, logger.propagate = before


def written(capsys: pytest.CaptureFixture[str], *, machine: bool, text: str) -> str:
    """What three events that carry the text look like: in a field, in an exception, in both."""
    logs.to_stderr(machine=machine)
    capsys.readouterr()
    log.info("told", reason=text, number=1)
    try:
        raise ValueError(text)
    except ValueError:
        log.exception("fault", path=text)
    log.warning("told again", output=text)
    return capsys.readouterr().err


def is_harmless(text: str) -> bool:
    return all(unicodedata.category(c)[0] != "C" and c not in "\u2028\u2029" for c in text)


@pytest.mark.parametrize("text", HOSTILE)
def test_for_people_only_events_begin_at_the_margin(capsys: pytest.CaptureFixture[str], text: str) -> None:
    lines = written(capsys, machine=False, text=text).removesuffix("\n").split("\n")
    assert all(map(is_harmless, lines))
    events = [line for line in lines if not line.startswith("    ")]
    assert [re.sub(r"^\d\d:\d\d:\d\d (\w+) +(fault|told again|told).*", r"\1 \2", line) for line in events] == [
        "info told",
        "error fault",
        "warning told again",
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_as_json_each_line_is_an_event(capsys: pytest.CaptureFixture[str], text: str) -> None:
    lines = written(capsys, machine=True, text=text).removesuffix("\n").split("\n")
    assert all(line.isascii() and is_harmless(line) for line in lines)
    told, fault, again = map(json.loads, lines)
    assert (told["level"], told["event"], told["reason"], told["number"]) == ("info", "told", text, 1)
    assert (fault["level"], fault["path"], again["output"]) == ("error", text, text)
    assert "ValueError" in fault["traceback"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(), machine=st.booleans())
def test_no_text_whatever_breaks_a_line(capsys: pytest.CaptureFixture[str], text: str, machine: bool) -> None:
    lines = written(capsys, machine=machine, text=text).removesuffix("\n").split("\n")
    assert all(map(is_harmless, lines))
    assert len([line for line in lines if not line.startswith("    ")]) == 3


def test_times_are_those_of_rfc_3339(capsys: pytest.CaptureFixture[str]) -> None:
    logs.to_stderr(machine=True)
    log.info("told")
    time = json.loads(capsys.readouterr().err)["time"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time)
    assert datetime.fromisoformat(time).tzinfo is not None


@pytest.mark.parametrize(
    ("value", "kept"),
    [(True, True), (3, 3), (0.5, 0.5), (float("nan"), "nan"), (b"\xff", "b'\\xff'"), (["a"], "['a']")],
)
def test_values_are_those_of_json(capsys: pytest.CaptureFixture[str], value: Any, kept: Any) -> None:
    logs.to_stderr(machine=True)
    log.info("told", value=value, nothing=None, level="forged", time="forged")
    told = json.loads(capsys.readouterr().err, parse_constant=pytest.fail)
    assert told["value"] == kept
    assert "nothing" not in told
    assert told["level"] == "info"
    assert told["time"] != "forged"


def test_what_is_none_is_left_out_for_people_too() -> None:
    assert logs.text_of("told", {"a": None, "b": 0}) == "told b=0"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:secret@host:6379/0?x=secret#secret", "redis://host:6379/0"),
        ("redis://host", "redis://host"),
        ("redis://:sec/ret?a@host/0", "redis://host/0"),
        ("redis://:secret@[::1", "redis://[::1"),
        (":secret@host:6379", "host:6379"),
        ("celery+amqp://a:secret@one//;amqp://b:secret@two//", "celery+amqp://two//"),
        ("nonsense", "nonsense"),
        ("", ""),
    ],
)
def test_no_password_is_shown_of_what_was_given_for_a_url(url: str, shown: str) -> None:
    assert logs.without_password(url) == shown
