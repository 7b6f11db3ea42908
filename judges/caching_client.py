"""hishel as a client: each line of standard input is a request as JSON, each line of standard output its answer.

It runs in the judges' environment, where hishel is and the project is not.
"""

from __future__ import annotations

import json
import sys

from hishel import CacheOptions, SqliteStorage
from hishel.httpx2 import CacheClient


def main(database: str) -> None:
    """Answer until the input ends."""
    storage = SqliteStorage(database_path=database)
    with CacheClient(storage=storage, rfc=CacheOptions(shared=False)) as client:
        for line in sys.stdin:
            asked = json.loads(line)
            answer = client.get(asked["url"], headers=asked["fields"])
            told = {
                "status": answer.status_code,
                "tag": answer.headers.get("ETag"),
                "body": answer.text,
                "cache": answer.extensions["caching"],
            }
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
