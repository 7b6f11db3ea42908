"""A process for the next run, forked before it is needed.

Forking, and touching for the first time what is needed to read parameters and to write a result,
takes longer than a short run itself. A spare does both while nobody waits for it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from etagere.encoding import encode
from etagere.parameters import Parameters
from etagere.supervisor import child

Become = Callable[[str, Path, str], NoReturn]
_LONGEST_ORDER = 65536
_NOWHERE = Path(os.devnull)


def _familiar(x: float = 1.0) -> float:
    """Nothing that a model does, in the way that a model is called."""
    return x


_FAMILIAR = Parameters.from_signature(_familiar)


def prepare(schemas: Iterable[Parameters]) -> None:
    """Do before any fork what each run would find to be done for the first time: look up codecs, build validators."""
    rehearse()
    for parameters in schemas:
        # Most need parameters, and say so.
        with suppress(Exception):
            parameters.parse_json(b"{}")


def rehearse() -> None:
    """Read parameters and write a result, so that the memory that this needs is the process's own."""
    json.loads(json.dumps(["", str(_NOWHERE)]))
    child.describe(_NOWHERE)
    child.Events(_NOWHERE).done()
    _NOWHERE.read_bytes()
    encode(_FAMILIAR.parse_json(b'{"x":1}').values, media_type=None, nan="refuse", directory=Path())


class Spare:
    """The parent's side of it.

    `let_go` closes what the process must not inherit; `become` makes it the run of a model in a directory,
    with its traceparent, or without one if that is empty.

    Raises:
        OSError: no process could be started.
    """

    def __init__(self, let_go: Callable[[], None], become: Become) -> None:
        parent = os.getpid()
        orders, self._orders = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._orders)
            let_go()
            self._wait(orders, parent, become)
        os.close(orders)

    def order(self, key: str, directory: str, trace: str) -> bool:
        """Let it become a run; False where it is dead."""
        try:
            os.write(self._orders, json.dumps([key, directory, trace]).encode())
        except BrokenPipeError:
            return False
        finally:
            os.close(self._orders)
        return True

    def _wait(self, orders: int, parent: int, become: Become) -> NoReturn:
        with suppress(BaseException):
            child.separate(parent)
            rehearse()
            order = os.read(orders, _LONGEST_ORDER)
            os.close(orders)
            if order:
                key, directory, trace = json.loads(order)
                become(key, Path(directory), trace)
        os._exit(1)
