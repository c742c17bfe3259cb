"""VODE, the solver of Chen et al. 2018: closed forms, its own count of evaluations, and how it gives up."""

import numpy as np
import pytest
import torch
from scipy.integrate import ode
from torch import nn

from nodebench.instruments import Budget, CountedField, NfeCounter
from nodebench.solvers import StepControl, find_solver, vode
from nodebench.spec import Gradient, SolveFailed, Status

TIMES = torch.linspace(0.0, 3.0, 7, dtype=torch.float64)


class Decay(nn.Module):
    """dy/dt = −k y, solved by y0 exp(−k t)."""

    def __init__(self, rate: float = 1.0) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(rate, dtype=torch.float64))

    def forward(self, t, y):
        return -self.rate * y


def solved(method, field, times=TIMES, gradient=None, rtol=1e-8, y0=None):
    adapter, _, _ = find_solver(f"scipy:{method}")
    counter = NfeCounter(Budget(None, None))
    counter.begin_forward()
    control = StepControl(method, rtol, rtol, gradient=gradient, adjoint_rtol=rtol, adjoint_atol=rtol)
    start = torch.ones(3, dtype=torch.float64) if y0 is None else y0
    return adapter.solve(CountedField(field, counter), start, times, control), counter


@pytest.mark.parametrize("method", ["vode-adams", "vode-bdf"])
def test_the_solution_is_the_closed_form_in_both_directions(method):
    with torch.no_grad():
        forward, _ = solved(method, Decay())
        assert torch.allclose(forward[:, 0], torch.exp(-TIMES), atol=1e-6)
        back, _ = solved(method, Decay(), TIMES.flip(0))
        assert torch.allclose(back[:, 0], torch.exp(3.0 - TIMES.flip(0)), rtol=1e-5)


@pytest.mark.parametrize("method", ["vode-adams", "vode-bdf"])
def test_our_count_of_evaluations_is_vodes_own(method):
    """It equals the calls of plain SciPy, of which VODE itself counts all but those for the Jacobian."""
    calls = 0

    def plain(t, y):
        nonlocal calls
        calls += 1
        return -y

    kind = vode.METHODS[method]
    solver = ode(plain).set_integrator("vode", method=kind, rtol=1e-8, atol=1e-8, with_jacobian=kind == "bdf")
    solver.set_initial_value(np.ones(3), 0.0)
    for time in TIMES[1:]:
        solver.integrate(float(time))
    with torch.no_grad():
        _, counter = solved(method, Decay())
    assert counter.forward == calls > 20
    jacobians = calls - solver._integrator.iwork[11]  # those that VODE does not count
    assert jacobians == 0 if kind == "adams" else jacobians % 3 == 0


def test_the_adjoint_gives_the_gradient_of_the_closed_form():
    field = Decay(0.5)
    states, counter = solved("vode-adams", field, gradient=Gradient.ADJOINT)
    counter.begin_backward()
    states[-1].sum().backward()
    exact = 3 * -3.0 * np.exp(-1.5)
    assert field.rate.grad.item() == pytest.approx(exact, rel=1e-5)
    assert counter.backward > 0


def test_a_field_that_no_step_can_follow_is_a_failure_with_a_reason():
    class Pole(nn.Module):
        def forward(self, t, y):
            return y**2  # from 1, infinite at t = 1

    with torch.no_grad(), pytest.raises(SolveFailed) as failure:
        solved("vode-adams", Pole())
    assert failure.value.status in (Status.DT_UNDERFLOW, Status.NON_FINITE)


def test_a_state_too_large_for_a_jacobian_is_refused_with_the_limit():
    with torch.no_grad(), pytest.raises(SolveFailed, match="2001 numbers, at most 2000") as failure:
        solved("vode-bdf", Decay(), y0=torch.ones(2001, dtype=torch.float64))
    assert failure.value.status is Status.UNSUPPORTED
