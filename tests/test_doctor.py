"""`etagere doctor` on good and bad directories, and what it says of machines that are not this one."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness import Server
from tests.issuer import AUDIENCE, ISSUER, key, public, publish
from tests.test_cli import MODELS, etagere
from tests.valkey import Store, free_port

from etagere import keys
from etagere.config import Settings
from etagere.core.clients import Role
from etagere.doctor import Level, examine, file_system, sqlite
from etagere.factory.dependencies import describe

LARGE, SMALL = "/pattern?size=2000000", "/pattern?size=2000"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data directory of a service that has two results and has been stopped."""
    with Server.serve(MODELS, tmp_path / "data") as server:
        for target in (LARGE, SMALL):
            assert server.result(target).status == 200
    return tmp_path / "data"


def examined(data: Path, *arguments: str, **env: str) -> tuple[int, dict[str, str]]:
    """The exit status, and the level and text of each finding by its subject."""
    done = etagere("doctor", "--data", str(data), *arguments, cwd=data.parent, **env)
    assert done.stderr == ""
    found = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    return done.returncode, {rest.partition(": ")[0]: f"{level} {rest.partition(': ')[2]}" for level, rest in found}


def contents(data: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in data.rglob("*")}


def test_a_good_directory_is_left_as_it_is(data: Path) -> None:
    before = contents(data)
    status, found = examined(data, str(MODELS), ETAGERE_PORT="8080")
    assert status == 0
    assert contents(data) == before
    assert found["stored results"] == "ok 2, of 2002000 bytes in all, are what was put"
    assert found["lock"] == "ok no service runs on the data directory"
    assert found[f"data directory {data}"].startswith("ok")
    assert "quick@1" in found["models"]
    assert found["settings"] == (
        f"ok data={data} from the command line; max_pending=50 from Etagere(...); port=8080 from the environment;"
        " the others have their defaults"
    )
    assert "SQLite" in found
    assert {"versions", "file system", "space", "open files", "processes", "clock"} <= set(found)
    assert "quarantine" not in found


def test_what_is_not_there_yet_is_not_made(tmp_path: Path) -> None:
    status, found = examined(tmp_path / "new")
    assert status == 0
    assert found["stored results"] == "ok none yet"
    assert not (tmp_path / "new").exists()


def test_a_running_service_is_said_and_not_disturbed(tmp_path: Path) -> None:
    with Server.serve(MODELS, tmp_path / "data") as server:
        assert server.result(SMALL).status == 200
        status, found = examined(tmp_path / "data")
        assert status == 0
        assert f"in use by process {server.pid}" in found["lock"]
        assert found["stored results"].startswith("ok 1, of 2000 bytes")
        assert server.result("/pattern?size=2001").status == 200


def test_damaged_bodies_are_a_problem(data: Path) -> None:
    (blob,) = (path for path in (data / "blobs").rglob("*") if path.is_file())
    found = blob.stat()
    body = blob.read_bytes()
    blob.write_bytes(bytes([body[0] ^ 1]) + body[1:])
    os.utime(blob, ns=(found.st_atime_ns, found.st_mtime_ns))
    (blob.parent / ("0" * 64)).write_bytes(b"no row")
    status, findings = examined(data)
    assert status == 1
    assert findings["stored results"].startswith("problem 1 of 2 are damaged")
    assert findings["blobs"].startswith("warning 1 files belong to no result")
    blob.unlink()
    assert examined(data)[1]["stored results"].startswith("problem 1 of 2 are damaged")


@pytest.mark.parametrize("how", ["no database", "another format"])
def test_a_broken_database_is_a_problem(data: Path, how: str) -> None:
    path = data / "etagere.sqlite3"
    if how == "no database":
        path.write_bytes(b"this is no database" * 1000)
    else:
        with path.open("r+b") as file:
            file.seek(60)  # the user_version, in the header
            file.write(b"\x00\x00\x00\x63")
    status, found = examined(data)
    assert status == 1
    assert found["stored results"].startswith("problem the database cannot be used")


def test_the_database_of_a_killed_service_is_read_with_its_log(tmp_path: Path) -> None:
    server = Server.serve(MODELS, tmp_path / "data").start()
    assert server.result(SMALL).status == 200
    server.kill()
    assert server.process is not None
    assert server.process.stdout is not None
    server.process.stdout.close()
    status, found = examined(tmp_path / "data")
    assert (status, found["stored results"]) == (0, "ok 1, of 2000 bytes in all, are what was put")


def test_what_others_may_read_is_a_warning(data: Path) -> None:
    data.chmod(0o755)
    (data / "quarantine").mkdir()
    (data / "quarantine" / "something").touch()
    os.utime(data / "lock", (time.time() + 900, time.time() + 900))
    status, found = examined(data)
    assert status == 0
    assert found[f"data directory {data}"].startswith("warning has mode 0755")
    assert found["quarantine"].startswith("warning 1 files")
    assert found["clock"].startswith(f"warning {data}/lock was written")


