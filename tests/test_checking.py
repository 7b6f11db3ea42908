"""`etagere check`, on models that each have one fault, and on the examples."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DOUBTFUL = Path(__file__).parent / "models" / "doubtful.py"
EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


def check(target: Path, *models: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "etagere", "check", str(target), *models]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, cwd=cwd)


@pytest.fixture(scope="module")
def checked() -> subprocess.CompletedProcess[str]:
    return check(DOUBTFUL)


def said(of: subprocess.CompletedProcess[str], model: str) -> str:
    """The findings of a model, with their advice."""
    blocks = re.findall(r"^\S.*\n(?: .*\n)*", of.stdout, re.MULTILINE)
    return "".join(block for block in blocks if block.startswith(f"{model}@1"))


def test_what_is_well_is_one_line_for_each_example(checked: subprocess.CompletedProcess[str]) -> None:
    well = ["steady@1 x=1.0: ok: 13 bytes, the same twice", "steady@1 x=2.0: ok: 13 bytes, the same twice"]
    assert said(checked, "steady").splitlines() == [*well, well[0]]
    assert said(checked, "declared_threads").startswith("declared_threads@1 x=1.0: ok: ")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("by_seed", r'first at names\[\d\]: "[a-z]+", then "[a-z]+"'),
        ("by_order", r"first at inner: names in the order "),
        ("by_threads", r"first at sums\[1\]\.total: 1, then 2"),
        ("by_threads_of_its_own", r"first at threads: 1, then 2"),
        ("by_time", r"first at byte [45]: b'.*' of \d+ bytes, then b'.*' of \d+ bytes"),
        ("by_pid", r'first at line 3, column "b,c": "\d+", then "\d+"'),
        ("by_directory", r"first at byte 3: b'in first/' of 9 bytes, then b'in second/' of 10 bytes"),
        ("table", r'first at row 3, column "size \(m\)": 1\.0, then 2\.0'),
        ("types", r"first at byte \d+: b'"),
    ],
)
def test_the_first_difference_is_named(checked: subprocess.CompletedProcess[str], model: str, words: str) -> None:
    found = said(checked, model)
    assert re.search(f"{model}@1 x=1.0: failed: the two runs gave other bytes, {words}", found), found
    assert "hash seed" in found


def test_the_second_run_begins_two_seconds_after_the_first() -> None:
    # Alone, so that nothing else takes this time.
    times = re.search(
        r"first at the document: ([\d.]+), then ([\d.]+)\n", said(check(DOUBTFUL, "by_clock"), "by_clock")
    )
    assert times is not None
    assert float(times[2]) - float(times[1]) >= 2


@pytest.mark.parametrize(
    ("model", "words", "advice"),
    [
        ("nameless", "failed: the result is not JSON: a object has no form in JSON", ""),
        ("endless", "failed: values[1] is not a finite number", ""),
        ("no_picture", "failed: the result is declared as image/png, and it begins with b'<svg/>'", "media_type"),
        ("no_json", "failed: the result is declared as application/geo+json, and it cannot be read as JSON", ""),
        ("slow", "failed: it took more than 0.3 s", "time_limit"),
        ("crashing", "failed: it crashed: its process was ended by signal 9", ""),
        ("failing_later", "failed: only the second run did not succeed: ValueError", "too many threads"),
        ("refusing", "warning: it is refused: not today", "what can be computed"),
        ("refusing_later", "failed: the two runs ended otherwise: a result, then refused: not twice", "hash seed"),
        ("silent", "warning: it has no docstring", ""),
        ("silent", "warning: parameters without a description: width\n", 'description="'),
        ("silent", "warning: parameters without a unit: depth\n", "(m)"),
        ("silent", "warning: it has no examples", 'examples=[{"width": …, "depth": …}]'),
    ],
)
def test_what_would_go_wrong_is_told_with_what_to_do(
    checked: subprocess.CompletedProcess[str], model: str, words: str, advice: str
) -> None:
    found = said(checked, model)
    assert f": {words}" in found
    assert advice in found


def test_the_exit_status_is_1_where_something_failed(checked: subprocess.CompletedProcess[str]) -> None:
    assert (checked.returncode, checked.stderr) == (1, "")
    assert not re.search("all models", checked.stdout)


def test_a_choice_of_models_and_warnings_alone(tmp_path: Path) -> None:
    done = check(DOUBTFUL, "silent", "refusing@1", cwd=tmp_path)
    assert done.returncode == 0
    assert {line.partition("@")[0] for line in done.stdout.splitlines() if line[0] != " "} == {"silent", "refusing"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("raise ValueError('no')", "does not import: ValueError: no"),
        ("import etagere\napp = etagere.Etagere()", "doubt"),
    ],
)
def test_what_cannot_start_is_2(tmp_path: Path, source: str, words: str) -> None:
    target = tmp_path / "target.py"
    target.write_text(source)
    done = check(target, "doubt")
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr.splitlines()[-1]


THREADED = """
import os
import threading
import etagere

app = etagere.Etagere()
threading.Thread(target=threading.Event().wait, name="keeper", daemon=True).start()


@app.model(version="1", examples=[{}])
def threads() -> str:
    \"\"\"How many there are to be.\"\"\"
    return os.environ["OMP_NUM_THREADS"]
"""


def test_threads_that_an_import_leaves_are_named(tmp_path: Path) -> None:
    target = tmp_path / "threaded.py"
    target.write_text(THREADED)
    done = check(target)
    assert done.stdout.startswith("all models: warning: importing them and their setup leave threads: keeper\n    ")
    assert 'first at the document: "1", then "2"' in said(done, "threads"), "new interpreters have other numbers too"
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("file", [path for path in EXAMPLES if "etagere.Etagere()" in path.read_text()], ids=str)
def test_the_examples_are_well(file: Path) -> None:
    if file.stem == "circuit" and shutil.which("ngspice") is None:
        pytest.skip("the ngspice program is not installed")
    done = check(file)
    assert done.returncode == 0, done.stdout
    assert {line.split(": ")[1] for line in done.stdout.splitlines()} == {"ok"}
