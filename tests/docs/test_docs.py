"""The documents are run as they stand.

* A Python block whose first line is `# name.py` becomes that file; any other is executed.
* The commands of a console block (`$ …`) are run, and each line shown below one must stand in its answer.
  `...` stands for anything, and the numbers in fields that tell the time for any number.
* `serve` and `uvicorn` go on in the background, on a free port in the place of 8000 or of the one that is said; one at
  a time, unless they share a store. So do `worker`, `collect`, Celery workers and workers of one's own.
* `valkey-server` begins a store on a free port in the place of 6379.
* A command that asks for what was asked for before is repeated while the run is pending and another answer is shown, as
  a client would. Whoever asks first has to be shown what comes first.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser
from tests.harness import Server
from tests.valkey import Store

from etagere import errors
from etagere.config import Settings
from etagere.options import Options

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
TIMED = ("run-status:", "retry-after:", "server-timing:", "date:")
BIN = Path(sys.executable).parent
PATIENCE_S = 60.0
SERVED = re.compile(r"etagere serve|uvicorn")
BESIDE = re.compile(r"etagere (?:worker|collect)|celery|python \w+_worker\.py")
TARGET = re.compile(r"http://[^/\s]+(/[^'\"\s]*)")
STORED = re.compile(r"valkey-server --port \d+(?P<options>.*)")


class Reader:
    """Somebody who tries what a document says, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.service: Server | None = None
        self.addresses: dict[str, str] = {}
        self.store: Store | None = None
        self.beside: list[subprocess.Popen[bytes]] = []
        self.asked: set[str] = set()

    def python(self, example: Example) -> None:
        source = str(example.parsed)
        if file := re.match(r"# (\w+\.py)\n", source):
            (self.folder / file[1]).write_text(self._ours(source))
            return
        place = f"{Path(example.path).name}, block of line {example.line}"
        exec(compile(self._ours(source), place, "exec", dont_inherit=True), example.namespace)

    def console(self, example: Example) -> str | None:
        for written, lines in exchanges(str(example.parsed)):
            answer = self._begin(written, bool(lines))
            command, shown = self._ours(written), [self._ours(line) for line in lines]
            answer = self._ask(command, shown) if answer is None else answer
            if lacking := missing(shown, answer):
                return f"$ {command}\n\nshown, and not in the answer:\n{lacking}\n\nthe answer:\n{answer}"
        return None

    def leave(self) -> None:
        """Stop all that was begun."""
        for process in self.beside:
            process.terminate()
            process.communicate(timeout=30)
        self.beside.clear()
        if self.service is not None:
            self.service.stop()
            self.service = None
        if self.store is not None:
            self.store.stop()
            self.store = None

    def _ours(self, text: str) -> str:
        """The text with the addresses of what was begun in the place of those that documents name."""
        return re.sub(r"127\.0\.0\.1:\d+", lambda found: self.addresses.get(found[0], found[0]), text)

    def _begin(self, command: str, tells: bool) -> str | None:
        """What was said by what goes on; None where this is a command that ends."""
        if stored := STORED.match(command):
            # Examples that follow each other have one each.
            self.leave()
            self.store = Store(self.folder / "store", *shlex.split(stored["options"])).start()
            self.addresses["127.0.0.1:6379"] = f"127.0.0.1:{self.store.port}"
            return ""
        if SERVED.match(command):
            return self._serve(self._ours(command))
        return self._host(self._ours(command), tells) if BESIDE.match(command) else None

    def _serve(self, command: str) -> str:
        if self.store is None:
            # The one before holds the data directory.
            self.leave()
        elif self.service is not None:
            self.beside.append(self.service.process)  # type: ignore[arg-type]
        module = [sys.executable, "-m", *shlex.split(command), "--port", "0"]
        self.service = Server(module, {"PYTHONUNBUFFERED": "1"}, self.folder).start()
        said = re.search(r"--port (\d+)", command)
        self.addresses[f"127.0.0.1:{said[1] if said else 8000}"] = self.service.netloc
        return self.service.printed.decode()

    def _host(self, command: str, tells: bool) -> str:
        program, *arguments = shlex.split(command)
        module = [] if program == "python" else ["-m", program]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(
            [sys.executable, *module, *arguments],
            cwd=self.folder, env=environment, stdout=subprocess.PIPE if tells else None,
        )  # fmt: skip
        self.beside.append(process)
        return process.stdout.readline().decode() if process.stdout else ""

    def _ask(self, command: str, shown: list[str]) -> str:
        targets = set(TARGET.findall(command))
        deadline = time.monotonic() + (PATIENCE_S if targets & self.asked else 0)
        self.asked |= targets
        answer = self._run(command)
        while "run-status:" in answer and missing(shown, answer) and time.monotonic() < deadline:
            time.sleep(0.2)
            answer = self._run(command)
        return answer

    def _run(self, command: str) -> str:
        environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env=environment, capture_output=True, text=True, timeout=60
        )
        return f"{done.stdout}\n{done.stderr}"


