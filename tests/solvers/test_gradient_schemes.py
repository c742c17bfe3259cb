"""The gradients that compute their own backward pass: exactness, cost, memory, and what they refuse."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torchdiffeq
from problems import Logistic, Network, integrator
from torch import nn
from torchdiffeq._impl.odeint import SOLVERS

from nodebench.instruments import CountedField, NfeCounter
from nodebench.instruments.memory import StorageMeter
from nodebench.solvers import StepControl
from nodebench.solvers.gradients.reversible import Reversible
from nodebench.solvers.gradients.tableau import tableau_of
from nodebench.spec import Gradient, SolveFailed, Status

TIMES = torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64)
Y0 = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3)
REPLAYED = (Gradient.ACA, Gradient.SYMPLECTIC)
FIXED = ("euler", "midpoint", "heun2", "heun3", "rk4")
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5, "first_step": 0.1}


def differentiated(solver, gradient, times=TIMES, dtype=torch.float64, field=None, **control):
    """States, gradient of the initial state and of the parameters, and the counter of one solve."""
    field = (field or Network(width=4)).to(dtype)
    y0 = Y0.to(dtype, copy=True).requires_grad_()
    solve = integrator(solver, NfeCounter(count_vjps=True), gradient=gradient, **control)
    states = solve(field, y0, times.to(dtype))
    solve.counter.begin_backward()
    states.pow(2).sum().backward()
    return states.detach(), gathered(y0, field), solve.counter


def gathered(y0, field):
    return torch.cat([y0.grad.flatten(), *(p.grad.flatten() for p in field.parameters() if p.grad is not None)])


def assert_equal_to_rounding(found, expected, rounding=1e-13):
    assert float((found - expected).norm() / expected.norm()) < rounding


@pytest.mark.parametrize("times", [TIMES, TIMES.flip(0)], ids=["forwards", "backwards"])
@pytest.mark.parametrize("gradient", REPLAYED)
@pytest.mark.parametrize(
    ("solver", "control"),
    [*((name, {"step_size": 0.15}) for name in FIXED), *((name, TOLERANCE) for name in ("bosh3", "dopri5", "dopri8"))],
)
def test_the_gradient_of_replayed_steps_is_that_of_direct(solver, control, gradient, times):
    """0.15 does not divide the span, and the output at 0.4 lies inside a step."""
    states, expected, _ = differentiated(solver, Gradient.DIRECT, times, **control)
    same, found, _ = differentiated(solver, gradient, times, **control)
    assert torch.equal(same, states)
    assert_equal_to_rounding(found, expected)


def test_direct_alone_differentiates_the_choice_of_the_first_step():
    """torchdiffeq computes the first step from the initial state with a graph; the tolerance bounds the difference."""
    control = {"rtol": 1e-5, "atol": 1e-5}
    _, direct, _ = differentiated("dopri5", Gradient.DIRECT, **control)
    _, found, _ = differentiated("dopri5", Gradient.ACA, **control)
    assert 1e-10 < float((found - direct).norm() / direct.norm()) < 1e-5


def coupled(solver, field, y0, grid, coupling):
    """The paper's two lines, by one step of torchdiffeq for each increment, to be differentiated by autograd."""

    def increment(t, end, y):
        span = torch.tensor([t, end], dtype=y.dtype)
        if solver not in ("dopri5", "bosh3"):
            return torchdiffeq.odeint(field, y, span, method=solver)[-1] - y
        steps = {"first_step": abs(end - t), "min_step": abs(end - t), "max_step": abs(end - t), "step_t": span[1:]}
        return torchdiffeq.odeint(field, y, span, method=solver, options=steps)[-1] - y

    y = z = y0
    states = [y]
    for t, end in pairwise(grid):
        y = coupling * y + (1 - coupling) * z + increment(t, end, z)
        z = z - increment(end, t, y)
        states.append(y)
    return torch.stack(states)


@pytest.mark.parametrize("coupling", [0.9, 0.99, 1.0])
@pytest.mark.parametrize("solver", FIXED)
def test_the_reversible_gradient_is_that_of_autograd_through_the_same_steps(solver, coupling):
    times = torch.linspace(0, 1, 9, dtype=torch.float64)
    states, found, _ = differentiated(solver, Gradient.REVERSIBLE, times, coupling=coupling)
    field, y0 = Network(width=4).double(), Y0.clone().requires_grad_()
    expected = coupled(solver, field, y0, times.tolist(), coupling)
    expected.pow(2).sum().backward()
    torch.testing.assert_close(states, expected.detach(), rtol=1e-13, atol=1e-14)
    assert_equal_to_rounding(found, gathered(y0, field))


