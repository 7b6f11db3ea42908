"""What a Python function returns, raises and does, and what becomes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.supervisor.bench import MIB, Bench, supervising

from etagere.core.representation import Kind, Outcome
from etagere.supervisor.attempt import Crashed

pytestmark = pytest.mark.anyio


def result(outcome: Outcome) -> Any:
    assert outcome.kind is Kind.succeeded, outcome
    assert outcome.path is not None
    assert outcome.media_type == "application/json"
    return json.loads(outcome.path.read_bytes())


async def test_a_dictionary_is_json_in_its_order(bench: Bench) -> None:
    outcome = await bench.run("double", x=1.5)
    assert result(outcome) == {"x": 1.5, "double": 3.0}
    assert outcome.path is not None
    assert outcome.path.read_bytes() == b'{"x":1.5,"double":3.0}'
    assert 0 < outcome.seconds < 60
    assert bench.left() == [bench.path().name]


async def test_a_run_has_a_directory_an_environment_and_a_group_of_its_own(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = result(await bench.run("surroundings"))
    work = bench.path() / "work"
    assert told["cwd"] == told["environment"]["RUN_DIR"] == str(work)
    assert told["leader"]
    assert told["stdin"] == ""
    assert (work / "scratch").read_text() == "mine"
    assert told["environment"]["OMP_NUM_THREADS"] == "1"
    assert told["environment"]["PYTHONHASHSEED"] == "0"


async def test_the_services_settings_do_not_reach_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETAGERE_PORT", "1")
    async with supervising("assorted", tmp_path) as bench:
        assert result(await bench.run("surroundings"))["environment"]["ETAGERE_PORT"] is None


async def test_arrays_are_lists(bench: Bench) -> None:
    assert result(await bench.run("array", n=3)) == {"x": [0.0, 1.0, 2.0], "strided": [0, 2, 4], "mean": 0.5}


async def test_bytes_have_the_declared_media_type(bench: Bench) -> None:
    outcome = await bench.run("table", rows=2, media_type="text/csv")
    assert outcome.path is not None
    assert (outcome.media_type, outcome.path.read_bytes()) == ("text/csv", b"a,b\n1,2\n1,2\n")


async def test_a_file_of_the_run_becomes_the_result(bench: Bench) -> None:
    outcome = await bench.run("file", media_type="text/plain")
    assert outcome.path == bench.path() / "result"
    assert outcome.path.read_text() == "written"


async def test_a_link_out_of_the_directory_is_no_result(bench: Bench) -> None:
    outcome = await bench.run("symlink", media_type="text/plain")
    assert outcome.kind is Kind.failed
    assert "not a regular file inside RUN_DIR" in outcome.detail


async def test_a_link_in_the_results_place_is_no_result(bench: Bench) -> None:
    outcome = await bench.run("writing_result_first")
    assert (outcome.kind, outcome.detail) == (Kind.failed, "the result is not a regular file")


async def test_a_refusal_is_told(bench: Bench) -> None:
    outcome = await bench.run("refusing", x=2.0)
    assert (outcome.kind, outcome.detail, outcome.path) == (Kind.refused, "2.0 is too much", None)
    assert bench.left() == []


async def test_an_exception_is_failed_and_its_text_the_operators(bench: Bench) -> None:
    outcome = await bench.run("raising")
    assert (outcome.kind, outcome.detail) == (Kind.failed, "ValueError")
    assert outcome.traceback.startswith("Traceback")
    assert outcome.traceback.endswith("ValueError: a secret of the owner\n")
    assert "etagere/supervisor" not in outcome.traceback
    assert bench.left() == []


async def test_sys_exit_is_failed_even_with_zero(bench: Bench) -> None:
    outcome = await bench.run("exiting")
    assert (outcome.kind, outcome.detail) == (Kind.failed, "SystemExit")


@pytest.mark.parametrize("status", [0, 3])
async def test_a_process_that_ends_without_a_word_has_crashed(bench: Bench, status: int) -> None:
    with pytest.raises(Crashed, match="without a result") as crash:
        await bench.run("vanishing", status=status)
    assert crash.value.output == "last words\n"
    assert bench.left() == []


async def test_a_signal_is_a_crash(bench: Bench) -> None:
    with pytest.raises(Crashed, match="signal 11") as crash:
        await bench.run("segfaulting")
    assert crash.value.output == "about to read nothing\n"


async def test_a_number_that_is_not_finite_is_named(bench: Bench) -> None:
    outcome = await bench.run("not_finite")
    assert outcome.kind is Kind.failed
    assert outcome.detail.startswith("temperature[3] is not a finite number")


async def test_setup_is_done_once_and_every_run_has_it_unchanged(bench: Bench) -> None:
    assert result(await bench.run("setup_data")) == [1, 2, 3, 4]
    assert result(await bench.run("setup_data", id="b")) == [1, 2, 3, 4]


async def test_fresh_and_threads_get_a_new_interpreter(bench: Bench) -> None:
    assert result(await bench.run("renewed")) == {"table": [1, 2, 3], "main": True, "threads": "1"}
    assert result(await bench.run("threaded", id="b")) == "2"


async def test_threads_left_after_import_mean_new_interpreters(tmp_path: Path) -> None:
    async with supervising("threads_left", tmp_path) as bench:
        assert result(await bench.run("own_import", factor=2)) == {"table": [2, 4, 6], "own": True}


async def test_progress_is_reported_as_it_comes_and_throttled(bench: Bench) -> None:
    told: list[tuple[float, str]] = []
    outcome = await bench.run("stepping", steps=100_000, report=lambda *news: told.append(news) is None)
    assert result(outcome) == 100_000
    assert told[-1] == (1.0, "stepping")
    assert 1 <= len(told) <= 12 + 11 * outcome.seconds
    assert [fraction for fraction, _ in told] == sorted(fraction for fraction, _ in told)


async def test_a_model_may_close_what_it_finds_open(bench: Bench) -> None:
    told: list[str] = []
    assert result(await bench.run("closing_everything", report=lambda _, text: told.append(text) is None)) == "done"
    assert told == ["without descriptors"]


async def test_a_directory_without_rights_is_removed_all_the_same(bench: Bench) -> None:
    assert (await bench.run("locking_itself_out")).kind is Kind.failed
    assert bench.left() == []


async def test_what_an_earlier_attempt_left_is_replaced(bench: Bench) -> None:
    stale = bench.path()
    stale.mkdir()
    (stale / "result").write_text("stale")
    assert result(await bench.run("double", x=2.0))["double"] == 4.0


async def test_printing_is_echoed_and_the_end_of_it_kept(tmp_path: Path) -> None:
    heard = bytearray()
    async with supervising("assorted", tmp_path, echo=heard.extend) as bench:
        outcome = await bench.run("printing", mebibytes=1)
    assert len(heard) == MIB + len("the end\n")
    assert len(outcome.output) == 65536
    assert outcome.output.endswith("-\nthe end\n")


async def test_a_small_result_is_known_before_its_process_is_gone(bench: Bench) -> None:
    async with bench.running("process", padding=0) as outcome:
        pid, _ = result(outcome)
        assert not gone(pid)
    assert gone(pid)
    assert bench.left() == [bench.path().name]


@pytest.mark.parametrize(("model", "given"), [("process", {"padding": 100_000}), ("counted_process", {})])
async def test_a_large_result_or_one_of_a_counted_run_is_known_when_its_process_is_gone(
    bench: Bench, model: str, given: dict[str, Any]
) -> None:
    async with bench.running(model, **given) as outcome:
        assert gone(result(outcome)[0])


async def test_a_run_that_says_too_soon_that_it_is_done_goes_on(bench: Bench) -> None:
    assert result(await bench.run("done_too_soon", result=False)) == [2]


async def test_a_run_with_a_result_that_does_not_end_is_ended(bench: Bench) -> None:
    assert result(await bench.run("done_too_soon", result=True)) == [1]


async def test_what_fails_while_the_outcome_is_handed_over_ends_the_process(bench: Bench) -> None:
    pids: list[int] = []

    async def fail() -> None:
        async with bench.running("process", padding=0) as outcome:
            pids.append(result(outcome)[0])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert gone(*pids)


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()
