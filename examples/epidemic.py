"""Two classics as differential equations, solved by scipy. Serve them with `etagere serve examples/epidemic.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.integrate import solve_ivp

import etagere

State = NDArray[np.float64]

app = etagere.Etagere()


def solve(rates: Callable[[State], list[float]], start: list[float], times: State) -> State:
    """The states at `times`, one row for each variable; the progress is the time reached."""

    def derivative(time: float, state: State) -> list[float]:
        etagere.progress(time / times[-1], f"t = {time:.1f}")
        return rates(state)

    solution = solve_ivp(derivative, (0.0, times[-1]), start, method="LSODA", t_eval=times, rtol=1e-8, atol=1e-8)
    if not solution.success:
        raise RuntimeError(solution.message)
    states: State = solution.y
    return states


@app.model(version="1", examples=[{"reproduction": 2.5}])
def epidemic(
    reproduction: Annotated[float, Field(gt=0, le=50, description="Basic reproduction number R₀ (dimensionless).")],
    latent: Annotated[float, Field(gt=0, description="Mean latent period (days).")] = 5.2,
    infectious: Annotated[float, Field(gt=0, description="Mean infectious period (days).")] = 2.9,
    population: Annotated[float, Field(gt=1, description="Persons.")] = 1_000_000.0,
    seed: Annotated[float, Field(gt=0, description="Persons infectious on day 0.")] = 10.0,
    days: Annotated[int, Field(ge=1, le=3650, description="Days to follow.")] = 180,
) -> dict[str, Any]:
    """An epidemic by the SEIR equations: how many are susceptible, exposed, infectious, recovered on each day."""
    if seed > population:
        raise etagere.Refused("seed must be at most the population")

    def rates(state: State) -> list[float]:
        susceptible, exposed, infected, _ = state
        infections = reproduction / infectious * susceptible * infected / population
        return [
            -infections,
            infections - exposed / latent,
            exposed / latent - infected / infectious,
            infected / infectious,
        ]

    day = np.arange(days + 1.0)
    states = solve(rates, [population - seed, 0.0, seed, 0.0], day)
    return {"day": day, **dict(zip(("susceptible", "exposed", "infectious", "recovered"), states, strict=True))}


@app.model(version="1", examples=[{"years": 30}])
def predators(
    prey: Annotated[float, Field(gt=0, description="Prey in the beginning (thousands).")] = 30.0,
    predator: Annotated[float, Field(gt=0, description="Predators in the beginning (thousands).")] = 4.0,
    growth: Annotated[float, Field(gt=0, description="Growth of the prey (1/year).")] = 0.5,
    predation: Annotated[float, Field(gt=0, description="Predation (1/(thousand predators · year)).")] = 0.02,
    death: Annotated[float, Field(gt=0, description="Death of the predators (1/year).")] = 0.8,
    conversion: Annotated[float, Field(gt=0, description="Prey into predators (1/(thousand prey · year)).")] = 0.02,
    years: Annotated[int, Field(ge=1, le=1000, description="Years to follow.")] = 20,
) -> dict[str, Any]:
    """Predators and their prey by the Lotka-Volterra equations, in thousands, twelve times a year."""

    def rates(state: State) -> list[float]:
        hares, lynxes = state
        return [hares * (growth - predation * lynxes), lynxes * (conversion * hares - death)]

    year = np.arange(12 * years + 1) / 12
    hares, lynxes = solve(rates, [prey, predator], year)
    return {"year": year, "prey": hares, "predators": lynxes}
