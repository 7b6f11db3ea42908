"""The Dockerfile: what can be said of it without an engine. hadolint looks at it in judges/."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
from tests.harness import Server

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "Dockerfile"
LINES = [
    line.split(None, 1)
    for line in re.sub(r"\\\n", "", re.sub(r"^#.*\n", "", FILE.read_text(), flags=re.MULTILINE)).splitlines()
    if line
]
STARTS = [index for index, (word, _) in enumerate(LINES) if word == "FROM"]
BUILD, LAST = LINES[STARTS[0] : STARTS[1]], LINES[STARTS[1] :]


def said(stage: list[list[str]], word: str) -> list[str]:
    return [rest for given, rest in stage if given == word]


def test_both_stages_have_one_base_with_its_version() -> None:
    bases = [rest.partition(" AS ")[0] for rest in said(LINES, "FROM")]
    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.\d+-slim-[a-z]+", bases[0])


def test_the_last_stage_builds_nothing_and_is_nobody_else() -> None:
    assert not re.search(r"\b(pip|apt|apt-get|gcc|wheel)\b", " ".join(said(LAST, "RUN")))
    assert all(rest.startswith("--from=build /opt/etagere ") for rest in said(LAST, "COPY"))
    [user] = said(LAST, "USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), "a number, by which an engine can tell that it is not root"
    words = [word for word, _ in LAST]
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert said(LAST, "VOLUME") == ["/data"]


def test_everything_that_is_installed_has_its_hash_or_comes_from_the_checkout() -> None:
    installs = re.findall(r"pip\b[^&]*? install ([^&]*)", " ".join(said(BUILD, "RUN")))
    assert len(installs) == 3
    assert all("--require-hashes" in words or "--no-index" in words for words in installs)
    assert all("--no-deps" in words for words in installs)


def test_what_is_copied_is_there_and_let_through() -> None:
    through = [
        line[1:] for line in (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().splitlines() if line[0] == "!"
    ]
    copied = [word for rest in said(BUILD, "COPY") for word in rest.split()[:-1]]
    assert "src" in copied
    for name in copied:
        assert (ROOT / name).exists()
        assert any(fnmatch(name, allowed) or name.startswith(f"{allowed}/") for allowed in through), name
    assert {name.split("/")[0] for name in copied} == set(through)


[PROGRAM] = json.loads(said(LAST, "ENTRYPOINT")[0])
ETAGERE = str(Path(sys.executable).with_name(Path(PROGRAM).name))


def command(data: Path, **more: str) -> list[str]:
    """What a container starts, on a free port, with this data and `more` changes."""
    given = json.loads(said(LAST, "CMD")[0])
    models = str(ROOT / "tests" / "models" / "access.py")
    places = {"/models/models.py": models, "/data": str(data), **more}
    assert set(places) <= set(given)
    return [ETAGERE, *(places.get(word, word) for word in given), "--port", "0"]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """On loopback."""
    with Server(command(tmp_path_factory.mktemp("data"), **{"0.0.0.0": "127.0.0.1"})) as service:
        yield service


def healthy(service: Server) -> int:
    """The exit status of the health check."""
    [check] = said(LAST, "HEALTHCHECK")
    program, *arguments = json.loads(check.partition(" CMD ")[2])
    assert program == "/opt/etagere/bin/python"
    command = [sys.executable, *(word.replace("127.0.0.1:8000", service.netloc) for word in arguments)]
    return subprocess.run(command, capture_output=True, timeout=60).returncode


def test_its_command_serves_and_its_health_check_tells(service: Server) -> None:
    assert healthy(service) == 0
    assert service.stop() == 0
    assert healthy(service) == 1


def test_it_listens_on_all_addresses_once_there_is_a_key(tmp_path: Path) -> None:
    refused = subprocess.run(command(tmp_path), capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2
    assert "etagere keys add" in refused.stderr
    add = [ETAGERE, "keys", "add", "laboratory", "--data", str(tmp_path)]
    key = subprocess.run(add, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    with Server(command(tmp_path)) as service:
        assert "http://0.0.0.0:" in service.printed.decode()
        assert service.get("/keyed?x=1").status == 401
        assert service.get("/keyed?x=1", Authorization=f"Bearer {key}").status == 202
