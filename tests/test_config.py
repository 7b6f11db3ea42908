"""The settings, from everywhere they come from."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from etagere.application import Etagere
from etagere.config import Jwt, Settings, unknown_variables
from etagere.errors import StartError


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refused(defaults: Mapping[str, Any], overrides: Mapping[str, Any] | None = None, file: Path | None = None) -> str:
    with pytest.raises(StartError) as caught:
        Settings.layered(defaults, overrides or {}, file)
    return str(caught.value)


def test_each_layer_goes_over_those_below(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("etagere.toml").write_text('port = 2\nruns = 2\nmax_pending = 2\ncache_size = "2MiB"\n')
    monkeypatch.setenv("ETAGERE_RUNS", "3")
    monkeypatch.setenv("ETAGERE_MAX_PENDING", "3")
    monkeypatch.setenv("ETAGERE_NOTHING_OF_OURS", "3")
    found = Settings.layered({"host": "::1", "port": 1, "runs": 1, "max_pending": 1}, {"max_pending": 4})
    assert (found.host, found.port, found.runs, found.max_pending) == ("::1", 2, 3, 4)
    assert found.cache_size == 2 << 20
    assert Settings().port == 8000


def test_another_file_takes_the_place_of_the_one_here() -> None:
    Path("etagere.toml").write_text("port = 1\nruns = 7\n")
    Path("other.toml").write_text("port = 2\n")
    found = Settings.layered({"runs": 3}, {}, Path("other.toml"))
    assert (found.port, found.runs) == (2, 3)


def test_a_list_in_the_environment_is_a_json_array(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ETAGERE_ALLOWED_HOSTS", '["a.example", "b.example"]')
    assert Settings.layered({}, {}).allowed_hosts == ("a.example", "b.example")


@pytest.mark.parametrize("written", ["gpu", "5", '"gpu"', '{"gpu": 1}', "[gpu]"])
def test_what_is_no_array_is_told_how_one_is_written(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setenv("ETAGERE_QUEUES", written)
    assert refused({}) == 'bad settings: the environment: queues: a JSON array such as ["gpu"] is expected'
    monkeypatch.setenv("ETAGERE_CORS_ORIGINS", "https://lab.example")
    monkeypatch.setenv("ETAGERE_JWT", "[]")
    assert 'cors_origins: a JSON array such as ["https://lab.example"], or *, is expected' in refused({})
    assert 'jwt: a JSON object such as {"issuer": ' in refused({})


def test_what_is_left_empty_is_none_whatever_lies_below(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("etagere.toml").write_text('quota = "1/s"\nqueues = ["gpu"]\n')
    for name in ("STORE", "BLOBS", "ENGINE", "KEYS", "QUOTA", "JWT", "QUEUES"):
        monkeypatch.setenv(f"ETAGERE_{name}", "")
    found = Settings.layered({"store": "redis://store.example"}, {})
    assert (found.store, found.blobs, found.engine, found.quota, found.jwt, found.queues) == (None,) * 5 + ((),)
    assert found.key_file == found.data / "keys.json"
    monkeypatch.setenv("ETAGERE_PORT", "")
    assert refused({}).startswith("bad settings: the environment: port: ")


def test_what_is_for_many_machines_contradicts_one() -> None:
    given = {"engine": "celery+amqp://", "queues": ["gpu"], "blobs": "file:///b", "blob_redirect": True, "lease": 9}
    alone = Settings(**given)
    assert alone.contradictions == [
        "engine, queues, blobs, blob_redirect: set store, too, or leave out what is for many machines"
    ]
    assert alone.idle == ["lease"]
    shared = Settings(**given, store="redis://127.0.0.1")
    assert (shared.contradictions, shared.idle) == ([], [])
    assert Settings(store="redis://127.0.0.1", dev=True).contradictions == [
        "--dev is for one machine: leave out dev or store"
    ]
    assert (Settings().contradictions, Settings(dev=True).contradictions, Settings().idle) == ([], [], [])


def test_variables_that_are_no_settings_are_named_with_those_that_may_be_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    before = unknown_variables()
    for name in ("ETAGERE_STOER", "ETAGERE_XYZZY", "ETAGERE_KEY", "ETAGERE_STORE", "ETAGEREX"):
        monkeypatch.setenv(name, "x")
    assert set(unknown_variables()) - set(before) == {
        "ETAGERE_STOER (did you mean ETAGERE_STORE?)", "ETAGERE_XYZZY",
    }  # fmt: skip


def test_what_a_host_application_says_is_not_called_the_command_line() -> None:
    with pytest.raises(StartError, match=r"^bad settings: install\(\.\.\.\): there is no setting rnus"):
        asyncio.run(Etagere().work(None, {"rnus": 2, "store": "redis://127.0.0.1:1"}))


def test_a_fault_names_its_place_and_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("etagere.toml").write_text('max_pendnig = 5\nport = "x"\n')
    monkeypatch.setenv("ETAGERE_RUNS", "0")
    said = refused({"dev": "perhaps"}, {"max_target": 1})
    assert "etagere.toml: there is no setting max_pendnig; did you mean max_pending?" in said
    assert "etagere.toml: port: " in said
    assert "the environment: runs: " in said
    assert "Etagere(...): dev: " in said
    assert "the command line: max_target: " in said
    assert "\n" not in said


@pytest.mark.parametrize("content", [b"port = \n", b"port = 1\nport = 2\n", b"\xff\xfe = 1\n"])
def test_a_file_that_is_no_toml_is_named(content: bytes) -> None:
    Path("etagere.toml").write_bytes(content)
    said = refused({})
    assert said.startswith("etagere.toml: ")
    assert "\n" not in said


def test_a_file_that_was_named_must_be_there() -> None:
    assert Settings.layered({}, {}).port == 8000
    assert refused({}, file=Path("absent.toml")) == "There is no file absent.toml."
    Path("folder.toml").mkdir()
    assert refused({}, file=Path("folder.toml")) == "folder.toml cannot be read: Is a directory."


GIVEN = {"issuer": "https://issuer.example", "audience": "etagere", "keys": "keys.jwks"}


def test_whose_tokens_are_accepted_is_a_table_or_json_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.layered({}, {}).jwt is None
    Path("etagere.toml").write_text('[jwt]\nissuer = "i"\naudience = "a"\nkeys = "k"\nalgorithms = ["ES512"]\n')
    found = Settings.layered({"jwt": GIVEN}, {}).jwt
    assert found == Jwt(issuer="i", audience="a", keys=Path("k"), algorithms=("ES512",))
    monkeypatch.setenv("ETAGERE_JWT", json.dumps(GIVEN))
    assert Settings.layered({}, {}).jwt == Jwt(**GIVEN)
    monkeypatch.setenv("ETAGERE_JWT", "{")
    assert refused({}).startswith("bad settings: the environment: jwt: ")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"issuer": ""}, "jwt.issuer: "),
        ({"audience": 1}, "jwt.audience: "),
        ({"keys": None}, "jwt.keys: "),
        ({"algorithms": []}, "jwt.algorithms: "),
        ({"algorithms": [1]}, "jwt.algorithms: "),
        ({"algorithms": ["ES256", "HS256", "none"]}, "jwt.algorithms: HS256, none: a signature by "),
        ({"algorithms": ["rs256"]}, "jwt.algorithms: rs256: "),
        ({"isuer": "i"}, "there is no setting jwt.isuer; did you mean jwt.issuer?"),
    ],
)
def test_a_fault_within_a_setting_names_its_place(wrong: dict[str, Any], said: str) -> None:
    assert refused({"jwt": {**GIVEN, **wrong}}).startswith(f"bad settings: Etagere(...): {said}")
    assert refused({"jwt": {}}).count("Etagere(...): jwt.") == 3
    assert refused({"jwt": 5}).startswith("bad settings: Etagere(...): jwt: ")
