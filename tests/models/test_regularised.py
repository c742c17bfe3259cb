"""Penalties along a solution against closed forms, finite differences and counts of calls."""

import math

import pytest
import torch
from problems import Network, integrator
from torch import nn

from nodebench.models.regularised import Penalised, Regularisation, RegularisedIntegrator, total_derivative
from nodebench.spec import Gradient

A, B, END = -0.3, 1.7, 0.8
TURN = A**2 + B**2  # the squared norm of the matrix of a spiral per squared norm of the state


class Spiral(nn.Module):
    """z' = z M with M = [[A, B], [-B, A]], whose norm decays as exp(A t)."""

    def forward(self, t, z):
        return z @ torch.tensor([[A, B], [-B, A]], dtype=z.dtype)


class Swing(nn.Module):
    """z' = cos t, which depends on the time alone."""

    def forward(self, t, z):
        return torch.cos(t) * torch.ones_like(z)


WEIGHTS = {"kinetic": 0.3, "jacobian": 0.2, "taylor2": 0.05, "taylor3": 0.02}
STARTS = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TIMES = torch.tensor([0.0, END], dtype=torch.float64)


def solved(field, y0=STARTS, times=TIMES, solver="dopri5", gradient=None, **weights):
    """The penalty of one solve, its states, and the integrator that was wrapped."""
    control = {"rtol": 1e-9, "atol": 1e-9} if solver == "dopri5" else {"step_size": 0.1}
    inner = integrator(solver, gradient=gradient, **control)
    solve = RegularisedIntegrator(inner, Regularisation(**weights))
    states = solve(field, y0, times)
    penalty = solve.take_penalty()
    return penalty, states, inner


# Mean over two components of the integral of |d^n z/dt^n|² = TURN^n |z0|² exp(2 A t).
DECAY = (math.exp(2 * A * END) - 1) / (2 * A) * float(STARTS.square().sum(1).mean()) / 2


@pytest.mark.parametrize("times", [TIMES, TIMES.flip(0)], ids=["forwards", "backwards"])
@pytest.mark.parametrize(("weight", "power"), [("kinetic", 1), ("taylor2", 2), ("taylor3", 3)])
def test_penalties_of_a_linear_field_are_those_of_its_closed_form(weight, power, times):
    starts = STARTS if times[0] == 0 else STARTS @ torch.matrix_exp(END * torch.tensor([[A, B], [-B, A]]).double())
    penalty, states, _ = solved(Spiral(), starts, times, **{weight: 0.5})
    assert float(penalty) == pytest.approx(0.5 * TURN**power * DECAY, rel=1e-6)
    assert states.shape == (2, 5, 2)


@pytest.mark.parametrize(("weight", "integral"), [("taylor2", -1), ("taylor3", 1)])
def test_the_derivative_of_a_solution_includes_that_of_the_field_with_respect_to_time(weight, integral):
    """The derivatives of sin t are cos t, -sin t and -cos t."""
    penalty, _, _ = solved(Swing(), **{weight: 1.0})
    assert float(penalty) == pytest.approx(END / 2 + integral * math.sin(2 * END) / 4, rel=1e-6)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_total_derivatives_of_a_logistic_solution(order):
    z = torch.tensor([0.2, 0.7], dtype=torch.float64)
    f = z * (1 - z)
    known = {1: f, 2: (1 - 2 * z) * f, 3: ((1 - 2 * z) ** 2 - 2 * f) * f}
    found = total_derivative(lambda t, z: z * (1 - z), order)(torch.tensor(0.0), z)
    assert torch.allclose(found, known[order], atol=1e-14)


def test_the_estimate_of_the_squared_jacobian_is_right_on_average():
    """Many samples at one point, each with noise of its own; a linear field has the same Jacobian everywhere."""
    count = 20_000
    penalty, _, _ = solved(Spiral(), torch.ones(count, 2, dtype=torch.float64), solver="rk4", jacobian=1.0)
    exact = TURN * END  # the two rows of the Jacobian, over two components
    # The squared norm of noise times a scaled rotation is chi-squared with two degrees of freedom.
    assert abs(float(penalty) - exact) < 4 * exact / count**0.5


@pytest.mark.parametrize("needs_gradient", [False, True])
def test_a_penalty_is_the_same_with_and_without_gradients(needs_gradient):
    """Within an adjoint's forward solve gradients are off and the state may still ask for them."""
    field, t = Network(dimension=2).double(), torch.tensor(0.4, dtype=torch.float64)
    penalised = Penalised(field, integrator("rk4"), STARTS, Regularisation(**WEIGHTS))
    state = torch.cat([STARTS, STARTS[:, :1]], 1).requires_grad_(needs_gradient)
    with torch.no_grad():
        without = penalised(t, state)
    assert not without.requires_grad
    assert torch.equal(without, penalised(t, state))


