"""SciPy's implicit methods where their dense matrices do not fit in memory."""

import pytest
import torch
from torch import nn

from nodebench.instruments import Budget, CountedField, NfeCounter
from nodebench.solvers import StepControl, find_solver
from nodebench.spec import Gradient, SolveFailed, Status

MANY = 5_000_000  # the square is larger than the address space
DENSE = pytest.mark.parametrize("method", ["LSODA", "Radau", "BDF"])


class Decay(nn.Module):
    """``y' = −y`` times the mean of the parameters, which are 1."""

    def __init__(self, parameters: int) -> None:
        super().__init__()
        self.rates = nn.Parameter(torch.ones(parameters, dtype=torch.float64))

    def forward(self, t, y):
        return -self.rates.mean() * y


def solved(method, states, parameters):
    counter = NfeCounter(Budget(None, None))
    counter.begin_forward()
    control = StepControl(method, 1e-3, 1e-3, gradient=Gradient.ADJOINT, adjoint_rtol=1e-3, adjoint_atol=1e-3)
    field, y0 = CountedField(Decay(parameters), counter), torch.ones(states, dtype=torch.float64)
    adapter, _, _ = find_solver(f"scipy:{method}")
    found = adapter.solve(field, y0, torch.tensor([0.0, 1.0], dtype=torch.float64), control)
    counter.begin_backward()
    return found


@DENSE
def test_a_state_whose_square_does_not_fit_is_a_failure_that_names_the_cause(method):
    with pytest.raises(SolveFailed, match=f"scipy:{method} stores the square of the state, 5,000,000 ×") as failure:
        solved(method, MANY, 1)
    assert failure.value.status is Status.MEMORY_BUDGET


@DENSE
def test_so_is_a_backward_solve_whose_parameters_make_it_too_large(method):
    states = solved(method, 1, MANY)
    assert states[-1].item() == pytest.approx(torch.tensor(-1.0).exp().item(), rel=1e-2)
    with pytest.raises(SolveFailed, match=f"scipy:{method} stores the square of the state, 5,000,00. ×") as failure:
        states[-1].sum().backward()
    assert failure.value.status is Status.MEMORY_BUDGET
