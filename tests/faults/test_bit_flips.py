"""Single bits of stored results are turned over: whatever is damaged is computed again, and never served as right."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from tests.faults.figures import tell
from tests.faults.service import MODELS, Service
from tests.harness import Answer

FLIPS = int(os.environ.get("FAULTS_FLIPS", "60"))
LARGE = 1_200_000
SEED = int(os.environ.get("FAULTS_SEED", "0")) or int.from_bytes(os.urandom(4))

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    print(f"FAULTS_SEED={SEED}")
    settings = {"ETAGERE_MEMORY_CACHE_SIZE": "0", "ETAGERE_MAX_PENDING": str(2 * (FLIPS + 1))}
    env = {"EXECUTIONS": str(tmp_path / "executions"), **settings}
    with Service(MODELS / "known.py", tmp_path / "data", "--runs", "2", env=env) as started:
        yield started


def is_right(target: str, answer: Answer) -> bool:
    key, _, size = (part.rpartition("=")[2] for part in target.split("&"))
    right = hashlib.shake_256(b"%d" % int(key.rpartition("=")[2])).digest(int(size))
    return answer.status == 200 and answer.body == right


def flipped(content: bytes, random: random.Random) -> bytes:
    bit = random.randrange(8 * len(content))
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def flip_bodies(data: Path, random: random.Random) -> int:
    """One bit of each body in the database; how many that were."""
    with closing(apsw.Connection(str(data / "etagere.sqlite3"))) as database, database:
        bodies = database.execute("SELECT id, content FROM body").fetchall()
        changed = [(flipped(content, random), id) for id, content in bodies if isinstance(content, bytes)]
        database.executemany("UPDATE body SET content = ? WHERE id = ?", changed)
    return len(changed)


def flip_file(path: Path, random: random.Random) -> None:
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.write(flipped(content, random))


def executions(service: Service) -> int:
    return len(service.executions())


@pytest.mark.parametrize("stop", ["kill", "stop"])
def test_a_flip_in_a_body_is_found_when_it_is_loaded(service: Service, stop: str) -> None:
    targets = [f"/known?key={n}&ms=0&size={100 + n}" for n in range(FLIPS)]
    before = service.results(targets)
    assert all(is_right(*pair) for pair in before.items())
    getattr(service, stop)()
    assert flip_bodies(service.data, random.Random(SEED)) == FLIPS
    service.start()
    counted = executions(service)
    for target, answer in service.results(targets).items():
        assert is_right(target, answer)
        assert answer.etag == before[target].etag
    assert executions(service) - counted == FLIPS, "each was found, and computed again"
    tell("bit flips", f"{FLIPS} in bodies, after {stop}: all found, none served")


def test_a_flip_in_a_file_is_found_when_it_is_asked_for(service: Service) -> None:
    targets = [f"/known?key={n}&ms=0&size={LARGE + n}" for n in range(max(4, FLIPS // 10))]
    before = service.results(targets)
    files = list((service.data / "blobs").glob("??/*"))
    assert len(files) == len(targets)
    numbers = random.Random(SEED)
    for file in files:
        flip_file(file, numbers)
    counted = executions(service)
    for target, answer in service.results(targets).items():
        assert is_right(target, answer)
        assert answer.etag == before[target].etag
    assert executions(service) - counted == len(files), "each was found, and computed again"
    tell("bit flips", f"{len(files)} in files: all found, none served")


def test_a_client_with_the_right_bytes_is_told_so(service: Service) -> None:
    """Its ready tag says that it has the result, whatever has become of ours."""
    target = "/known?key=1&ms=0&size=1000"
    tag = service.result(target).etag
    service.kill()
    assert flip_bodies(service.data, random.Random(SEED)) == 1
    service.start()
    assert service.get(target, tag).status == 304
    answer = service.result(target)
    assert is_right(target, answer)
    assert answer.etag == tag
