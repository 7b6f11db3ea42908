"""The environment that the models' processes get."""

from __future__ import annotations

from collections.abc import Mapping

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


_TRACE_VARIABLES = frozenset({"TRACEPARENT", "TRACESTATE"})
"""How a process is told which trace it belongs to: those of the service are no run's."""


def threads(count: int) -> dict[str, str]:
    """What fixes the threads of the BLAS and OpenMP libraries, if it is set before they are loaded."""
    return dict.fromkeys(_THREAD_VARIABLES, str(count))


def for_models(environment: Mapping[str, str], count: int = 1, seed: int = 0) -> dict[str, str]:
    """The service's environment without its own settings and trace, with so many threads and a fixed hash seed."""
    left_out = {name for name in environment if name.startswith("ETAGERE_")} | _TRACE_VARIABLES
    kept = {name: value for name, value in environment.items() if name not in left_out}
    return {**kept, **threads(count), "PYTHONHASHSEED": str(seed)}
