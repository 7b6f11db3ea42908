"""The process that writes a result in another format: `python -m etagere.formats.convert FROM SOURCE TO TARGET …`.

A process of its own, because the libraries for tables are large, start threads, and may well crash on
what a model has written. After the files stand its parent's process id and how many bytes of memory it
may take. Its exit status is 0; or 3, with the reason on standard output, where the result is no table or
too large a one; or 4 where there is no room on the disk.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from etagere.formats.columns import Columns, NotTabular, from_json, write_csv, write_json
from etagere.supervisor.linux import die_with_parent

NOT_TABULAR = 3
NO_ROOM = 4
NO_ROOM_ERRORS = (errno.ENOSPC, errno.EDQUOT)


def main() -> None:
    """Convert one result."""
    die_with_parent(signal.SIGKILL)
    source_format, source, target_format, target, parent, memory = sys.argv[1:]
    if os.getppid() != int(parent):
        sys.exit(1)
    # Of its data alone: libraries reserve addresses that they never use.
    resource.setrlimit(resource.RLIMIT_DATA, (int(memory), int(memory)))
    try:
        convert(source_format, Path(source), target_format, Path(target))
    except (NotTabular, MemoryError) as error:
        reason = "it takes more memory than there is for that" if isinstance(error, MemoryError) else str(error)
        sys.stdout.buffer.write(reason.encode("utf-8", "replace"))
        sys.exit(NOT_TABULAR)
    except OSError as error:
        if error.errno not in NO_ROOM_ERRORS:
            raise
        sys.exit(NO_ROOM)


def convert(source_format: str, source: Path, target_format: str, target: Path) -> None:
    """Write the table in the file `source` to the file `target`.

    Raises:
        NotTabular: the result is no table, or not one that this format can hold.
    """
    write = _as_text if target_format in _TEXTS else _as_arrow
    with target.open("xb") as file:
        write(source_format, source, target_format, file)


_TEXTS: dict[str, Callable[[Iterator[Columns], BinaryIO], None]] = {"json": write_json, "csv": write_csv}


def _as_text(source_format: str, source: Path, target_format: str, file: BinaryIO) -> None:
    batches = iter([from_json(source)]) if source_format == "json" else _pyarrow().batches(source)
    _TEXTS[target_format](batches, file)


def _as_arrow(source_format: str, source: Path, target_format: str, file: BinaryIO) -> None:
    arrow = _pyarrow()
    table = arrow.from_columns(from_json(source)) if source_format == "json" else arrow.read(source)
    {"arrow": arrow.write_arrow, "parquet": arrow.write_parquet}[target_format](table, file)


def _pyarrow() -> Any:
    # It takes a fifth of a second to import, and CSV of JSON does without.
    return import_module("etagere.formats.arrow")


if __name__ == "__main__":
    main()
