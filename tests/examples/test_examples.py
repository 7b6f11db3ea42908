"""The examples as the physics knows them, without a server."""

import importlib.util
import json
import math
import sys
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erfc
from tests.examples.command import EXAMPLES, run

import etagere


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


heat = example("heat").heat
epidemic = example("epidemic").epidemic
predators = example("epidemic").predators
oscillator = example("oscillator").oscillator
oscillogram = example("oscillator").oscillogram


def test_heat_reaches_the_steady_state_between_its_ends() -> None:
    rod = heat(alpha=0.5, length=2.0, steps=20_000, points=41, left=80.0, right=20.0)
    np.testing.assert_allclose(rod["temperature"], 80 - 30 * rod["x"], atol=1e-9)
    assert rod["x"][-1] == 2.0


def test_heat_enters_a_long_rod_as_the_error_function_says() -> None:
    alpha, steps, points = 0.25, 2000, 401
    rod = heat(alpha=alpha, steps=steps, points=points, left=100.0)
    width = rod["x"][1] * math.sqrt(alpha * steps)
    np.testing.assert_allclose(rod["temperature"], 100 * erfc(rod["x"] / (2 * width)), atol=0.05)


@given(alpha=st.floats(min_value=0.001, max_value=0.5), left=st.floats(0, 500), right=st.floats(0, 500))
def test_heat_never_leaves_the_range_of_its_boundaries(alpha: float, left: float, right: float) -> None:
    temperature = heat(alpha=alpha, steps=50, points=11, left=left, right=right)["temperature"]
    assert temperature.min() >= 0
    assert temperature.max() <= max(left, right) * (1 + 1e-12)


def test_heat_without_a_step_is_the_beginning() -> None:
    assert heat(alpha=0.1, steps=0, points=3, left=5.0)["temperature"].tolist() == [5.0, 0.0, 0.0]


def test_heat_refuses_an_unstable_scheme() -> None:
    with pytest.raises(etagere.Refused, match=r"0\.5"):
        heat(alpha=0.51)


def test_an_epidemic_loses_nobody() -> None:
    course = epidemic(reproduction=3.0)
    total = sum(course[name] for name in ("susceptible", "exposed", "infectious", "recovered"))
    np.testing.assert_allclose(total, 1_000_000, rtol=1e-9)
    assert len(course["day"]) == 181


@pytest.mark.parametrize("reproduction", [1.5, 2.5, 5.0])
def test_an_epidemic_ends_at_its_final_size(reproduction: float) -> None:
    course = epidemic(reproduction=reproduction, days=3000, population=1e6, seed=10.0)
    left = course["susceptible"][-1]
    assert left == pytest.approx((1e6 - 10) * math.exp(-reproduction * (1 - left / 1e6)), rel=1e-5)


def test_an_epidemic_below_the_threshold_dies_out() -> None:
    course = epidemic(reproduction=0.8, days=365)
    ill = course["exposed"] + course["infectious"]
    assert np.all(np.diff(ill) < 1e-6)
    assert ill[-1] < 0.01


def test_an_epidemic_refuses_a_seed_beyond_its_population() -> None:
    with pytest.raises(etagere.Refused, match="population"):
        epidemic(reproduction=2.0, population=100.0, seed=101.0)


def test_predators_and_prey_keep_their_invariant() -> None:
    course = predators(years=60)
    prey, hunters = course["prey"], course["predators"]
    invariant = 0.02 * prey - 0.8 * np.log(prey) + 0.02 * hunters - 0.5 * np.log(hunters)
    np.testing.assert_allclose(invariant, invariant[0], rtol=1e-5)
    assert np.ptp(prey) > 10


def test_predators_and_prey_stay_in_equilibrium() -> None:
    course = predators(prey=40.0, predator=25.0, years=10)
    np.testing.assert_allclose(course["prey"], 40.0)
    np.testing.assert_allclose(course["predators"], 25.0)


@pytest.mark.parametrize(
    ("file", "model", "parameters", "names"),
    [
        ("heat.py", "heat", ["alpha=0.10"], {"x", "temperature"}),
        ("epidemic.py", "epidemic", ["reproduction=2"], {"day", "susceptible", "exposed", "infectious", "recovered"}),
        ("epidemic.py", "predators", [], {"year", "prey", "predators"}),
    ],
)
def test_a_published_example_gives_json(file: str, model: str, parameters: list[str], names: set[str]) -> None:
    done = run(file, model, *parameters)
    assert set(json.loads(done.stdout)) == names, done.stderr


@settings(deadline=None)  # the first call imports pandas
@given(frequency=st.floats(0.01, 10), damping=st.floats(0, 0.99))
def test_an_oscillator_never_leaves_the_envelope_of_its_damping(frequency: float, damping: float) -> None:
    frame = oscillator(frequency, damping, points=50)
    assert list(frame.columns) == ["time", "displacement"]
    envelope = np.exp(-damping * 2 * np.pi * frequency * frame["time"]) / math.sqrt(1 - damping**2)
    assert (frame["displacement"].abs() <= envelope * (1 + 1e-9)).all()
    assert frame["displacement"][0] == 1.0


def test_an_oscillator_without_damping_comes_back() -> None:
    frame = oscillator(2.0, damping=0.0, seconds=0.5, points=3)
    np.testing.assert_allclose(frame["displacement"], [1, -1, 1], atol=1e-12)


def test_an_oscillogram_says_what_it_shows() -> None:
    (axes,) = oscillogram(2.0).axes
    assert axes.get_title() == "2 Hz, damping 0.1"