def test_the_estimate_is_the_product_of_noise_and_jacobian():
    field, t = Network(dimension=3).double(), torch.tensor(0.4, dtype=torch.float64)
    y = torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    penalised = Penalised(field, integrator("rk4"), y, Regularisation(jacobian=1.0))
    rate = penalised(t, torch.cat([y, y[:, :1]], 1))[:, -1] / 1e-6
    for i in range(4):
        jacobian = torch.autograd.functional.jacobian(lambda z: field(t, z[None])[0], y[i])
        by_hand = (penalised._noise[i] @ jacobian).square().mean()
        assert float(rate[i]) == pytest.approx(float(by_hand), rel=1e-10)


@pytest.mark.parametrize(
    "gradient", [Gradient.DIRECT, Gradient.ADJOINT, pytest.param(Gradient.CHECKPOINT, marks=pytest.mark.slow)]
)
def test_gradients_of_the_penalties_are_those_of_finite_differences(gradient):
    field = Network(width=4, dimension=2).double()
    weight = field.net[0].weight

    def penalty():
        torch.manual_seed(0)
        return solved(field, gradient=gradient, **WEIGHTS)[0]

    penalty().backward()
    for index in ((0, 0), (3, 1), (2, 2)):  # the last column multiplies the time
        found, step = float(weight.grad[index]), 1e-5
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                weight[index] += sign * step
                values.append(float(penalty()))
                weight[index] -= sign * step
        assert found == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5, abs=1e-9)


class Counted(Network):
    calls = 0

    def forward(self, t, y):
        self.calls += 1
        return super().forward(t, y)


@pytest.mark.parametrize(
    ("weights", "times"),
    [
        ({"kinetic": 1.0}, 1),
        ({"jacobian": 1.0}, 1),
        ({"taylor2": 1.0}, 2),
        ({"taylor3": 1.0}, 3),
        ({"kinetic": 1.0, "taylor2": 1.0, "taylor3": 1.0}, 4),
    ],
)
def test_every_evaluation_of_a_penalty_is_counted(weights, times):
    """A derivative of order n takes n - 1 evaluations beside the solver's own; the others take none."""
    field = Counted(dimension=2).double()
    _, _, inner = solved(field, solver="rk4", **weights)
    assert field.calls == inner.counter.forward == 4 * 8 * times


def test_penalties_do_not_choose_the_steps():
    field = Network(dimension=2).double()
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.mul_(4)
    starts = STARTS
    plain = integrator("dopri5", rtol=1e-9, atol=1e-9)
    expected = plain(field, starts, TIMES)
    _, states, inner = solved(field, starts, kinetic=100.0)
    # The norm of the error is a mean over three columns in place of two, hence a few steps less.
    assert 0.8 * plain.counter.forward <= inner.counter.forward <= plain.counter.forward
    assert torch.allclose(states, expected, atol=1e-7)


def test_nothing_is_penalised_in_evaluation_mode():
    field = Network(dimension=2).double().eval()
    penalty, states, _ = solved(field, kinetic=1.0, steer=0.5)
    assert penalty == 0.0
    assert torch.equal(states, integrator("dopri5", rtol=1e-9, atol=1e-9)(field, STARTS, TIMES))


def test_states_may_have_any_shape_and_the_first_derivative_any_penalty():
    class Image(nn.Module):
        def forward(self, t, z):
            return -z

    images = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    penalty, states, _ = solved(Image(), images, **WEIGHTS | {"jacobian": 0.0})
    assert states.shape == (2, 3, 2, 4, 4)
    decay = (1 - math.exp(-2 * END)) / 2 * float(images.square().mean())
    assert float(penalty) == pytest.approx((0.3 + 0.05 + 0.02) * decay, rel=1e-6)


def test_the_end_time_is_drawn_evenly_about_the_end():
    """x' = 1: where a solve ends is how long it was."""

    class Constant(nn.Module):
        def forward(self, t, z):
            return torch.ones_like(z)

    torch.manual_seed(0)
    solve = RegularisedIntegrator(integrator("euler"), Regularisation(steer=0.25))
    start, times = torch.zeros(1, 1, dtype=torch.float64), torch.tensor([2.0, 0.0], dtype=torch.float64)
    ends = torch.stack([2 + solve(Constant(), start, times)[-1, 0, 0] for _ in range(400)])
    assert float(ends.min()) >= -0.5
    assert float(ends.max()) <= 0.5
    assert abs(float(ends.mean())) < 4 * 0.5 / math.sqrt(3 * 400)
    assert float(ends.std()) == pytest.approx(0.5 / math.sqrt(3), rel=0.1)
