"""The command, as a person calls it."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import apsw
import pytest
from tests.harness import Server
from tests.valkey import free_port
from typer.testing import CliRunner

from etagere import cli
from etagere.core.canonical import resource_id

MODELS = Path(__file__).parent / "models" / "conversation.py"
MODEL = '''
import etagere
app = etagere.Etagere()

@app.model(version="1")
def area(radius: float) -> float:
    """Area."""
    print("thinking")
    return 3 * radius**2
'''


def etagere(*arguments: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "etagere", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, cwd=cwd, check=False, env={**os.environ, **env}
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "shapes.py"
    path.write_text(MODEL)
    return path


def test_help_teaches() -> None:
    for command in ([], ["run"], ["check"], ["id"], ["doctor"], ["worker"], ["collect"]):
        done = CliRunner().invoke(cli.app, [*command, "--help"])
        assert (done.exit_code, "Usage:" in done.stdout) == (0, True)
    assert "TARGET" in etagere("serve", "--help").stdout


@pytest.mark.parametrize(
    ("command", "defaults"),
    [
        ("serve", ["127.0.0.1", "8000", "etagere.toml", ".etagere", "the number of cores"]),
        ("worker", ["the setting", "the number of cores", "those of the models", "a new one"]),
        ("collect", ["the setting", "a new directory"]),
        ("check", ["all"]),
        ("doctor", ["etagere.toml", ".etagere"]),
    ],
)
@pytest.mark.parametrize("rich", ["0", "1"])
def test_help_tells_the_defaults(command: str, defaults: list[str], rich: str) -> None:
    shown = " ".join(etagere(command, "--help", COLUMNS="200", TYPER_USE_RICH=rich).stdout.split())
    assert re.findall(r"\[default: \(?(.*?)\)?\]", shown) == defaults


def test_the_version_is_told() -> None:
    done = etagere("--version")
    assert (done.returncode, done.stdout) == (0, f"etagere {version('etagere')}\n")


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ("", "Serving no models (in a browser: {url}/)\n"),
        ("area", "Serving {url}/area (in a browser: {url}/-/models/area)\n"),
        ("area side", "Serving {url}/area, {url}/side (in a browser: {url}/)\n"),
    ],
)
def test_the_first_line_says_where_the_models_are(tmp_path: Path, models: str, said: str) -> None:
    file = tmp_path / "shapes.py"
    declared = (f"@app.model(version='1')\ndef {name}(x: float) -> float:\n    return x\n" for name in models.split())
    file.write_text("import etagere\napp = etagere.Etagere()\n" + "".join(declared))
    with Server.serve(file, tmp_path / "data") as server:
        assert server.printed.decode() == said.format(url=server.url)
        page = server.printed.decode().rpartition(" ")[2].rstrip(")\n")
        answer = server.get(page.removeprefix(server.url), Accept="text/html")
        assert (answer.status, answer["Content-Type"]) == (200, "text/html; charset=utf-8")


def test_id_prints_the_canonical_uri_and_the_id(file: Path) -> None:
    done = etagere("id", str(file), "area", "-p", "radius=2.50")
    assert done.stdout.split() == ["/area@1?radius=2.5", resource_id("/area@1?radius=2.5")]


def test_run_writes_the_result_alone_to_standard_output(file: Path) -> None:
    done = etagere("run", f"{file}:app", "area", "-p", "radius=2")
    assert (done.returncode, json.loads(done.stdout)) == (0, 12.0)
    assert "thinking" in done.stderr


def test_run_gives_the_bytes_that_the_server_serves(file: Path, tmp_path: Path) -> None:
    with Server.serve(file, tmp_path / "data") as server:
        served = server.result("/area?radius=0.3").body
    assert etagere("run", str(file), "area", "-p", "radius=0.3").stdout.encode() == served


def test_run_shows_the_whole_traceback(tmp_path: Path) -> None:
    done = etagere("run", str(MODELS), "failing", "-p", "x=1", cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert "ValueError: secret" in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / ".etagere").exists()


def test_run_of_what_is_refused_or_crashes(tmp_path: Path) -> None:
    refused = etagere("run", str(MODELS), "refusing", "-p", "x=1")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "refused: 1 is <b>not</b> wanted" in refused.stderr
    crashed = etagere("run", str(MODELS), "crashing", "-p", "x=1")
    assert crashed.returncode == 2
    assert "signal 11" in crashed.stderr


def test_every_fault_of_the_parameters_is_named(file: Path) -> None:
    done = etagere("id", str(file), "area", "-p", "radius=1_0", "-p", "colour=red")
    assert done.returncode == 2
    assert "radius:" in done.stderr
    assert "colour:" in done.stderr
    assert "etagere: 2 faults in the parameters:" in done.stderr
    assert "etagere: 1 fault in the parameters:" in etagere("id", str(file), "area").stderr
    assert "NAME=VALUE" in etagere("id", str(file), "area", "-p", "radius").stderr


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("nothing.py", "There is no file nothing.py"),
        ("no_such_module", "There is no module 'no_such_module'"),
        ("shapes.py:nothing", "no application called 'nothing'"),
        ("json", "must have one etagere.Etagere()"),
        ("broken.py", "broken.py does not import: ZeroDivisionError: division by zero"),
        ("syntax.py", "syntax.py does not import: SyntaxError"),
        ("wrong.py", "wrong.py: "),
    ],
)
def test_a_target_that_cannot_be_served_is_one_clear_line(file: Path, target: str, said: str) -> None:
    folder = file.parent
    (folder / "broken.py").write_text("x = 1\n\ny = x / 0\n")
    (folder / "syntax.py").write_text("def broken(:\n")
    (folder / "wrong.py").write_text(
        "import etagere\napp = etagere.Etagere()\n@app.model(version='1')\ndef m(x): return x\n"
    )
    done = etagere("serve", target, "--port", "0", cwd=folder)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("etagere: ")
    assert said in done.stderr.splitlines()[-1]


def test_where_an_import_fails_is_told(file: Path) -> None:
    (file.parent / "broken.py").write_text("x = 1\n\ny = x / 0\n")
    done = etagere("serve", "broken.py", cwd=file.parent)
    assert "line 3" in done.stderr.splitlines()[-1]
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("command", ["serve", "worker", "collect"])
def test_without_what_a_store_needs_it_says_what_to_install(file: Path, command: str) -> None:
    (file.parent / "redis.py").write_text("raise ModuleNotFoundError(name='redis')")
    paths = os.pathsep.join(filter(None, [str(file.parent), os.environ.get("PYTHONPATH")]))
    done = etagere(command, str(file), "--store", "redis://127.0.0.1:1", cwd=file.parent, PYTHONPATH=paths)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "etagere: a store needs redis, which is not there: pip install '.[cluster]' in a checkout of Etagere"
    )


def test_a_module_target(file: Path, tmp_path: Path) -> None:
    with Server(
        [sys.executable, "-m", "etagere", "serve", "shapes:app", "--port", "0", "--data", str(tmp_path / "d")],
        cwd=file.parent,
    ) as server:
        assert server.result("/area?radius=1").json() == 3.0


def test_settings_come_from_file_environment_and_command_line(file: Path) -> None:
    (file.parent / "etagere.toml").write_text('data = "from-file"\nport = 0\n')
    command = [sys.executable, "-m", "etagere", "serve", "shapes.py"]
    with Server(command, cwd=file.parent):
        assert (file.parent / "from-file" / "lock").exists()
    with Server(command, {"ETAGERE_DATA": "from-environment"}, file.parent):
        assert (file.parent / "from-environment" / "lock").exists()
    with Server([*command, "--data", "from-command"], {"ETAGERE_DATA": "elsewhere"}, file.parent):
        assert (file.parent / "from-command" / "lock").exists()
        assert not (file.parent / "elsewhere").exists()


def test_bad_settings_are_named(file: Path) -> None:
    done = etagere("serve", str(file), "--port", "70000", "--runs", "0", cwd=file.parent)
    assert done.returncode == 2
    assert "port" in done.stderr
    assert "runs" in done.stderr
    (file.parent / "etagere.toml").write_text("colour = 1\n")
    assert "colour" in etagere("serve", str(file), cwd=file.parent).stderr


def test_a_file_of_settings_that_is_named(file: Path, tmp_path: Path) -> None:
    (file.parent / "etagere.toml").write_text("port = 70000\n")
    (tmp_path / "other.toml").write_text('data = "from-other"\nport = 0\n')
    command = [sys.executable, "-m", "etagere", "serve", "shapes.py", "--config", str(tmp_path / "other.toml")]
    with Server(command, cwd=file.parent):
        assert (file.parent / "from-other" / "lock").exists()
    absent = etagere("serve", "shapes.py", "--config", "absent.toml", cwd=file.parent)
    assert (absent.returncode, absent.stderr) == (2, "etagere: There is no file absent.toml.\n")


def test_a_variable_that_is_no_setting_is_warned_of_once(file: Path, tmp_path: Path) -> None:
    with Server.serve(file, tmp_path / "data") as silent:
        pass
    command = silent.command
    with Server(command, {"ETAGERE_STOER": "redis://127.0.0.1", "ETAGERE_KEY": "k"}) as server:
        assert server.result("/area?radius=1").status == 200
    warned = b"settings count for nothing variables=ETAGERE_STOER (did you mean ETAGERE_STORE?)"
    assert (silent.printed.count(b"no settings"), server.printed.count(warned)) == (0, 1)
    assert b"ETAGERE_KEY" not in server.printed


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("port = \n", "etagere.toml: Invalid value"),
        ("max_pendnig = 3\n", "etagere.toml: there is no setting max_pendnig; did you mean max_pending?"),
    ],
)
def test_a_broken_file_of_settings_is_one_line(file: Path, content: str, said: str) -> None:
    (file.parent / "etagere.toml").write_text(content)
    for command in (("serve", "shapes.py"), ("run", "shapes.py", "area", "-p", "radius=1")):
        done = etagere(*command, cwd=file.parent)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith("etagere: ")
        assert said in done.stderr


@pytest.mark.parametrize("taken", ["", "runs", "blobs", "etagere.sqlite3/"])
def test_a_data_directory_that_cannot_be_used_is_one_line(file: Path, tmp_path: Path, taken: str) -> None:
    data = tmp_path / "data" if taken else Path("/proc/sys/data")
    if taken.endswith("/"):
        (data / taken).mkdir(parents=True)
    elif taken:
        data.mkdir()
        (data / taken).touch()
    done = etagere("serve", str(file), "--port", "0", "--data", str(data))
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert re.match(f"etagere: .*{data}.* (cannot be used|cannot be opened): ", done.stderr)


@pytest.mark.parametrize("stderr", ["/dev/full", ">(exec true)"])
def test_a_log_that_cannot_be_written_stops_nothing(file: Path, tmp_path: Path, stderr: str) -> None:
    serve = f"exec {sys.executable} -m etagere serve {file} --access-log --port 0 --data {tmp_path / 'data'}"
    with Server(["bash", "-c", f"{serve} 2> {stderr}"]) as server:
        for radius in range(6):
            assert server.result(f"/area?radius={radius}").json() == 3 * radius**2
        assert server.stop() == 0


def test_a_log_line_has_its_time_its_level_and_its_fields(file: Path, tmp_path: Path) -> None:
    with Server.serve(file, tmp_path / "data", "--access-log") as server:
        server.get("/nothing%0aat-all?x=1")
    line = rb"^\d\d:\d\d:\d\d info    request method=GET path=/nothing%0aat-all status=404 ms=[0-9.]+ answer=rejected"
    line += rb" client=127\.0\.0\.1$"
    assert re.search(line, server.printed, re.MULTILINE)


def test_only_http_1_and_a_bounded_head(file: Path, tmp_path: Path) -> None:
    with Server.serve(file, tmp_path / "data") as server:
        assert server.get("/area?radius=" + "0" * 59_000 + "1", Cookie="c" * 8000).status == 202
        assert _said(server, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == b""
        endless = b"GET / HTTP/1.1\r\nHost: localhost\r\nCookie: " + b"c" * 200_000
        assert _said(server, endless).startswith(b"HTTP/1.1 431 ")


def _said(server: Server, request: bytes) -> bytes:
    host, _, port = server.netloc.partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection, suppress(ConnectionError):
        connection.sendall(request)
        return connection.recv(65536)
    return b""


def test_a_public_address_is_refused_unless_said(file: Path) -> None:
    done = etagere("serve", str(file), "--host", "0.0.0.0", "--port", "0", cwd=file.parent)
    assert done.returncode == 2
    assert "--insecure-public" in done.stderr


def test_a_changed_source_with_the_same_version_is_warned_of(file: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Server.serve(file, data) as first:
        assert first.result("/area?radius=1").json() == 3.0
    file.write_text("# a comment more\n" + MODEL)
    with Server.serve(file, data) as same:
        pass
    file.write_text(MODEL.replace("3 *", "4 *"))
    with Server.serve(file, data) as changed:
        assert changed.result("/area?radius=1").json() == 3.0
    with Server.serve(file, data) as again:
        pass
    file.write_text(MODEL)
    with Server.serve(file, data) as back:
        pass
    assert b"its version did not" not in first.printed + same.printed + back.printed
    assert changed.printed.count(b"its version did not") == again.printed.count(b"its version did not") == 1


def test_a_source_that_another_python_read_is_not_compared(file: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Server.serve(file, data):
        pass
    database = apsw.Connection(str(data / "etagere.sqlite3"))
    database.execute("UPDATE source SET hash = '2.7:01234567'")
    database.close()
    with Server.serve(file, data) as upgraded:
        pass
    file.write_text(MODEL.replace("3 *", "4 *"))
    with Server.serve(file, data) as changed:
        pass
    assert b"its version did not" not in upgraded.printed
    assert b"its version did not" in changed.printed


def test_a_retired_version_is_served_from_the_cache_and_else_gone(file: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Server.serve(file, data) as server:
        tag = server.result("/area@1?radius=1").etag
    file.write_text(MODEL.replace('version="1"', 'version="2"').replace("3 *", "4 *"))
    with Server.serve(file, data) as server:
        old = server.get("/area@1?radius=1")
        assert (old.status, old.etag, old.json()) == (200, tag, 3.0)
        assert server.get(f"/r/{tag[1:33]}").etag == tag
        gone = server.get("/area@1?radius=2")
        assert (gone.status, gone.json()["type"]) == (410, "/-/problems/retired-version")
        # Its grammar is gone with it, so a QUERY cannot be read any more.
        assert server.query("/area@1", {"radius": 1}).status == 410
        new = server.get("/area?radius=1", tag)
        assert (new.status, new.etag) == (202, f'W/"{resource_id("/area@2?radius=1")}"')
        assert server.result("/area?radius=1").json() == 4.0
        assert server.get("/area@1.json?radius=1").etag == tag
        # Neither a version that there never was, nor a format that is not cached.
        for path in ("/area@3", "/area@1.9", "/area@1.csv", "/area@1.json.csv"):
            assert server.get(f"{path}?radius=1").status == 404, path


def test_what_was_changed_within_a_second_does_not_run_as_it_was(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    (tmp_path / "factors.py").write_text("three = 3\n")
    for factor in (3, 5):
        file.write_text("import factors\n" + MODEL.replace("3 *", f"{factor} * factors.three *"))
        (tmp_path / "factors.py").write_text(f"three = {factor}\n")
        for changed in (file, tmp_path / "factors.py"):
            os.utime(changed, (1e9, 1e9))
        assert etagere("run", str(file), "area", "-p", "radius=1").stdout == f"{factor**2}.0"


def test_dev_follows_the_source(file: Path, tmp_path: Path) -> None:
    with Server.serve(file, tmp_path / "data", "--dev") as server:
        first = server.result("/area?radius=1")
        assert (first.json(), first["Cache-Control"]) == (3.0, "no-cache")
        version = server.get("/").json()["models"][0]["version"]
        assert re.fullmatch(r"1\.[0-9a-f]{8}", version)
        assert server.get("/area@1?radius=1").status == 200
        file.write_text("this is no Python\n")
        _until(lambda: not _answers(server))
        file.write_text(MODEL.replace("3 *", "5 *"))
        _until(lambda: _answers(server))
        second = server.result("/area?radius=1")
        assert second.json() == 5.0
        assert second.etag != first.etag


def _answers(server: Server) -> bool:
    try:
        return server.get("/-/health/live").status == 200
    except OSError:
        return False


def _until(condition: object, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("command", ["serve", "worker", "collect"])
def test_a_store_that_is_away_is_told_from_one_that_is_none(file: Path, tmp_path: Path, command: str) -> None:
    """By the exit status: who manages services starts this again for the one, and not for the other."""
    ours = ("--data", str(tmp_path / "data"), *(("--port", "0") if command == "serve" else ()))
    away = etagere(command, str(file), "--store", f"redis://:secret@127.0.0.1:{free_port()}/0", *ours)
    assert (away.returncode, len(away.stderr.splitlines())) == (75, 1)
    assert "cannot be reached" in away.stderr
    none = etagere(command, str(file), "--store", "nonsense", *ours)
    assert (none.returncode, len(none.stderr.splitlines())) == (2, 1)
    assert "secret" not in away.stderr + none.stderr


@pytest.mark.parametrize(
    ("arguments", "env", "said"),
    [
        (("serve", "--dev", "--store", "redis://127.0.0.1:1"), {}, "--dev is for one machine"),
        (("worker", "--store", "redis://127.0.0.1:1"), {"ETAGERE_DEV": "true"}, "--dev is for one machine"),
        (("collect", "--store", "redis://127.0.0.1:1"), {"ETAGERE_DEV": "true"}, "--dev is for one machine"),
        (("serve",), {"ETAGERE_ENGINE": "celery+amqp://", "ETAGERE_BLOBS": "file:///b"}, "engine, blobs: set store"),
    ],
)
def test_settings_that_contradict_each_other(
    file: Path, tmp_path: Path, arguments: tuple[str, ...], env: dict[str, str], said: str
) -> None:
    command, *options = arguments
    port = ("--port", "0") if command == "serve" else ()
    done = etagere(command, str(file), *options, *port, "--data", str(tmp_path / "data"), **env)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert said in done.stderr


def test_settings_without_a_store_that_they_are_for_are_warned_of(file: Path, tmp_path: Path) -> None:
    server = Server.serve(file, tmp_path / "data")
    with Server(server.command, {"ETAGERE_LEASE": "9"}) as idle:
        assert idle.result("/area?radius=1").status == 200
    assert b"warning settings that mean nothing without a store settings=lease" in idle.printed


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ("celery+nonsense://u:secret@x", "The engine celery+nonsense://x has no broker that can be used: No such tran"),
        ("amqp://u:secret@x", "The engine is celery+ and the URL of a broker, such as celery+amqp://, not amqp://x."),
        ("celery+", "The engine is celery+ and the URL of a broker"),
        ("celery+amqp://u:secret?@x:y", "The engine celery+amqp://x:y is celery+ and no URL of a broker."),
    ],
)
def test_an_engine_that_cannot_be_is_told_of_before_models_are_imported(engine: str, said: str) -> None:
    done = etagere("worker", "nothing.py", "--store", "redis://127.0.0.1:1", "--engine", engine)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert done.stderr.startswith(f"etagere: {said}")


def test_an_engine_without_celery(tmp_path: Path) -> None:
    (tmp_path / "celery.py").write_text('raise ModuleNotFoundError("not installed", name="celery")\n')
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    done = etagere("worker", "nothing.py", "--engine", "celery+amqp://", cwd=tmp_path, PYTHONPATH=path)
    assert (done.returncode, done.stderr) == (
        2,
        "etagere: --engine needs celery, which is not there: pip install '.[cluster]' in a checkout of Etagere\n",
    )
