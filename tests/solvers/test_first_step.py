"""An explicit first step is the first step of every solve, in every library that takes one."""

import pytest
import torch
from problems import UNIT, Network, integrator
from torch import nn

from nodebench.models import systems
from nodebench.solvers import find_solver, solver_names
from nodebench.spec import Batching, Gradient

FIRST = 0.0137
TAKING = [
    name
    for name, (adapter, method) in solver_names().items()
    if adapter.takes_first_step and find_solver(name)[2].adaptive
]
SEEN = [name for name in TAKING if not name.startswith("diffrax:")]


class Spied(nn.Module):
    """A decay that notes the times at which it is evaluated."""

    def __init__(self) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.ones(1, dtype=torch.float64))
        self.times: list[float] = []

    def forward(self, t, y):
        self.times.append(t.flatten()[0].item())
        return -self.rate * y


def is_among(time, times):
    return any(abs(time - one) < 1e-7 for one in times)


def solved(solver, start=0.0, end=1.0, **control):
    """The times of the evaluations forwards, and backwards of the gradient of the end."""
    field, times = Spied(), torch.tensor([start, end], dtype=torch.float64)
    states = integrator(solver, **{"rtol": 1e-4, "atol": 1e-4, **control})(field, torch.ones(1, 2).double(), times)
    assert states[-1, 0, 0].item() == pytest.approx(torch.tensor(start - end).exp().item(), rel=0.05)
    forwards, field.times = field.times, []
    if control.get("gradient"):
        states[-1].sum().backward()
    return forwards, field.times


def test_every_library_but_torchdyn_takes_one():
    assert {find_solver(name)[0].backend for name in TAKING} == {"torchdiffeq", "scipy", "torchode", "diffrax"}


@pytest.mark.parametrize("solver", SEEN)
def test_a_solve_begins_with_it(solver):
    """Each of these methods evaluates the end of its first step, and none before it lies beyond."""
    forwards, _ = solved(solver, first_step=FIRST)
    beyond = next(i for i, t in enumerate(forwards) if t > FIRST + 1e-7)
    assert is_among(FIRST, forwards[:beyond])
    assert not is_among(FIRST, solved(solver)[0])


@pytest.mark.parametrize("solver", ["dopri5", "scipy:RK45", "scipy:vode-adams", "torchode:dopri5"])
def test_a_solve_backwards_in_time_begins_with_it(solver):
    assert is_among(1 - FIRST, solved(solver, 1.0, 0.0, first_step=FIRST)[0])


@pytest.mark.parametrize("solver", ["dopri5", "scipy:RK45", "scipy:vode-bdf", "torchode:dopri5"])
def test_the_solve_of_an_adjoint_begins_with_it(solver):
    _, backwards = solved(solver, first_step=FIRST, gradient=Gradient.ADJOINT)
    assert is_among(1 - FIRST, backwards)


@pytest.mark.parametrize("solver", [*SEEN, "diffrax:tsit5", pytest.param("diffrax:kvaerno3", marks=pytest.mark.slow)])
def test_one_beyond_the_end_is_no_failure(solver):
    field, y0 = systems.LotkaVolterra().double(), torch.ones(2, 2, dtype=torch.float64)
    times = torch.tensor([0.0, 0.1, 0.3], dtype=torch.float64)
    found = integrator(solver, first_step=10.0)(field, y0, times)
    exact = integrator("dopri8", rtol=1e-10, atol=1e-10)(field, y0, times)
    torch.testing.assert_close(found, exact, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("gradient", "batching"),
    [
        (None, Batching.EACH),
        pytest.param(Gradient.CHECKPOINT, None, marks=pytest.mark.slow),
        pytest.param(None, None, marks=pytest.mark.slow),
        pytest.param(Gradient.CHECKPOINT, Batching.EACH, marks=pytest.mark.slow),
    ],
)
def test_diffrax_begins_with_it(gradient, batching):
    """At a loose tolerance a first step as long as the solve is the only one; by default the library takes more."""
    evaluations = []
    for first_step in (1.0, None):
        solve = integrator(
            "diffrax:dopri5", rtol=1.0, atol=1.0, batching=batching, gradient=gradient, first_step=first_step
        )
        solve(Network(), torch.ones(2, 3), UNIT)
        evaluations.append(solve.counter.forward)
    assert evaluations[0] == 7
    assert evaluations[1] > 7


@pytest.mark.parametrize("segments", [1, 3])
def test_each_segment_begins_with_it(segments):
    forwards, _ = solved("dopri5", first_step=FIRST, gradient=Gradient.CHECKPOINT, segments=segments)
    assert all(is_among(i / segments + FIRST, forwards) for i in range(segments))