def test_a_file_in_the_place_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    status, found = examined(tmp_path / "data")
    assert status == 1
    assert found[f"data directory {tmp_path / 'data'}"].startswith("problem is a file")
    assert found["lock"].startswith("problem")


def test_settings_and_models_that_are_not_valid(tmp_path: Path) -> None:
    status, found = examined(tmp_path / "data", ETAGERE_PORT="many")
    assert (status, list(found)) == (1, ["settings"])
    assert "the environment: port" in found["settings"]
    status, found = examined(tmp_path / "data", str(MODELS.with_name("broken.py")))
    assert status == 1
    assert found["models"].startswith("problem")


def test_variables_that_are_no_settings(tmp_path: Path) -> None:
    status, found = examined(tmp_path / "data", ETAGERE_STOER="x")
    assert (status, found["environment"].partition(":")[0]) == (
        0, "warning ETAGERE_STOER (did you mean ETAGERE_STORE?)",
    )  # fmt: skip
    assert "environment" not in examined(tmp_path / "data")[1]


def test_room_and_limits(tmp_path: Path) -> None:
    status, found = examined(tmp_path / "data", ETAGERE_CACHE_SIZE="900TiB", ETAGERE_MAX_WAITING="1000000000")
    assert status == 0
    assert "lower cache_size" in found["space"]
    assert found["open files"].startswith("warning")
    status, found = examined(tmp_path / "data", ETAGERE_MAX_RESULT="900TiB")
    assert status == 1
    assert "lower max_result" in found["space"]


@pytest.mark.parametrize(
    ("installed", "good"),
    [
        ("3.40.1", False), ("3.44.5", False), ("3.44.6", True), ("3.45.0", False), ("3.50.4", False), ("3.50.7", True),
        ("3.51.0", False), ("3.51.2", False), ("3.51.3", True), ("3.52.0", False), ("3.53.0", True), ("3.54.1", True),
    ],
)  # fmt: skip
def test_versions_of_sqlite(installed: str, good: bool) -> None:
    assert sqlite(installed).level is (Level.ok if good else Level.problem)


@pytest.mark.parametrize(
    ("kind", "level"),
    [
        ("ext4", "ok"),
        ("nfs4", "problem"),
        ("cifs", "problem"),
        ("fuse.sshfs", "warning"),
        ("fuseblk", "ok"),
        ("tmpfs", "warning"),
    ],
)
def test_file_systems(kind: str, level: str, tmp_path: Path) -> None:
    place = tmp_path.resolve()
    mounts = {Path("/"): "nfs", place.parent: kind}
    assert file_system(place / "not" / "there", mounts).level == level
    assert file_system(place, {}).level is Level.ok


def made(file: Path) -> Path:
    """A file of three keys, one for operators, one that has expired."""
    keys.add(file, "alice", Role.client, None, None, time.time())
    keys.add(file, "bob", Role.client, None, time.time() - 1, time.time() - 9)
    keys.add(file, "olga", Role.operator, None, None, time.time())
    return file


def test_keys_are_counted(tmp_path: Path) -> None:
    data, file = tmp_path / "data", tmp_path / "data" / "keys.json"
    assert examined(data)[1][f"keys {file}"] == "ok there are none; etagere keys add makes one"
    made(file)
    status, found = examined(data)
    assert (status, found[f"keys {file}"]) == (0, "ok 3 in all, 1 for operators, 1 expired")
    assert f"mode of {file}" not in found
    assert [gone.name for name in ("alice", "olga") for gone in keys.remove(file, name)] == ["alice", "olga"]
    status, found = examined(data)
    assert (status, found[f"keys {file}"].partition(":")[0]) == (0, "warning 1 in all, 0 for operators, 1 expired")


@pytest.mark.parametrize(
    ("mode", "level"), [(0o600, ""), (0o640, "warning"), (0o604, "warning"), (0o620, "problem"), (0o666, "problem")]
)
def test_keys_are_this_user_s_alone(tmp_path: Path, mode: int, level: str) -> None:
    file = made(tmp_path / "elsewhere.json")
    file.chmod(mode)
    status, found = examined(tmp_path / "data", ETAGERE_KEYS=str(file))
    assert status == (level == "problem")
    assert found.get(f"mode of {file}", "").partition(" ")[0] == level


@pytest.mark.parametrize("how", ["no JSON", "a folder", "a key itself"])
def test_keys_that_cannot_be_read_are_a_problem(tmp_path: Path, how: str) -> None:
    file = tmp_path / "keys.json"
    if how == "a folder":
        file.mkdir()
    else:
        file.write_text('["etagere_secret"]' if how == "a key itself" else "{")
    status, found = examined(tmp_path / "data", ETAGERE_KEYS=str(file))
    assert (status, found[f"keys {file}"].partition(" ")[0]) == (1, "problem")
    assert "secret" not in str(found)