@pytest.mark.parametrize("times", [TIMES, TIMES.flip(0)], ids=["forwards", "backwards"])
@pytest.mark.parametrize("solver", ["bosh3", "dopri5"])
def test_the_reversible_gradient_of_adaptive_steps_is_that_of_autograd(solver, times):
    control = StepControl(solver, rtol=1e-5, atol=1e-5, gradient=Gradient.REVERSIBLE)
    scheme = Reversible(CountedField(Network(width=4).double(), NfeCounter()), times, control)
    with torch.no_grad():
        solved, _ = scheme.solve(Y0)
    taken = scheme._steps
    assert len(taken) > 2
    field, y0 = Network(width=4).double(), Y0.clone().requires_grad_()
    grid = [*(step.t for step in taken), float(times[-1])]
    states = coupled(solver, field, y0, grid, 0.99)
    ends = [0, *(i + 1 for i, step in enumerate(taken) if step.outputs)]
    torch.testing.assert_close(solved, states[ends].detach(), rtol=1e-12, atol=1e-13)
    states[ends].pow(2).sum().backward()
    _, found, _ = differentiated(solver, Gradient.REVERSIBLE, times, rtol=1e-5, atol=1e-5)
    assert_equal_to_rounding(found, gathered(y0, field), 1e-12)


@pytest.mark.parametrize(
    ("solver", "order"), [("euler", 1), ("midpoint", 2), ("heun3", 3), ("rk4", 4), ("mali:alf", 2)]
)
def test_reversible_methods_have_the_order_of_their_base(solver, order):
    """Against the closed form of the logistic equation."""
    field, x0, errors = Logistic(), torch.tensor([0.1, 0.4], dtype=torch.float64), []
    steps = [2.0**-n for n in range(6, 9)]
    for step in steps:
        solve = integrator(solver, gradient=Gradient.REVERSIBLE, step_size=step, coupling=0.8)
        end = solve(field, x0, torch.tensor([0.0, 3.0], dtype=torch.float64))[-1]
        errors.append(float((end - field.solution(x0, 3.0)).norm()))
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert slope == pytest.approx(order, abs=0.15)


def test_the_leapfrogs_reversible_gradient_is_its_direct_one():
    for times in (TIMES, TIMES.flip(0)):
        states, expected, _ = differentiated("mali:alf", Gradient.DIRECT, times, step_size=0.03)
        same, found, _ = differentiated("mali:alf", Gradient.REVERSIBLE, times, step_size=0.03)
        assert torch.equal(same, states)
        assert_equal_to_rounding(found, expected)


def test_the_interpolated_gradients_error_falls_with_the_tolerance():
    _, exact, _ = differentiated("dopri8", Gradient.DIRECT, rtol=1e-12, atol=1e-12, land_on_outputs=True)
    tolerances = [1e-3, 1e-5, 1e-7, 1e-9]
    errors = []
    for tolerance in tolerances:
        _, found, _ = differentiated("dopri5", Gradient.INTERPOLATED, rtol=tolerance, atol=tolerance)
        errors.append(float((found - exact).norm() / exact.norm()))
    assert errors[-1] < 1e-7
    assert errors[0] > 1e-6
    assert errors == sorted(errors, reverse=True)


class Contracting(nn.Module):
    """Squeezes the second coordinate by exp(12), which cannot be solved backwards."""

    def __init__(self):
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(12.0))

    def forward(self, t, y):
        return torch.stack([-y[..., 0] * y[..., 1], -self.rate * (y[..., 1] - y[..., 0].sin())], -1)


def test_a_field_that_forgets_its_state_harms_the_adjoint_alone():
    """In float32, where what the adjoint solves backwards grows by exp(12)."""
    errors = {}
    span = torch.tensor([0.0, 1.0])
    y0 = torch.tensor([[1.0, 3.0], [0.5, -2.0]])

    def found(gradient, dtype, tolerance):
        field, start = Contracting().to(dtype), y0.to(dtype, copy=True).requires_grad_()
        solve = integrator("dopri5", gradient=gradient, rtol=tolerance, atol=tolerance, first_step=0.01)
        solve(field, start, span.to(dtype))[-1].square().sum().backward()
        return gathered(start, field).double()

    exact = found(Gradient.DIRECT, torch.float64, 1e-10)
    for gradient in (Gradient.ADJOINT, Gradient.INTERPOLATED, *REPLAYED):
        errors[gradient] = float((found(gradient, torch.float32, 1e-4) - exact).norm() / exact.norm())
    assert errors.pop(Gradient.ADJOINT) > 0.1
    assert max(errors.values()) < 0.01


# Calls of the field in the backward pass and vector-Jacobian products, of N steps of s stages.
COSTS = {
    Gradient.ACA: (lambda n, s: n * s, lambda n, s: n * s),
    Gradient.SYMPLECTIC: (lambda n, s: n * (2 * s - 1), lambda n, s: n * s),
    Gradient.REVERSIBLE: (lambda n, s: 2 * n * s, lambda n, s: 2 * n * s),
    Gradient.ADJOINT: (lambda n, s: n * s, lambda n, s: n * s),
}


