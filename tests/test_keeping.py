"""The commands for keys, and operators' commands over HTTP, as whole processes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness import Server
from tests.test_cli import etagere

MODELS = Path(__file__).parent / "models" / "access.py"


def keys(data: Path, *arguments: str) -> tuple[int, str, str]:
    done = etagere("keys", *arguments, "--data", str(data))
    return done.returncode, done.stdout, done.stderr


def test_a_key_is_made_listed_and_removed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert keys(data, "list") == (0, "There are no keys.\n", "")
    status, key, said = keys(data, "add", "lab", "--models", "heat, rod", "--expires", "90d")
    assert status == 0
    assert re.fullmatch(r"etagere_[A-Za-z0-9_-]{43}\n", key)
    assert "nobody can show it again" in said
    status, shown, _ = keys(data, "list")
    head, row = shown.splitlines()
    assert head.split() == ["ID", "NAME", "ROLE", "MODELS", "CREATED", "EXPIRES"]
    assert row.split()[1:5] == ["lab", "client", "heat,", "rod"]
    assert key.strip() not in shown
    listed = json.loads(keys(data, "list", "--json")[1])["keys"]
    assert listed[0]["models"] == ["heat", "rod"]
    assert keys(data, "remove", "nobody")[0] == 1
    status, shown, _ = keys(data, "remove", listed[0]["id"])
    assert (status, shown) == (0, f"{listed[0]['id']} of lab is removed, and good for a second yet.\n")
    assert json.loads(keys(data, "remove", "lab", "--json")[1]) == {"removed": []}


def test_a_key_as_json_until_a_date(tmp_path: Path) -> None:
    made = json.loads(keys(tmp_path, "add", "ops", "--role", "operator", "--expires", "2999-01-01", "--json")[1])
    assert (made["name"], made["role"]) == ("ops", "operator")
    (kept,) = json.loads(keys(tmp_path, "list", "--json")[1])["keys"]
    assert (kept["role"], kept["expires"], kept["models"]) == ("operator", "2999-01-01T00:00:00Z", None)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "1.2.3.4"), "cannot be a name"),
        (("add", "a", "--expires", "soon"), "such as 12h or 7d"),
        (("add", "a", "--expires", "2001-01-01"), "is over"),
        (("add", "a", "--expires", "2001-99-99"), "is no date"),
        (("add", "a", "--role", "king"), "king"),
    ],
)
def test_what_cannot_be_is_one_clear_line(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    status, shown, complaint = keys(tmp_path, *arguments)
    assert (status, shown) == (2, "")
    assert said in complaint
    assert not (tmp_path / "keys.json").exists()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, dict[str, str]]]:
    data = tmp_path_factory.mktemp("data")
    made = {
        "olga": keys(data, "add", "olga", "--role", "operator")[1].strip(),
        "alice": keys(data, "add", "alice")[1].strip(),
    }
    with Server.serve(MODELS, data, env={"ETAGERE_METRICS": "operator"}) as server:
        yield server, made


def test_operators_reach_a_service_elsewhere(service: tuple[Server, dict[str, str]]) -> None:
    server, made = service
    done = etagere("status", "--url", server.url, ETAGERE_KEY=made["olga"])
    assert (done.returncode, done.stderr) == (0, "")
    assert "serving" in done.stdout
    assert (
        json.loads(etagere("runs", "--url", f"{server.url}/", "--json", ETAGERE_KEY=made["olga"]).stdout)["runs"] == []
    )
    gone = etagere("cancel", "a" * 32, "--url", server.url, ETAGERE_KEY=made["olga"])
    assert (gone.returncode, gone.stdout) == (1, "")
    assert "is pending" in gone.stderr


@pytest.mark.parametrize(
    ("url", "key", "status", "said"),
    [
        (None, "alice", 1, "listed at the root"),
        (None, "forged", 2, "not known"),
        (None, "", 2, "ETAGERE_KEY"),
        ("ftp://example.org", "olga", 2, "no URL"),
        ("http://127.0.0.1:1", "olga", 2, "cannot be reached"),
        ("http://127.0.0.1:1\n", "olga", 2, "cannot be reached"),
    ],
)
def test_others_do_not(
    service: tuple[Server, dict[str, str]], url: str | None, key: str, status: int, said: str
) -> None:
    server, made = service
    done = etagere("status", "--url", url or server.url, ETAGERE_KEY=made.get(key, key))
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr
    assert made["olga"] not in done.stderr


def test_metrics_are_for_operators_if_it_is_said(service: tuple[Server, dict[str, str]]) -> None:
    server, made = service
    statuses = {who: server.get("/-/metrics", Authorization=f"Bearer {key}").status for who, key in made.items()}
    assert statuses == {"olga": 200, "alice": 404}
    assert server.get("/-/metrics").status == 401


def test_with_keys_it_may_listen_where_others_reach_it(tmp_path: Path) -> None:
    refused = etagere("serve", str(MODELS), "--data", str(tmp_path), "--host", "0.0.0.0", "--port", "0")
    assert refused.returncode == 2
    assert "etagere keys add" in refused.stderr
    key = keys(tmp_path, "add", "alice")[1].strip()
    with Server.serve(MODELS, tmp_path, "--host", "0.0.0.0") as server:
        assert server.get("/keyed?x=1").status == 401
        assert server.get("/keyed?x=1", Authorization=f"Bearer {key}").status == 202


WARNING = "some models are open to everybody, with or without a key"


def warnings(server: Server) -> list[dict[str, str]]:
    """What is said of open models between the start and the stop."""
    with server:
        pass
    said = [json.loads(line) for line in server.printed.decode().splitlines() if line.startswith("{")]
    return [event for event in said if event["event"] == WARNING]


def test_models_that_are_open_where_others_reach_them_are_warned_of(tmp_path: Path) -> None:
    public, data = ("--log-json", "--host", "0.0.0.0"), tmp_path / "data"
    assert warnings(Server.serve(MODELS, data, *public, "--insecure-public")) == [], "that was said on purpose"
    keys(data, "add", "alice")
    (warning,) = warnings(Server.serve(MODELS, data, *public))
    assert (warning["level"], warning["host"], warning["models"]) == ("warning", "0.0.0.0", "shared")
    assert warnings(Server.serve(MODELS, data, "--log-json")) == [], "on loopback"
    many = tmp_path / "many.py"
    source = "import etagere\napp = etagere.Etagere()\n\n"
    each = '@app.model(version="1")\ndef m{0:02}(x: int) -> int:\n    return x\n\n\n'
    many.write_text(source + "".join(map(each.format, range(12))))
    (warning,) = warnings(Server.serve(many, data, *public))
    assert warning["models"] == "m00, m01, m02, m03, m04, m05, m06, m07, m08, m09, and 2 more"
    assert warnings(Server.serve(many, data, *public, env={"ETAGERE_ACCESS": "keyed"})) == []
