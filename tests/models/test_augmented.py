"""States with extra channels, and second-order fields, against fields written out."""

import math

import pytest
import torch
from problems import integrator
from torch import nn

from nodebench.models import digits
from nodebench.models.augmented import Augment, AugmentedTrajectories
from nodebench.models.fields import MlpField
from nodebench.models.second_order import HeavyBall, Launch, SecondOrder
from nodebench.models.systems import Linear
from nodebench.models.trajectories import OdeTrajectories

TIMES = torch.linspace(0, 3, 7, dtype=torch.float64)


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("shape", [(3, 2), (3, 4, 5, 5)])
def test_extra_channels_are_zeros_after_the_others(shape):
    x = torch.rand(shape)
    y = Augment(2)(x)
    assert y.shape == (3, shape[1] + 2, *shape[2:])
    assert torch.equal(y[:, :-2], x)
    assert (y[:, -2:] == 0).all()
    assert torch.equal(Augment(0)(x), x)


@pytest.mark.parametrize(
    ("augmented", "plain"),
    [
        (
            lambda: digits.augmented_ode_net(integrator("rk4", step_size=0.5), 0),
            lambda: digits.ode_net(integrator("rk4", step_size=0.5)),
        ),
        (lambda: digits.augmented_res_net(2, 0), lambda: digits.res_net(2)),
    ],
)
def test_a_digit_network_without_extra_channels_is_the_plain_one(augmented, plain):
    images = torch.rand(2, 1, 28, 28)
    outputs = []
    for build in (augmented, plain):
        torch.manual_seed(0)
        outputs.append(build()(images))
    assert torch.equal(*outputs)


def test_the_augmented_digit_networks_have_the_stated_parameters():
    assert parameters(digits.augmented_ode_net(integrator("rk4"))) == 250_346
    assert parameters(digits.augmented_res_net(6)) == 826_186


def test_augmented_trajectories_are_the_observed_part_of_the_whole_flow():
    """A linear field of three components, of which two are observed, against the matrix exponential."""
    matrix = torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    flow = OdeTrajectories(Linear(matrix), integrator("dopri5", rtol=1e-9, atol=1e-9))
    y0 = torch.tensor([[1.0, 2.0], [-1.0, 0.5]], dtype=torch.float64)
    found = AugmentedTrajectories(flow, 1)(y0, torch.zeros(2, 1), TIMES.expand(2, -1))
    whole = torch.nn.functional.pad(y0, (0, 1))
    exact = torch.stack([whole @ torch.linalg.matrix_exp(t * matrix) for t in TIMES], 1)
    assert found.shape == (2, 7, 2)
    assert torch.allclose(found, exact[..., :2], rtol=1e-6, atol=1e-6)
    assert exact[..., 2].abs().max() > 0.1  # the hidden component moves


class Force(nn.Module):
    """A spring of stiffness 2 in place of a network; with ``drag`` it sees the velocity, too."""

    sees_time = False

    def __init__(self, drag: float | None = None) -> None:
        super().__init__()
        self.drag = drag

    def forward(self, t, y):
        if self.drag is None:
            return -2 * y
        position, velocity = y.chunk(2, -1)
        return -2 * position - self.drag * velocity


def oscillation(rate: float, x: float, v: float, t: torch.Tensor) -> torch.Tensor:
    """Of ``x'' = −2 x − 2 rate x'``, in closed form."""
    omega = math.sqrt(2 - rate**2)
    return torch.exp(-rate * t) * (x * torch.cos(omega * t) + (v + rate * x) / omega * torch.sin(omega * t))


@pytest.mark.parametrize("family", ["second-order", "heavy-ball"])
def test_a_second_order_field_moves_as_a_damped_spring(family):
    solve = integrator("dopri5", rtol=1e-9, atol=1e-9)
    if family == "second-order":
        rate, field = 0.3, SecondOrder(Force(drag=0.6))
    else:
        field = HeavyBall(Force()).double()
        with torch.no_grad():
            field.damping.fill_(0.7)
        rate = 0.5 / (1 + math.exp(-0.7))
    states = solve(field, torch.tensor([[1.0, -0.5]], dtype=torch.float64), TIMES)[:, 0]
    exact = oscillation(rate, 1.0, -0.5, TIMES)
    assert torch.allclose(states[:, 0], exact, atol=1e-7)
    later = oscillation(rate, 1.0, -0.5, TIMES + 1e-6)
    assert torch.allclose(states[:, 1], (later - exact) / 1e-6, atol=1e-5)


def test_networks_of_second_order_take_states_of_any_batch_shape():
    for field in (SecondOrder(MlpField((4, 8, 2), sees_time=True)), HeavyBall(MlpField((2, 8, 2), sees_time=True))):
        assert field.sees_time
        assert field(torch.tensor(0.5), torch.rand(5, 3, 4)).shape == (5, 3, 4)


def test_a_launch_keeps_the_position():
    x = torch.rand(5, 2)
    y = Launch(2, 8)(x)
    assert y.shape == (5, 4)
    assert torch.equal(y[:, :2], x)
    assert y[:, 2:].std() > 0
