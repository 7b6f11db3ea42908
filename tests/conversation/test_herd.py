"""A thousand clients with one question: one run, one result, for all."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from tests.harness import Server

pytestmark = pytest.mark.anyio
CLIENTS = 1000
MODEL = '''
import os
import etagere

app = etagere.Etagere()


@app.model(version="1")
def counted(x: int) -> int:
    """Leaves a line for each execution, then waits at a gate."""
    with open(os.environ["EXECUTIONS"], "a") as file:
        file.write("run\\n")
    with open(os.environ["GATE"]) as gate:
        gate.read()
    return x
'''


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, netloc: str) -> Client:
        host, _, port = netloc.partition(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    async def get(self, target: str) -> tuple[int, str]:
        """The status and the entity tag."""
        self.writer.write(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        await self.reader.readexactly(int(fields.get("content-length", 0)))
        return int(head.split()[1]), fields["etag"]

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


async def test_a_thousand_identical_requests_at_once_are_one_run(tmp_path: Path) -> None:
    model = tmp_path / "model.py"
    model.write_text(MODEL)
    gate, executions = tmp_path / "gate", tmp_path / "executions"
    os.mkfifo(gate)
    with Server.serve(
        model, tmp_path / "data", "--runs", "2", env={"GATE": str(gate), "EXECUTIONS": str(executions)}
    ) as server:
        clients = [await Client.connect(server.netloc) for _ in range(CLIENTS)]
        spellings = ["x=7", "x=007", "%78=7", "x=7&"]
        answers = await asyncio.gather(
            *(client.get(f"/counted?{spellings[n % 4]}") for n, client in enumerate(clients))
        )
        assert {status for status, _ in answers} == {202}
        assert len({tag for _, tag in answers}) == 1
        await asyncio.to_thread(gate.write_text, "")
        await asyncio.to_thread(server.result, "/counted?x=7")
        ready = await asyncio.gather(*(client.get("/counted?x=7") for client in clients))
        assert {status for status, _ in ready} == {200}
        assert len({tag for _, tag in ready}) == 1
        for client in clients:
            await client.close()
    assert executions.read_text() == "run\n"
