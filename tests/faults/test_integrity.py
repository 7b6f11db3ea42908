"""Stored bytes that are not what they were: none is served, and what is lost is computed again."""

from __future__ import annotations

import hashlib
import os
import random
import re
import sqlite3
from pathlib import Path

import pytest
from tests.faults.service import MODELS, Service, eventually

READY_SECONDS = 3.0
SMALL, LARGE = 5000, 1_500_000


def target(key: int) -> str:
    return f"/known?key={key}&ms=0&size={LARGE if key % 2 else SMALL}"


def right(key: int) -> bytes:
    return hashlib.shake_256(b"%d" % key).digest(LARGE if key % 2 else SMALL)


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(MODELS / "known.py", tmp_path / "data", env={"EXECUTIONS": str(tmp_path / "executions")})


def filled(service: Service, keys: int) -> dict[int, str]:
    """Tags of the results of so many keys, which the service has now."""
    answers = {key: service.result(target(key)) for key in range(keys)}
    assert all(answer.body == right(key) for key, answer in answers.items())
    eventually(lambda: not journalled(service), 20, "the end of each run in the journal")
    return {key: answer.etag for key, answer in answers.items()}


def journalled(service: Service) -> list[tuple[str]]:
    with sqlite3.connect(f"file:{service.data / 'etagere.sqlite3'}?mode=ro", uri=True) as journal:
        rows = journal.execute("SELECT id FROM run UNION ALL SELECT id FROM outcome").fetchall()
    journal.close()
    return rows


def flip(path: Path, where: range | None = None) -> None:
    """Turn over one bit of a file, and leave its size and times as they were."""
    found = path.stat()
    with path.open("r+b") as file:
        file.seek(place := random.choice(where or range(found.st_size)))
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1 << random.randrange(8)]))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def flip_stored(service: Service, keys: list[int]) -> None:
    """Turn over one bit in the stored body of each of these keys; the service does not run."""
    with sqlite3.connect(service.data / "etagere.sqlite3") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    database = service.data / "etagere.sqlite3"
    for key in keys:
        body = right(key)
        if key % 2:
            digest = hashlib.sha256(body).hexdigest()
            flip(service.data / "blobs" / digest[:2] / digest)
        else:
            # Pages that are free now may have a copy.
            copies = list(re.finditer(re.escape(body[:200]), database.read_bytes()))
            assert copies
            for found in copies:
                flip(database, range(*found.span()))


def quarantined(service: Service) -> set[str]:
    return {path.name for path in (service.data / "quarantine").glob("*")}


def digests(keys: list[int]) -> set[str]:
    return {hashlib.sha256(right(key)).hexdigest() for key in keys}


def test_what_changed_while_the_service_was_killed_is_not_served(service: Service) -> None:
    with service:
        tags = filled(service, 12)
        service.kill()
        hurt = random.sample(sorted(tags), 6)
        flip_stored(service, hurt)
        service.start()
        # Whichever comes first, the request or the check beside it.
        for key in random.sample(sorted(tags), 12):
            first = service.get(target(key), Range="bytes=100-") if key % 3 else service.get(target(key))
            assert (first.status == 202) == (key in hurt), key
            answer = service.result(target(key))
            assert (answer.status, answer.body, answer.etag) == (200, right(key), tags[key])
        assert len(service.executions()) == 12 + len(hurt)
        assert quarantined(service) == digests(hurt)
        assert max(service.started_in) <= READY_SECONDS


def test_a_variant_is_not_made_of_what_changed(service: Service) -> None:
    with service:
        tags = filled(service, 2)
        service.kill()
        flip_stored(service, [0, 1])
        service.start()
        for key in tags:
            coded = service.result(target(key), Accept_Encoding="gzip;q=1, identity;q=0.5")
            assert coded.status == 200
            assert service.result(target(key)).body == right(key)
        assert len(service.executions()) == 4


def test_what_changed_behind_an_orderly_stop_is_found_by_the_scrubber(service: Service) -> None:
    with service:
        tags = filled(service, 6)
        service.stop()
        flip_stored(service, [1, 2, 3])
        service.start()
        eventually(lambda: quarantined(service) == digests([1, 2, 3]), 20, "three bodies in quarantine")
        eventually(lambda: "damaged=3" in service.log, 20, "a word of it in the log")
        for key in tags:
            assert service.result(target(key)).body == right(key)
        assert len(service.executions()) == 9


@pytest.mark.parametrize("damage", ["none at all", "a page"])
def test_a_database_that_is_broken_is_set_aside(service: Service, damage: str) -> None:
    with service:
        tags = filled(service, 4)
        service.kill()
        path = service.data / "etagere.sqlite3"
        flip_stored(service, [])
        if damage == "none at all":
            path.write_bytes(b"this is no database" * 1000)
        else:
            with path.open("r+b") as file:
                file.seek(4096)
                file.write(b"\xff" * (path.stat().st_size - 4096))
        broken = path.read_bytes()
        service.start()
        assert service.log.count("the database is broken and was set aside") == 1
        (aside,) = (service.data / "quarantine").glob("etagere.sqlite3-*Z")
        assert aside.read_bytes() == broken
        assert not [path for path in (service.data / "blobs").rglob("*") if path.is_file()]
        for key, tag in tags.items():
            # Whoever has the result still has it; the others wait for another run.
            assert service.get(target(key), tag).status == 304
            assert service.result(target(key)).etag == tag
        assert service.stop() == 0
        service.start()
        assert service.get(target(0)).body == right(0)
        assert service.log.count("set aside") == 1


def test_a_database_that_breaks_under_the_service_is_set_aside_by_the_next(service: Service) -> None:
    with service:
        filled(service, 2)
        assert service.stop() == 0
        path = service.data / "etagere.sqlite3"
        with sqlite3.connect(path) as connection:
            (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'run'").fetchone()
        connection.close()
        with path.open("r+b") as file:
            file.seek((page - 1) * 4096)
            file.write(b"\xff" * 4096)
        # The last stop was in order, so nobody looked before the runs are taken up.
        service.start()
        assert service.log.count("set aside") >= 1
        assert service.result(target(0)).body == right(0)
        assert len(service.executions()) == 3
