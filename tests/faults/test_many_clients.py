"""Many clients at once, with quotas: nobody starves, and a restart has the same counts."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults.gates import Gates
from tests.faults.service import eventually
from tests.test_cli import etagere

CLIENTS = int(os.environ.get("FAULTS_CLIENTS", "200"))
SWEEP = 100


def whose(data: Path) -> dict[str, str]:
    """Who has started each of the pending runs that operators are told of."""
    listed = json.loads(etagere("runs", "--data", str(data), "--json").stdout)["runs"]
    return {run["id"]: run["client"] for run in listed}


def counts(data: Path) -> tuple[int, int]:
    """How many runs are pending, and how many have a result; one may have ended between the two."""
    status = json.loads(etagere("status", "--data", str(data), "--json").stdout)
    return int(status["queued"] + status["running"]), int(status["results"])


def test_many_clients_and_a_sweep(gates: Gates, tmp_path: Path) -> None:
    settings = {"max_pending": 4 * CLIENTS, "trusted_proxies": '["127.0.0.1"]', "quota": "100/day"}
    data = tmp_path / "data"
    with gates.service(data, "--runs", "2", **settings) as service:
        first = [gates.new() for _ in range(2)]
        sweep = {"X_Forwarded_For": "198.51.100.1"}
        held = [service.get(f"/gated?gate={name}", **sweep).status for name in first]
        eventually(lambda: set(gates.waiting()) == set(first), 20, "the sweep has both places")
        swept = [service.get(f"/quick?x={n}", **sweep).status for n in range(SWEEP)]
        assert (held + swept).count(202) == SWEEP, "its quota"
        assert swept[-2:] == [429, 429]

        def ask(number: int) -> int:
            address = f"10.{number // 65536}.{number // 256 % 256}.{number % 256}"
            return service.get(f"/quick?x={number + SWEEP}", X_Forwarded_For=address).status

        with ThreadPoolExecutor(32) as pool:
            assert set(pool.map(ask, range(CLIENTS))) == {202}
        before, pending = whose(data), counts(data)[0]
        assert pending == SWEEP + CLIENTS
        service.kill()
        service.start()
        eventually(lambda: set(gates.waiting()) == set(first), 30, "the places are had again")
        after = whose(data)
        # Until the lost runs at the gates have waited for their delay, others had their places.
        assert sum(counts(data)) >= pending, "nothing is lost"
        known = before.keys() & after.keys()
        assert len(known) > CLIENTS / 2, "they are told of in part"
        assert {id: before[id] for id in known} == {id: after[id] for id in known}
        assert service.get("/quick?x=999999", **sweep).status == 429, "its quota is used up yet"
        gates.open(*first)

        eventually(lambda: counts(data)[0] == 0, 90, "everybody has had a turn")
        results = [service.get(f"/quick?x={number}") for number in (0, SWEEP, SWEEP + CLIENTS - 1)]
        assert {result.status for result in results} == {200}