@pytest.mark.parametrize("gradient", COSTS)
@pytest.mark.parametrize(("solver", "stages"), [("euler", 1), ("midpoint", 2), ("heun3", 3), ("rk4", 4)])
def test_a_step_costs_what_was_published(solver, stages, gradient):
    span = torch.tensor([0.0, 1.0], dtype=torch.float64)
    _, _, counter = differentiated(solver, gradient, span, step_size=0.125)
    backward, vjps = (cost(8, stages) for cost in COSTS[gradient])
    forward = (2 if gradient is Gradient.REVERSIBLE else 1) * 8 * stages
    assert (counter.forward, counter.backward, counter.vjp) == (forward, backward, vjps)


def test_an_adaptive_step_is_replayed_once_and_a_rejected_one_never():
    """dopri5 from a first step that is rejected: 1 + 6 (accepted + rejected) calls, and 6 for each accepted step."""
    span, control = torch.tensor([0.0, 1.0], dtype=torch.float64), {"rtol": 1e-9, "atol": 1e-9, "first_step": 0.5}
    calls = {}
    for gradient in REPLAYED:
        _, _, counter = differentiated("dopri5", gradient, span, **control)
        calls[gradient] = counter.backward
    attempts = (counter.forward - 1) // 6
    accepted = (calls[Gradient.ACA] - 1) // 6  # the output lies inside the last step, which takes a seventh stage
    assert accepted < attempts
    assert calls[Gradient.SYMPLECTIC] == 11 * accepted + 2


def test_the_leapfrog_costs_one_call_a_step_in_each_direction():
    _, _, counter = differentiated("mali:alf", Gradient.REVERSIBLE, TIMES[[0, 2]], step_size=0.125)
    assert (counter.forward, counter.backward, counter.vjp) == (9, 9, 9)


def peak(solver, gradient, steps):
    """Peak bytes of a solve and its backward pass."""
    field, y0 = Network(width=32).double(), torch.ones(50, 3, dtype=torch.float64)
    solve = integrator(solver, gradient=gradient, step_size=1 / steps)
    times = torch.tensor([0.0, 1.0], dtype=torch.float64)
    with StorageMeter([*field.parameters(), y0, times]) as meter:
        solve(field, y0, times)[-1].sum().backward()
    return meter.peak


STATE = 50 * 3 * 8  # bytes
GROWTH = {  # bytes that a further step takes; the interpolated adjoint is solved on a grid of one float64 a step
    ("rk4", Gradient.ACA): STATE,
    ("rk4", Gradient.SYMPLECTIC): STATE,
    ("rk4", Gradient.INTERPOLATED): 2 * STATE + 8,
    ("rk4", Gradient.REVERSIBLE): 0,
    ("mali:alf", Gradient.REVERSIBLE): 0,
}


@pytest.mark.parametrize(("solver", "gradient"), GROWTH)
def test_memory_grows_with_the_steps_as_published(solver, gradient):
    found = [peak(solver, gradient, steps) for steps in (4, 8, 16)]
    per_step = GROWTH[solver, gradient]
    assert found[1] - found[0] == 4 * per_step
    assert found[2] - found[1] == 8 * per_step


def test_a_symplectic_step_holds_the_graph_of_one_evaluation():
    """ACA holds those of all stages of a step; direct those of all steps."""
    symplectic, aca, direct = (peak("rk4", one, 16) for one in (Gradient.SYMPLECTIC, Gradient.ACA, Gradient.DIRECT))
    assert symplectic < aca < direct / 4


