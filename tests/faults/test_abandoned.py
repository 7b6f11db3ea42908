"""Clients that go away, and those that stay, over a real service."""

from __future__ import annotations

import time
from pathlib import Path

from tests.conversation.asking import Asking
from tests.faults.gates import Gates
from tests.faults.service import eventually
from tests.supervisor.bench import Watched

# The least Retry-After is a second, and patience ten times the last.
PATIENCE_S = 10.0


def test_runs_that_nobody_asks_for_give_way_and_no_others_do(gates: Gates, tmp_path: Path) -> None:
    with gates.service(tmp_path / "data", "--runs", "2", max_pending=14, max_wait=60, patience=1) as service:
        names = [gates.new() for _ in range(8)]
        going, killed, next_one, left, pinged, waited, followed, new = names
        models = ["gated", "wanted", "wanted", *["gated"] * 5]
        targets = {name: f"/{model}?gate={name}" for model, name in zip(models, names, strict=True)}
        began = time.monotonic()
        tags = {name: service.get(targets[name]).etag for name in names[:-1]}
        assert service.get(targets[new]).status == 429
        eventually(lambda: set(gates.begun()) == {going, killed}, 20, "two runs wait at their gates")
        process = Watched([gates.pid(killed)])
        with (
            Asking(service, targets[waited], Prefer="wait=60", If_None_Match=tags[waited]) as waiting,
            Asking(service, f"/r/{tags[followed][3:-1]}/events") as following,
        ):
            events = following.events()
            while next_one not in gates.begun():
                for name in (pinged, next_one):
                    assert service.get(targets[name], tags[name]).status == 304
                assert time.monotonic() - began < 6 * PATIENCE_S
                time.sleep(0.2)
            assert time.monotonic() - began >= PATIENCE_S
            assert process.gone_within(0), "the next one began before"
            assert gates.waiting() == [going, killed, next_one]
            # Its place is free; its next ping takes it, and the queue is full again.
            assert service.get(targets[killed], tags[killed]).status == 202
            assert service.get(targets[new]).status == 202
            assert service.get(targets[left], tags[left]).status == 429
            for name in (going, pinged, next_one):
                assert service.get(targets[name], tags[name]).status == 304
            assert waiting.held(0)
            gates.open(going)
            assert service.result(targets[going]).status == 200, "it went on"
            assert service.get(targets[left], tags[left]).status == 202
            gates.open(*names[1:])
            assert waiting.answer().status == 200
            following.begin()
            assert '"succeeded"' in list(events)[-1]["data"]
        assert {answer.status for answer in service.results(list(targets.values())).values()} == {200}
        assert gates.begun().count(killed) == 2
        assert gates.begun().count(left) == 1
        assert service.log.count("run dropped") == 1
