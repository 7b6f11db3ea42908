"""The user that docs/scaling.md shows may do what a cluster does, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from tests.cluster.processes import Cluster, Part, cluster, until

from etagere import control

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "etagere"
[USER] = re.findall(r"^user etagere (.*)$", (ROOT / "docs" / "scaling.md").read_text(), re.MULTILINE)
ALLOWED = set(re.findall(r"\+(\S+)", USER))
PREFIX = "{etagere}:"
# Of the client library, and not of the source.
CLIENT = {"info", "subscribe", "eval", "evalsha"}
WITH_SUBCOMMANDS = {"xgroup", "xinfo"}


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster whose processes are that user, and woken by a broker on the same server."""
    with cluster(tmp_path) as made:
        url = made.store.url
        assert made.store.command("ACL", "SETUSER", "etagere", *USER.split()) == b"+OK\r\n"
        made.settings["ETAGERE_STORE"] = url.replace("redis://", "redis://etagere:PASSWORD@")
        made.settings["ETAGERE_ENGINE"] = f"celery+{url.removesuffix('0')}1"
        yield made


def refusals(store: redis.Redis) -> set[str]:
    """What was refused, but for the name of the client library."""
    entries = store.execute_command("ACL", "LOG", 1000)
    told = ({key.decode(): value for key, value in zip(entry[::2], entry[1::2], strict=True)} for entry in entries)
    return {entry["object"].decode() for entry in told} - {"client|setinfo"}


def operate(node: Part, operation: str, **arguments: object) -> dict[str, object]:
    return control.ask(Path(node.command[node.command.index("--data") + 1]), operation, **arguments)


def test_a_cluster_works_as_the_user_that_is_shown(parts: Cluster) -> None:
    admin = redis.Redis.from_url(parts.store.url, protocol=2)
    admin.set_response_callback("ACL LOG", lambda reply, **_: reply)
    node, other, worker, collector = parts.node(), parts.node(), parts.worker(), parts.collector()
    paths = ["/nap?name=a", "/refuse?name=b", "/die?name=c", "/zeros?size=3000000", "/words?size=5000"]
    assert [node.result(path).status for path in paths] == [200, 422, 500, 200, 200]
    assert other.get("/words?size=5000", Accept_Encoding="gzip")["Content-Encoding"] == "gzip"
    id = node.get("/nap?name=d&seconds=60").json()["id"]
    until(lambda: parts.started("d") == 1)
    assert operate(other, "cancel", id=id)["became"] == "cancelled"
    assert len(operate(node, "status")["nodes"]) == 4  # type: ignore[arg-type]
    assert "ValueError" in str(operate(node, "logs", id=other.result("/zeros?size=-1").json()["id"])["traceback"])
    assert operate(node, "purge", model="zeros")["results"] == 1
    operate(node, "drain")
    until(lambda: other.get("/-/health/ready").status == 503)
    operate(other, "drain", on=False)
    until(lambda: node.get("/-/health/ready").status == 200)
    assert node.get("/nap?name=e&seconds=2").status == 202
    until(lambda: parts.started("e") == 1)
    collector.kill()
    worker.kill()
    parts.worker()
    parts.collector()
    assert node.result("/nap?name=e&seconds=2").status == 200
    assert parts.started("e") == 2
    assert refusals(admin) == set()
    admin.close()


def test_the_user_can_do_nothing_else(parts: Cluster) -> None:
    user = redis.Redis.from_url(parts.settings["ETAGERE_STORE"])
    assert user.hset(f"{PREFIX}meta", "seq", "0") == 1
    for command in (["HSET", "{other}:meta", "seq", "0"], ["FLUSHALL"], ["CONFIG", "GET", "*"], ["KEYS", "*"]):
        with pytest.raises(redis.exceptions.NoPermissionError):
            user.execute_command(*command)
    with pytest.raises(redis.exceptions.ResponseError, match="permission"):
        user.eval("return redis.call('PUBLISH', '{other}:events', 'x')", 0)
    user.close()


def test_the_commands_are_those_of_the_source() -> None:
    scripts = "".join(path.read_text() for path in SOURCE.rglob("*.lua"))
    assert len(re.findall(r"redis\.p?call", scripts)) == len(re.findall(r"redis\.p?call\('[A-Z]+'", scripts))
    python = "".join(path.read_text() for path in SOURCE.rglob("*.py"))
    sent = re.findall(r'tore\.do\(\s*"(\w+)"(?:, "(\w+)")?', python)
    assert len(sent) == len(re.findall(r"tore\.do\(", python))
    used = {name.lower() for name in re.findall(r"redis\.p?call\('([A-Z]+)'", scripts)}
    used |= {f"{a}|{b}" if a in WITH_SUBCOMMANDS else a for a, b in ((a.lower(), b.lower()) for a, b in sent)}
    assert used | CLIENT == ALLOWED
