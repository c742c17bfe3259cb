"""What the solves of a batch say about the solver, against fields where it is known."""

import math

import pytest
import torch
from problems import integrator
from torch import nn

from nodebench.instruments import Budget
from nodebench.models.fields import Delayed, MlpField
from nodebench.spec import Gradient
from nodebench.trial.probes import joint_over_single, residual_error, reverse_error


class Shrink(nn.Module):
    """y' = -rate y: solved backwards, an error grows by exp(rate × span)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(rate, dtype=torch.float64))

    def forward(self, t, y):
        return -self.rate * y


class Turn(nn.Module):
    """A rotation at a speed of its own for each member, which is its last component."""

    def forward(self, t, y):
        x, v, speed = y.unbind(-1)
        return torch.stack([-speed * v, speed * x, torch.zeros_like(speed)], -1)


def traced(solve, field, y0, times):
    trace = []
    with torch.no_grad(), solve.using(solve.counter, trace=trace):
        solve(field, y0, times)
    return trace


@pytest.fixture
def times():
    return torch.tensor([0.0, 1.0], dtype=torch.float64)


def test_euler_backwards_misses_the_start_by_what_arithmetic_says(times):
    """One step of Euler forwards and one back: (1 - h r)(1 + h r) - 1 = -(h r)²."""
    solve = integrator("euler", step_size=0.25)
    trace = traced(solve, Shrink(1.0), torch.ones(3, 2, dtype=torch.float64), times)
    with torch.no_grad():
        assert reverse_error(solve, trace) == pytest.approx(1 - (1 - 0.25**2) ** 4, rel=1e-12)


def test_what_shrinks_forwards_cannot_be_found_again(times):
    solve = integrator("dopri5", rtol=1e-6, atol=1e-6)
    errors = []
    for rate in (0.0, 1.0, 20.0):
        trace = traced(solve, Shrink(rate), torch.ones(1, 2, dtype=torch.float64), times)
        with torch.no_grad():
            errors.append(reverse_error(solve, trace))
    assert errors[0] < 1e-12
    assert errors[1] < 1e-4
    assert errors[2] > 1


def test_equal_members_cost_a_batch_nothing(times):
    solve = integrator("dopri5")
    trace = traced(solve, Turn(), torch.tensor([[1.0, 0.0, 9.0]] * 4, dtype=torch.float64), times)
    assert joint_over_single(solve, trace, Budget()) == 1.0


def test_one_fast_member_sets_the_steps_of_all(times):
    solve = integrator("dopri5")
    members = torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 1.0], [1.0, 0.0, 40.0]], dtype=torch.float64)
    trace = traced(solve, Turn(), members, times)
    counts = []
    for y0 in (members, *members.split(1)):
        before = solve.counter.forward
        solve(Turn(), y0, times)
        counts.append(solve.counter.forward - before)
    joint, *single = counts
    found = joint_over_single(solve, trace, Budget())
    assert found == pytest.approx(joint / (sum(single) / 3))
    assert found > 1.5


def test_a_batch_of_one_and_a_field_of_its_members_have_no_ratio(times):
    solve = integrator("dopri5")

    class Bound(nn.Module):
        def forward(self, t, y):
            return torch.arange(3.0, dtype=torch.float64).unsqueeze(1) * y

    delayed = Delayed(MlpField((2, 4, 2), sees_time=True), torch.arange(3.0).unsqueeze(1))
    windows = traced(solve, delayed.double(), torch.ones(3, 2, dtype=torch.float64), times)
    assert joint_over_single(solve, windows, Budget()) is None
    one = traced(solve, Shrink(1.0), torch.ones(1, 2, dtype=torch.float64), times)
    bound = traced(solve, Bound(), torch.ones(3, 2, dtype=torch.float64), times)
    assert joint_over_single(solve, one, Budget()) is None
    assert joint_over_single(solve, bound, Budget()) is None


@pytest.mark.parametrize("step", [0.25, 0.3, 1 / 6, None])
def test_eulers_method_is_a_chain_of_residual_blocks(times, step):
    solve = integrator("euler", step_size=step, gradient=Gradient.DIRECT)
    trace = traced(solve, Shrink(2.0), torch.ones(3, 2, dtype=torch.float64), times)
    assert residual_error(solve, trace) < 1e-14


def test_another_method_is_no_chain_of_residual_blocks(times):
    solve = integrator("midpoint", step_size=0.25, gradient=Gradient.DIRECT)
    trace = traced(solve, Shrink(2.0), torch.ones(3, 2, dtype=torch.float64), times)
    assert residual_error(solve, trace) > 1e-3


def test_a_wrong_gradient_is_seen_where_the_output_is_right(times):
    solve = integrator("euler", step_size=0.25, gradient=Gradient.DIRECT)
    field = Shrink(2.0)
    trace = traced(solve, field, torch.ones(3, 2, dtype=torch.float64), times)
    assert residual_error(solve, trace) < 1e-14
    real = solve.adapter.solve
    try:
        solve.adapter.solve = lambda counted, y0, grid, control: real(counted, y0, grid, control).detach() + 0 * y0
        assert math.isclose(residual_error(solve, trace), 1.0, rel_tol=1e-6)
    finally:
        del solve.adapter.solve
