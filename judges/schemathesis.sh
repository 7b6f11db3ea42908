#!/bin/sh
# schemathesis holds a running service against its own OpenAPI document.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
JUDGES_BIN=${JUDGES_BIN:-$root/.venv-judges/bin}
export JUDGES_BIN
[ -x "$JUDGES_BIN/schemathesis" ] || exit 77
exec "$root/.venv/bin/python" "$root/tests/judges/schemathesis_check.py" "$@"
