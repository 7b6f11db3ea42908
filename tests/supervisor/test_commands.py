"""Executables: their arguments, their input, and what their end means."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.supervisor.bench import Bench

from etagere.core.representation import Kind
from etagere.supervisor.attempt import Crashed
from etagere.supervisor.child import command_line

pytestmark = pytest.mark.anyio

HOSTILE = ["; rm -rf /", "$(touch x)", "`id`", "--help", "-", "a b\tc\nd", "*", "'\"", "{number}", "ünï 日本", ""]


@pytest.mark.parametrize("text", HOSTILE)
async def test_a_value_stays_one_argument_as_it_is(bench: Bench, text: str) -> None:
    outcome = await bench.run("arguments", text=text, number=1e-7, many=[0.5, 2.0])
    assert outcome.path is not None, outcome
    assert json.loads(outcome.path.read_bytes()) == [text, "--n=1e-7", "[0.5,2.0]", ""]


async def test_the_parameters_are_its_standard_input_and_the_result_its_output(bench: Bench) -> None:
    outcome = await bench.run("copy", text="a", number=2.5)
    assert outcome.path is not None
    assert outcome.media_type == "application/octet-stream"
    assert outcome.path.read_bytes() == b'{"text":"a","number":2.5}'


async def test_an_exit_code_is_failed_and_what_it_said_is_kept(bench: Bench) -> None:
    outcome = await bench.run("failing")
    assert (outcome.kind, outcome.detail, outcome.output) == (Kind.failed, "exit status 3", "oops\n")


async def test_a_signal_is_a_crash(bench: Bench) -> None:
    with pytest.raises(Crashed, match="signal 9"):
        await bench.run("killed")


async def test_a_program_that_is_not_there_is_failed(bench: Bench) -> None:
    outcome = await bench.run("missing")
    assert (outcome.kind, outcome.detail) == (Kind.failed, "the command cannot be executed")
    assert "no-such-program" in outcome.traceback


async def test_it_may_name_its_result_and_report_progress(bench: Bench) -> None:
    told: list[tuple[float, str]] = []
    outcome = await bench.run(
        "declaring", report=lambda *news: told.append(news) is None, media_type="text/csv; header=absent"
    )
    assert outcome.path is not None
    assert (outcome.media_type, outcome.path.read_bytes()) == ("text/csv; header=absent", b"1,2")
    assert told == [(0.25, "half")]


async def test_its_media_type_may_not_contradict_the_declared_one(bench: Bench) -> None:
    outcome = await bench.run("contradicting", media_type="image/png")
    assert outcome.kind is Kind.failed
    assert "declared as image/png" in outcome.detail


async def test_its_media_type_must_be_declared(bench: Bench) -> None:
    outcome = await bench.run("declaring")
    assert outcome.kind is Kind.failed
    assert outcome.detail == ('the run says that its result is text/csv; declare media_type="text/csv" on the command')
    assert bench.left() == []


async def test_what_it_says_may_be_what_is_meant_anyway(bench: Bench) -> None:
    outcome = await bench.run("declaring_bytes")
    assert (outcome.kind, outcome.media_type) == (Kind.succeeded, "application/octet-stream")


@pytest.mark.parametrize("command", ["blocking", "blocking_and_naming"])
async def test_a_result_whose_place_is_taken_is_a_failure(bench: Bench, command: str) -> None:
    outcome = await bench.run(command)
    assert (outcome.kind, outcome.detail.partition(" that")[0]) == (Kind.failed, {
        "blocking": "the result is not a regular file", "blocking_and_naming": "the result",
    }[command])  # fmt: skip
    assert bench.left() == []


async def test_a_result_outside_its_directory_is_not_taken(bench: Bench) -> None:
    outcome = await bench.run("escaping")
    assert (outcome.kind, outcome.detail) == (
        Kind.failed,
        "the result that the run named is not a regular file of its own",
    )


async def test_it_may_refuse(bench: Bench) -> None:
    outcome = await bench.run("declining")
    assert (outcome.kind, outcome.detail) == (Kind.refused, "not today")


async def test_events_of_no_known_shape_are_ignored(bench: Bench) -> None:
    told: list[tuple[float, str]] = []
    outcome = await bench.run("babbling", report=lambda *news: told.append(news) is None)
    assert outcome.path is not None, outcome
    assert outcome.path.read_bytes() == b"fine\n"
    assert told == [(1.0, "")]


async def test_a_result_that_grows_too_large_is_stopped(bench: Bench) -> None:
    outcome = await bench.run("pouring")
    assert (outcome.kind, outcome.detail) == (Kind.failed, "the result has more than 4194304 bytes")
    assert bench.left() == []


TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.dictionaries(st.from_regex(r"[a-z]{1,3}", fullmatch=True), TEXT))
def test_texts_are_filled_in_once_and_exactly(values: dict[str, str]) -> None:
    parameters = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    argv = ("program", *(f"<{{{name}}}>" for name in values), "{ print $1 }")
    assert command_line(argv, tuple(values), parameters) == [
        "program",
        *(f"<{text}>" for text in values.values()),
        "{ print $1 }",
    ]


def test_numbers_and_structures_are_written_as_they_are() -> None:
    parameters = '{"a":1e+21,"b":[1.50,{"c":null}],"d":null,"e":true}'
    argv = ("{a}", "{a}", "{b}", "{d}", "{e}", "{f}")
    assert command_line(argv, ("a", "b", "d", "e", "f"), parameters) == [
        "{a}", "1e+21", '[1.50,{"c":null}]', "", "true", "",
    ]  # fmt: skip
