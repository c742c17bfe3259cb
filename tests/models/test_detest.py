"""The DETEST problems against closed forms and invariants, and our count against printed ones of torchdiffeq."""

import math

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import scipy.special
import torch
from problems import integrator

from nodebench.models import detest
from nodebench.models.detest import PROBLEMS, SPAN, Detest
from nodebench.models.systems import exact_states

TIMES = torch.tensor([0.0, SPAN], dtype=torch.float64)


@pytest.fixture(scope="module")
def ends() -> dict[str, np.ndarray]:
    """The final states, as the task has them."""
    return {name: exact_states(Detest(name), Detest(name).start, TIMES, 1e-12)[-1].numpy() for name in PROBLEMS}


def kepler(eccentricity: float) -> list[float]:
    """An orbit by Kepler's equation."""
    mean = SPAN % (2 * math.pi)
    anomaly = scipy.optimize.brentq(lambda e: e - eccentricity * math.sin(e) - mean, 0, 2 * math.pi, xtol=1e-14)
    minor, speed = math.sqrt(1 - eccentricity**2), 1 / (1 - eccentricity * math.cos(anomaly))
    return [
        math.cos(anomaly) - eccentricity,
        minor * math.sin(anomaly),
        -math.sin(anomaly) * speed,
        minor * math.cos(anomaly) * speed,
    ]


def linear(matrix) -> np.ndarray:
    start = np.eye(len(matrix))[0]
    return scipy.linalg.expm(np.asarray(matrix) * SPAN) @ start


def bessel(x: float) -> list[float]:
    return [scipy.special.jv(0.5, x), scipy.special.jvp(0.5, x)]


def falling() -> list[float]:
    rate = math.sqrt(0.032 * 0.4)
    return [30 + math.log(math.cosh(rate * SPAN)) / 0.4, math.sqrt(0.032 / 0.4) * math.tanh(rate * SPAN)]


def pursuit() -> list[float]:
    share = 25 / (25 - SPAN)
    return [(25 * math.log(share) - (SPAN - SPAN**2 / 50)) / 2, (share - 1 / share) / 2]


CLOSED = {
    "A1": lambda: [math.exp(-SPAN)],
    "A2": lambda: [1 / math.sqrt(SPAN + 1)],
    "A3": lambda: [math.exp(math.sin(SPAN))],
    "A4": lambda: [20 / (1 + 19 * math.exp(-SPAN / 4))],
    "B2": lambda: scipy.linalg.expm(np.array([[-1, 1, 0], [1, -2, 1], [0, 1, -1]]) * SPAN) @ [2, 0, 1],
    "C1": lambda: linear(np.diag([*[-1.0] * 9, 0]) + np.diag([1.0] * 9, -1)),
    "C2": lambda: linear(np.diag([*-np.arange(1.0, 10), 0]) + np.diag(np.arange(1.0, 10), -1)),
    "C3": lambda: linear(scipy.linalg.toeplitz([-2.0, 1.0] + [0.0] * 8)),
    "C4": lambda: linear(scipy.linalg.toeplitz([-2.0, 1.0] + [0.0] * 49)),
    **{f"D{i}": lambda e=e: kepler(e) for i, e in enumerate((0.1, 0.3, 0.5, 0.7, 0.9), 1)},
    "E1": lambda: bessel(SPAN + 1),
    "E4": falling,
    "E5": pursuit,
}
# Constant along each trajectory, as a function of the time and the state.
KEPT = {
    "A5": lambda t, y: math.log(t * t + y[0] ** 2) / 2 + math.atan2(y[0], t) - math.pi / 2,
    "B1": lambda t, y: y[0] - math.log(y[0]) + 2 * (y[1] - math.log(y[1])),
    "B3": lambda t, y: y.sum(),
    "B4": lambda t, y: (math.hypot(y[0], y[1]) - 2) ** 2 + y[2] ** 2,
    "B5": lambda t, y: y[0] ** 2 + y[1] ** 2,
}


