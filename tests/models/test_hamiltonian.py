"""A field that differentiates: closed forms, double backward through both gradients, and what is conserved."""

import pytest
import torch
from problems import integrator
from torch import nn

from nodebench.models.hamiltonian import HamiltonianField
from nodebench.models.systems import Pendulum, exact_states
from nodebench.spec import Gradient


class Quadratic(nn.Module):
    """``q²`` times a parameter, plus ``p²/2``."""

    def __init__(self):
        super().__init__()
        self.stiffness = nn.Parameter(torch.tensor(0.7, dtype=torch.float64))

    def forward(self, y):
        return self.stiffness * y[..., :1] ** 2 + y[..., 1:] ** 2 / 2


def oscillator() -> HamiltonianField:
    field = HamiltonianField(1, (4,)).double()
    field.energy = Quadratic()
    return field


@pytest.mark.parametrize("asks", [True, False])
def test_the_field_of_a_known_energy_is_its_symplectic_gradient(asks):
    y = torch.randn(5, 2, dtype=torch.float64)
    with torch.set_grad_enabled(asks):
        slope = oscillator()(torch.zeros(()), y)
    assert torch.allclose(slope.detach(), torch.stack([y[:, 1], -1.4 * y[:, 0]], 1))
    assert slope.requires_grad is asks
    assert not y.requires_grad


@pytest.mark.parametrize(
    "gradient", [Gradient.DIRECT, Gradient.CHECKPOINT, Gradient.ADJOINT, Gradient.ADJOINT_SEMINORM]
)
def test_gradients_through_a_solve_are_those_of_the_closed_form(gradient):
    """``q(t) = cos(ω t)`` with ``ω² = 2 k``, so ``dq/dk = −t sin(ω t) / ω``."""
    field, start = oscillator(), torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    solve = integrator("dopri5", rtol=1e-8, atol=1e-8, gradient=gradient)
    end = solve(field, start, torch.tensor([0.0, 2.0], dtype=torch.float64))[-1, 0, 0]
    end.backward()
    frequency = 1.4**0.5
    assert end.item() == pytest.approx(torch.tensor(2 * frequency).cos().item(), abs=1e-6)
    assert field.energy.stiffness.grad.item() == pytest.approx(
        -2 * torch.tensor(2 * frequency).sin().item() / frequency, rel=1e-6
    )


def test_the_learned_energy_is_constant_along_exact_trajectories():
    torch.manual_seed(0)
    field = HamiltonianField(2, (8, 8)).double()
    start = torch.randn(3, 4, dtype=torch.float64)
    solve = integrator("dopri8", rtol=1e-11, atol=1e-11)
    with torch.no_grad():
        energy = field.energy(solve(field, start, torch.linspace(0, 5, 4, dtype=torch.float64)))
    assert torch.allclose(energy, energy[:1].expand_as(energy), atol=1e-8)
    assert (energy[0] - energy[0, 0]).abs().max() > 1e-3  # of different trajectories it differs


def test_a_small_swing_of_the_pendulum_is_harmonic_and_a_large_one_keeps_its_energy():
    times = torch.linspace(0, 6, 30, dtype=torch.float64)
    small = exact_states(Pendulum(), torch.tensor([1e-3, 0.0], dtype=torch.float64), times)
    assert torch.allclose(small[:, 0], 1e-3 * times.cos(), atol=1e-8)
    large = Pendulum().energy(exact_states(Pendulum(), torch.tensor([1.5, 0.0], dtype=torch.float64), times))
    assert torch.allclose(large, torch.full_like(large, 1 - torch.tensor(1.5).cos().item()), atol=1e-7)