def test_the_key_set_of_an_issuer(tmp_path: Path) -> None:
    file = publish(tmp_path / "issuer.jwks", public("rsa"), public("ec"), public("ec521"))
    file.chmod(0o644)
    given = {"issuer": ISSUER, "audience": AUDIENCE, "keys": str(file)}

    def looked_at(**env: str) -> tuple[int, dict[str, str]]:
        return examined(tmp_path / "data", ETAGERE_JWT=json.dumps(given), **env)

    assert looked_at()[1][f"key set {file}"] == f"ok 2 keys can check tokens of {ISSUER}"
    file.chmod(0o664)
    status, found = looked_at()
    assert (status, found[f"mode of {file}"].partition(":")[0]) == (1, "problem 0664")
    publish(file, public("ec521"))
    status, found = looked_at()
    assert (status, found[f"key set {file}"].partition(",")[0]) == (1, "problem no key is for a signature by RS256")
    publish(file, key("ec").as_dict(private=True))
    status, found = looked_at()
    assert (status, "key 1 is private" in found[f"key set {file}"]) == (1, True)
    file.unlink()
    assert looked_at()[0] == 1
    missing = tmp_path / "joserfc.py"
    missing.write_text('raise ModuleNotFoundError("not installed", name="joserfc")\n')
    status, found = looked_at(PYTHONPATH=f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    assert status == 1
    assert found[f"key set {file}"].endswith("pip install '.[jwt]' in a checkout of Etagere")


def test_no_password_of_a_store_is_shown() -> None:
    settings = Settings(store="rediss://somebody:secret@store.example:6380/0?x=1", engine="celery+amqp://a:secret@b//")
    [said] = [r for r in examine(settings, {"store": "a", "engine": "b"}) if r.subject == "settings"]
    assert "secret" not in said.said
    assert "store=rediss://store.example:6380/0 from a" in said.said


def test_settings_that_contradict_each_other_or_mean_nothing() -> None:
    settings = Settings(blobs="file:///b", engine="celery+amqp://", lease=9, namespace="n")
    told = [(r.level, r.said) for r in examine(settings, {}) if r.subject == "settings together"]
    assert told == [
        (Level.problem, "engine, blobs: set store, too, or leave out what is for many machines"),
        (Level.warning, "namespace, lease: they mean nothing without a store"),
    ]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store").start()
    yield store
    store.stop()


def test_what_many_machines_share_is_looked_at(tmp_path: Path, store: Store) -> None:
    (tmp_path / "shared").mkdir()
    url = store.url.replace("//", "//:secret@")
    store.command("CONFIG", "SET", "requirepass", "secret")
    place = f"file://{tmp_path}/shared"
    given = {"ETAGERE_STORE": url, "ETAGERE_BLOBS": place, "ETAGERE_ENGINE": f"celery+{url}"}
    status, found = examined(tmp_path / "data", **given)
    assert status == 0
    assert re.match(
        r"warning (Valkey|Redis) [\d.]+, maxmemory-policy noeviction, keeps nothing on disk, .*: set appendonly yes$",
        found[f"store {store.url}"],
    )
    assert found[f"shared results {place}"] == "ok a small object was written, read and removed"
    assert found[f"broker celery+{store.url}"] == "ok it is reached"
    assert [path for path in (tmp_path / "shared").rglob("*") if path.is_file()] == []
    assert "secret" not in str(found)


def test_what_many_machines_share_and_cannot_be_used(tmp_path: Path) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    place = f"file://{tmp_path}/none"
    secret = url.replace("//", "//:secret@")
    given = {"ETAGERE_STORE": secret, "ETAGERE_BLOBS": place, "ETAGERE_ENGINE": f"celery+{secret}"}
    status, found = examined(tmp_path / "data", **given)
    assert status == 1
    for subject, said in (
        (f"store {url}", "cannot be reached"),
        (f"shared results {place}", "there is no directory"),
        (f"broker celery+{url}", "it cannot be reached"),
    ):
        assert found[subject].startswith("problem")
        assert said in found[subject]
    assert "secret" not in str(found)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("told", "level", "said"),
    [
        (
            {"aof_enabled": "1", "valkey_version": "9.1.0"},
            "ok",
            "Valkey 9.1.0, maxmemory-policy noeviction, keeps what",
        ),
        (
            {"aof_enabled": "0", "save": "60 1", "redis_version": "7.2"},
            "warning",
            "Redis 7.2, .*keeps snapshots",
        ),
        ({"aof_enabled": "0", "redis_version": "7.2"}, "warning", "Redis 7.2, .*keeps snapshots"),
        ({"aof_enabled": "0", "save": ""}, "warning", ".*keeps nothing on disk"),
    ],
)
def test_whether_a_store_keeps_what_it_has(told: dict[str, str], level: str, said: str) -> None:
    remark = describe("store", told)
    assert remark.level == level
    assert re.match(said, remark.said)