@pytest.mark.parametrize("name", CLOSED)
def test_the_reference_is_the_closed_form(ends, name):
    assert np.allclose(ends[name], CLOSED[name](), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", KEPT)
def test_the_reference_keeps_its_invariant(ends, name):
    before = KEPT[name](0.0, Detest(name).start.numpy())
    assert KEPT[name](SPAN, ends[name]) == pytest.approx(before, rel=1e-9, abs=1e-10)


def test_the_last_two_have_the_equations_written_out(ends):
    """E2 and E3 have neither: a second method in SciPy, on equations of their own."""
    slopes = {
        "E2": lambda t, y: [y[1], (1 - y[0] ** 2) * y[1] - y[0]],
        "E3": lambda t, y: [y[1], y[0] ** 3 / 6 - y[0] + 2 * math.sin(2.78535 * t)],
    }
    for name, slope in slopes.items():
        start = Detest(name).start.numpy()
        found = scipy.integrate.solve_ivp(slope, (0, SPAN), start, method="LSODA", rtol=1e-11, atol=1e-12)
        assert np.allclose(ends[name], found.y[:, -1], rtol=1e-7, atol=1e-7)


def planets(y: np.ndarray) -> tuple[float, np.ndarray]:
    """Energy of the five planets relative to the sun, and angular momentum, both about the centre of mass."""
    masses = np.array([detest.SUN, *detest.PLANETS])
    at = np.vstack([np.zeros(3), y[:15].reshape(5, 3)])
    speed = np.vstack([np.zeros(3), y[15:].reshape(5, 3)])
    speed = speed - masses @ speed / masses.sum()
    at = at - masses @ at / masses.sum()
    kinetic = (masses * (speed**2).sum(1)).sum() / 2
    pairs = [(i, j) for i in range(6) for j in range(i)]
    potential = -sum(detest.GRAVITY * masses[i] * masses[j] / np.linalg.norm(at[i] - at[j]) for i, j in pairs)
    return kinetic + potential, (masses[:, None] * np.cross(at, speed)).sum(0)


def test_the_planets_keep_energy_and_angular_momentum(ends):
    (energy, momentum), (later, then) = planets(Detest("C5").start.numpy()), planets(ends["C5"])
    assert later == pytest.approx(energy, rel=1e-10)
    assert then == pytest.approx(momentum, rel=1e-10)


# Calls of the field and RMS errors as the author of torchdiffeq printed them. The installed version gives the same.
PRINTED = {
    # Issue 31, 28 March 2019, before version 0.0.1.
    ("dopri5", 1e-3): """A1 68 7.272080e-04 A2 44 1.500953e-03 A3 140 1.716421e-03 A4 32 2.036043e-02
        A5 32 1.539949e-03 B1 320 4.882935e-02 B2 158 4.669148e-04 B3 86 4.134018e-04 B4 176 2.398165e-02
        B5 152 2.673915e-01 C1 86 1.827017e-03 C2 422 9.209132e-04 C3 194 1.451195e-04 C4 194 2.741384e-04
        D1 284 5.659548e-01 D2 236 1.376881e+00 D3 248 1.186594e+00 D4 338 5.510144e-01""",
    # Pull request 90, 7 February 2020; the same in pull request 158, 2021.
    ("dopri5", 1e-6): """B1 836 1.821727e-05 B2 224 1.058051e-06 B3 164 1.045420e-06 B4 542 2.967035e-05
        B5 458 3.317421e-05 C1 194 4.386875e-07 C2 440 8.595858e-07 C3 242 3.355572e-07 C4 236 4.573760e-07
        D1 428 1.257160e-03 D2 548 7.037382e-04 D3 692 2.068639e-04 D4 872 7.570222e-05 D5 1268 3.269919e-04
        E1 332 5.266044e-06 E2 1118 2.004079e-05 E3 770 6.289734e-05 E4 134 2.371371e-06 E5 128 8.093759e-06""",
    # Pull request 90.
    ("bosh3", 1e-2): """A1 41 1.941021e-02 A2 23 6.852727e-03 A3 122 1.070670e+00 A4 26 1.644605e-01
        A5 29 1.093391e-01 B1 161 5.396695e-01 B2 104 2.934819e-02 B3 44 1.864455e-02 B4 119 1.092336e+00
        B5 104 1.388524e-01 C1 56 1.135470e-02 C2 293 3.034025e-02""",
}


class Theirs(Detest):
    """A problem as torchdiffeq has it: E4 with a thrust of 0.32. Its C5 has other forces and is left out."""

    def forward(self, t, y):
        return detest.falling(0.32)(t, y) if self.problem is PROBLEMS["E4"] else super().forward(t, y)


SLOW = {("dopri5", 1e-6)}


@pytest.mark.parametrize(
    ("solver", "tolerance"), [pytest.param(*one, marks=pytest.mark.slow) if one in SLOW else one for one in PRINTED]
)
def test_calls_and_errors_are_those_that_torchdiffeqs_author_printed(ends, solver, tolerance):
    words = PRINTED[solver, tolerance].split()
    for name, calls, error in zip(words[::3], words[1::3], words[2::3], strict=True):
        field = Theirs(name)
        exact = exact_states(field, field.start, TIMES, 1e-12)[-1] if name == "E4" else torch.from_numpy(ends[name])
        solve = integrator(solver, rtol=tolerance, atol=tolerance)
        with torch.no_grad():
            found = solve(field, field.start.unsqueeze(0), TIMES)[-1, 0]
        assert (name, solve.counter.forward) == (name, int(calls))
        assert (found - exact).square().mean().sqrt().item() == pytest.approx(float(error), rel=1e-5), name


@pytest.mark.parametrize(("solver", "least", "most"), [("dopri5", 1, 3), ("dopri8", 100, 10_000)])
def test_the_end_is_interpolated_which_costs_dopri8_digits(ends, solver, least, most):
    """Against a solve whose last step ends there."""
    field = Detest("A5")
    errors = []
    for land in (False, True):
        solve = integrator(solver, rtol=1e-9, atol=1e-9, land_on_outputs=land)
        errors.append(abs(solve(field, field.start, TIMES)[-1].item() - ends["A5"].item()))
    assert least <= errors[0] / errors[1] <= most