@pytest.mark.slow
def test_memory_is_the_same_to_the_byte_in_another_process():
    here = Path(__file__).parent
    code = f"import sys; sys.path[:0] = [{str(here)!r}, {str(here.parent)!r}]; import {Path(__file__).stem} as t\n"
    command = [sys.executable, "-c", code + "print([t.peak(*one, 4) for one in t.GROWTH])"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str([peak(*one, 4) for one in GROWTH])


OWN = (*REPLAYED, Gradient.REVERSIBLE, Gradient.INTERPOLATED)


@pytest.mark.parametrize("gradient", OWN)
def test_a_kept_graph_can_be_differentiated_again(gradient):
    field, y0 = Network(width=4).double(), Y0.clone().requires_grad_()
    loss = integrator("rk4", gradient=gradient, step_size=0.25)(field, y0, TIMES).pow(2).sum()
    first, again = (torch.autograd.grad(loss, [y0, *field.parameters()], retain_graph=True) for _ in range(2))
    assert all(map(torch.equal, first, again))


@pytest.mark.parametrize("gradient", OWN)
def test_frozen_parameters_and_initial_states_get_no_gradient(gradient):
    field = Network(width=4).double()
    field.net[0].weight.requires_grad_(False)
    solve = integrator("rk4", gradient=gradient, step_size=0.05)
    solve(field, Y0, TIMES).pow(2).sum().backward()
    assert field.net[0].weight.grad is None
    expected = Network(width=4).double()
    integrator("rk4", gradient=Gradient.DIRECT, step_size=0.05)(expected, Y0, TIMES).pow(2).sum().backward()
    torch.testing.assert_close(field.net[2].weight.grad, expected.net[2].weight.grad, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("gradient", OWN)
def test_a_field_without_derivatives_passes_the_gradient_on(gradient):
    """y' = t: no parameter, and no dependence on the state."""

    class Clock(nn.Module):
        def forward(self, t, y):
            return t.expand_as(y)

    y0 = Y0.clone().requires_grad_()
    states = integrator("rk4", gradient=gradient, step_size=0.1)(Clock(), y0, TIMES)
    states[-1].sum().backward()
    torch.testing.assert_close(states[-1].detach(), Y0 + 0.5)
    torch.testing.assert_close(y0.grad, torch.ones_like(Y0))


class Hiding(nn.Module):
    """A field that uses a tensor which is not among its parameters."""

    def __init__(self):
        super().__init__()
        self.hidden = [torch.tensor(0.5, requires_grad=True)]

    def forward(self, t, y):
        return -self.hidden[0] * y


@pytest.mark.parametrize("gradient", OWN)
def test_a_hidden_parameter_is_refused(gradient):
    y0 = Y0.clone().requires_grad_()
    states = integrator("rk4", gradient=gradient, step_size=0.5)(Hiding(), y0, TIMES)
    with pytest.raises(SolveFailed, match="to be a parameter of the field") as failure:
        states.sum().backward()
    assert failure.value.status is Status.UNSUPPORTED


@pytest.mark.parametrize("gradient", OWN)
def test_a_gradient_of_the_times_is_refused(gradient):
    with pytest.raises(SolveFailed, match="does not differentiate with respect to the output times"):
        integrator("dopri5", gradient=gradient)(Network().double(), Y0, TIMES.clone().requires_grad_())


@pytest.mark.parametrize("gradient", OWN)
def test_events_are_refused(gradient):
    with pytest.raises(SolveFailed, match="supports no events"):
        integrator("dopri5", gradient=gradient).until_event(Network().double(), Y0, TIMES[[0, 2]], lambda t, y: t - 0.5)


@pytest.mark.parametrize("solver", ["explicit_adams", "implicit_adams"])
@pytest.mark.parametrize("gradient", [*REPLAYED, Gradient.REVERSIBLE])
def test_methods_that_use_earlier_steps_are_refused(solver, gradient):
    with pytest.raises(SolveFailed, match="no explicit Runge–Kutta method"):
        integrator(solver, gradient=gradient, step_size=0.1)(Network().double(), Y0, TIMES)


@pytest.mark.parametrize("solver", ["adaptive_heun", "fehlberg2"])
def test_methods_whose_steps_begin_with_a_stage_of_the_last_one_are_refused_or_reversible(solver):
    for gradient in REPLAYED:
        with pytest.raises(SolveFailed, match="cannot be recomputed one by one"):
            integrator(solver, gradient=gradient)(Network().double(), Y0, TIMES)
    integrator(solver, gradient=Gradient.REVERSIBLE)(Network().double(), Y0, TIMES).sum().backward()


@pytest.mark.parametrize("method", [*FIXED, "bosh3", "dopri5", "dopri8", "fehlberg2", "adaptive_heun"])
def test_tableaux_are_consistent(method):
    """Rows add up to the nodes, the weights to 1, those of the error to 0; a step is the library's own."""
    tableau = tableau_of(method)
    for row, node in zip(tableau.a, tableau.c, strict=True):
        assert sum(row) == pytest.approx(node, abs=1e-12)
    assert sum(tableau.b) == pytest.approx(1)
    assert sum(tableau.error or ()) == pytest.approx(0, abs=1e-12)
    assert tableau.order == SOLVERS[method].order
    assert tableau.weights(1.0) == tableau.b


@pytest.mark.parametrize("gradient", OWN)
def test_float32_gives_float32(gradient):
    _, found, _ = differentiated("dopri5", gradient, dtype=torch.float32, rtol=1e-4, atol=1e-4)
    _, expected, _ = differentiated("dopri5", Gradient.DIRECT, rtol=1e-8, atol=1e-8)
    assert found.dtype is torch.float32
    assert_equal_to_rounding(found.double(), expected, 1e-2)