def exchanges(block: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a console block, each with the lines shown below it."""
    for exchange in re.split(r"^\$ ", re.sub(r"\\\n *", "", block), flags=re.MULTILINE)[1:]:
        command, *shown = exchange.strip().splitlines()
        yield command, [line for line in shown if line]


def missing(shown: list[str], answer: str) -> str:
    """The lines that are shown and do not stand in the answer."""
    given = answer.splitlines()
    return "\n".join(line for line in shown if not any(pattern(line).fullmatch(other) for other in given))


def pattern(line: str) -> re.Pattern[str]:
    """What a line that is shown stands for."""
    text = re.escape(line).replace(re.escape("..."), ".*")
    return re.compile(re.sub(r"\d+(\\\.\d+)?", r"[0-9.]+", text) if line.startswith(TIMED) else text)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path)
    yield reader
    reader.leave()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_shows_is_what_happens(path: Path, reader: Reader) -> None:
    parsers = [CodeBlockParser("python", reader.python), CodeBlockParser("console", reader.console)]
    document = Sybil(parsers, path=str(ROOT), filenames=[path.name]).parse(path)
    document.namespace["__name__"] = "documented"
    for example in document.examples():
        example.evaluate()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_links_only_to_what_is_there(path: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text())
    assert [target for target in targets if not (path.parent / target).exists()] == []


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("operating.md", set(Settings.model_fields)),
        ("models.md", {"version", "name", "latest", *(field.name for field in dataclasses.fields(Options))}),
        ("conversation.md", {problem.type for problem in vars(errors).values() if hasattr(problem, "type")}),
    ],
)
def test_every_name_that_can_be_met_is_on_its_page(page: str, names: set[str]) -> None:
    text = (ROOT / "docs" / page).read_text()
    assert {name for name in names if f"`{name}`" not in text} == set()


def test_the_loop_of_the_readme_does_not_pass_an_error_off_as_the_result(reader: Reader) -> None:
    readme = (ROOT / "README.md").read_text()
    [source] = re.findall(r"^```python\n(# rod\.py\n.*?)^```", readme, re.MULTILINE | re.DOTALL)
    (reader.folder / "rod.py").write_text(source)
    reader._serve("etagere serve rod.py")
    blocks = re.findall(r"^```console\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    [loop] = [command for block in blocks for command, _ in exchanges(block) if "while curl" in command]
    loop = reader._ours(loop.replace("alpha=0.3", "alpha=0.7"))
    done = subprocess.run(["sh", "-c", loop], cwd=reader.folder, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (22, "")
    assert "422" in done.stderr


def test_the_client_of_the_readme_asks_again_where_there_is_no_room(reader: Reader) -> None:
    readme = (ROOT / "README.md").read_text()
    model, client = re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    (reader.folder / "rod.py").write_text(model)
    (reader.folder / "etagere.toml").write_text('quota = "1/min"\n')
    reader._serve("etagere serve rod.py")
    found: dict[str, Any] = {"__name__": "documented"}
    exec(compile(client.partition("\nassert ")[0], "README.md", "exec"), found)
    slept: list[int] = []

    def make_room(seconds: int) -> None:
        slept.append(seconds)
        time.sleep(0.1)
        reader._run("etagere drain --off")

    found["sleep"] = make_room
    assert "Draining" in reader._run("etagere drain")
    assert found["fetch"](reader._ours("http://127.0.0.1:8000/heat?alpha=0.1")).startswith(b'{"x":[0.0,')
    assert slept[0] == 30

    def come_again(seconds: int) -> None:
        assert 1 < seconds <= 60
        raise InterruptedError

    found["sleep"] = come_again
    with pytest.raises(InterruptedError):
        found["fetch"](reader._ours("http://127.0.0.1:8000/heat?alpha=0.2"))
    with pytest.raises(HTTPError, match="400"):
        found["fetch"](reader._ours("http://127.0.0.1:8000/heat?alpha=much"))


def test_a_transcript_that_is_not_true_is_noticed(reader: Reader) -> None:
    block = '$ printf \'etag: "a"\\nretry-after: 2\\n\'\netag: "b"\nretry-after: 1\n'
    [(command, shown)] = exchanges(block)
    assert missing(shown, reader._run(command)) == 'etag: "b"'
