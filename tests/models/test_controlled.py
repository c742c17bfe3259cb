"""Neural controlled equations: the paths against SciPy, a solve against a Riemann–Stieltjes sum, the data."""

import numpy as np
import pytest
import torch
from problems import integrator
from scipy.interpolate import CubicSpline
from torch import nn

from nodebench.models.controlled import CdeField, GruClassifier, NeuralCDE, spline_coefficients
from nodebench.running.expand import multiply
from nodebench.spec import DataSource, Gradient, Grid
from nodebench.tasks.chirality import TURNS, ChiralityOptions, observation_times, spirals
from nodebench.trial.build import experiment_of

KNOTS = torch.tensor([0.0, 0.4, 1.5, 1.7, 3.0], dtype=torch.float64)
VALUES = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
PATHS = spline_coefficients(KNOTS.numpy(), VALUES.numpy())


@pytest.mark.parametrize("t", [0.0, 0.2, 0.4, 1.6, 2.9, 3.0])
def test_the_derivative_of_a_path_is_that_of_scipys_spline(t):
    field = CdeField(torch.nn.Identity(), KNOTS, PATHS)
    expected = CubicSpline(KNOTS.numpy(), VALUES.numpy(), axis=1, bc_type="natural")(t, 1)
    assert np.allclose(field.path_derivative(torch.tensor(t, dtype=torch.float64)).numpy(), expected, atol=1e-12)


def test_paths_may_have_times_of_their_own():
    field = CdeField(torch.nn.Identity(), KNOTS, PATHS)
    times = torch.tensor([[0.2], [2.9]], dtype=torch.float64)
    together = field.path_derivative(times)
    assert torch.equal(together[0], field.path_derivative(times[0, 0])[0])
    assert torch.equal(together[1], field.path_derivative(times[1, 0])[1])


def test_a_batch_whose_samples_step_on_their_own_has_the_same_end():
    model = cde()
    with torch.no_grad():
        joint = model(PATHS)
        model.solve = integrator("torchode:dopri5", rtol=1e-7, atol=1e-7, batching="each")
        assert torch.allclose(model(PATHS), joint, atol=1e-5)


def test_a_field_of_ones_integrates_the_path():
    """With f = 1 the state moves as the sum of the channels does."""

    class Ones(torch.nn.Module):
        def forward(self, z):
            return torch.ones(len(z), 6, dtype=z.dtype)

    z0 = torch.zeros(2, 2, dtype=torch.float64)
    end = integrator("dopri5", rtol=1e-9, atol=1e-9)(CdeField(Ones(), KNOTS, PATHS), z0, KNOTS[[0, -1]])[-1]
    moved = (VALUES[:, -1] - VALUES[:, 0]).sum(1, keepdim=True).expand(2, 2)
    assert torch.allclose(end, moved, atol=1e-6)


def cde() -> NeuralCDE:
    torch.manual_seed(0)
    solve = integrator("dopri5", rtol=1e-7, atol=1e-7, gradient=Gradient.ADJOINT)
    return NeuralCDE(KNOTS, 3, 4, 16, nn.Softplus, solve).double()


def test_the_output_is_that_of_a_riemann_stieltjes_sum():
    """Heun's rule on increments of the path, over 4,000 steps."""
    model = cde()
    times = np.linspace(0, 3, 4001)
    path = torch.from_numpy(CubicSpline(KNOTS.numpy(), VALUES.numpy(), axis=1, bc_type="natural")(times))
    with torch.no_grad():
        z = model.initial(VALUES[:, 0])
        for increment in path.diff(dim=1).unbind(1):
            first = torch.einsum("bhc,bc->bh", model.field(z).unflatten(1, (4, 3)), increment)
            second = torch.einsum("bhc,bc->bh", model.field(z + first).unflatten(1, (4, 3)), increment)
            z = z + (first + second) / 2
        assert torch.allclose(model(PATHS), model.readout(z), atol=1e-5)


def test_the_adjoint_reaches_the_parameters_of_the_field():
    model = cde()
    model(PATHS).sum().backward()
    adjoint = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    model.solve = integrator("rk4", step_size=0.02, gradient=Gradient.DIRECT)
    model(PATHS).sum().backward()
    for found, parameter in zip(adjoint, model.parameters(), strict=True):
        assert torch.allclose(found, parameter.grad, rtol=1e-3, atol=1e-5)


def test_the_gru_sees_every_observation():
    torch.manual_seed(0)
    model = GruClassifier(KNOTS, 3, 5).double()
    expected = model.readout(model.gru(VALUES)[0][:, -1])
    assert torch.allclose(model(PATHS), expected, atol=1e-12)


@pytest.mark.parametrize("irregular", [False, True])
def test_half_of_the_spirals_are_mirrored(irregular):
    times = observation_times(ChiralityOptions(irregular=irregular))
    assert (len(times), times[0], times[-1]) == (100, 0, TURNS)
    assert (times.diff() > 0).all()
    values, labels = spirals(times, 10, 0.0, torch.Generator().manual_seed(0))
    assert labels.sum() == 5
    assert torch.equal(values[..., 0], times.expand(10, -1))
    position = values[..., 1:] * (1 + times / 2).unsqueeze(1)
    assert torch.allclose(position.norm(dim=-1), torch.ones(10, 100, dtype=torch.float64))
    turned = torch.atan2(position[..., 1], position[..., 0]).numpy()
    swept = np.unwrap(turned, axis=1)[:, -1] - turned[:, 0]
    assert np.allclose(swept[:5], -TURNS) if not irregular else (swept[:5] < 0).all()
    assert np.allclose(swept[5:], TURNS) if not irregular else (swept[5:] > 0).all()


def test_the_error_is_the_share_of_series_that_are_told_wrongly():
    grid = Grid(task="toy/chirality", model=["constant"], preset="smoke", overrides={"test_series": [64]})
    (trial,) = multiply(grid, DataSource())[0]
    experiment = experiment_of(trial, integrator("rk4", step_size=0.5), DataSource())
    for number, wrong in ((-1.0, 32), (1.0, 32)):
        torch.nn.init.constant_(experiment.model.number, number)
        with torch.no_grad():
            assert experiment.metrics(experiment.model)["test_error"] == 50.0
        assert experiment.wrong.sum() == wrong
