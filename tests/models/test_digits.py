import pytest
import torch
from problems import integrator
from torch import nn
from torch.nn import functional

from nodebench.models.digits import ConvField, ReluField, ResidualBlock, mlp, ode_net, relu_field_net, res_net
from nodebench.models.fields import MlpField
from nodebench.models.ode_block import OdeBlock
from nodebench.spec import Gradient


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("network", "count"),
    [
        (lambda: ode_net(integrator("dopri5")), 208_266),
        (lambda: res_net(6), 576_778),
        (lambda: res_net(1), 206_858),
        (lambda: res_net(0), 132_874),
        (mlp, 238_510),
        (ConvField, 75_392),
        (lambda: MlpField((2, 50, 2)), 252),
    ],
)
def test_parameters_are_as_published(network, count):
    assert parameters(network()) == count


@pytest.mark.parametrize(
    "network",
    [
        lambda: ode_net(integrator("rk4")),
        lambda: res_net(6),
        lambda: res_net(0),
        mlp,
        lambda: relu_field_net(integrator("rk4")),
    ],
)
def test_networks_give_ten_logits(network):
    assert network()(torch.zeros(3, 1, 28, 28)).shape == (3, 10)


def test_a_relu_field_alone_is_trained():
    trained = [p for p in relu_field_net(integrator("rk4")).parameters() if p.requires_grad]
    assert [p.shape for p in trained] == [(1, 1, 3, 3)]


def test_a_relu_field_is_a_padded_convolution_and_a_relu():
    generator = torch.Generator().manual_seed(0)
    field, images = ReluField(), torch.rand(2, 1, 5, 5, generator=generator)
    kernel = torch.randn(1, 1, 3, 3, generator=generator)
    field.conv.weight.data.copy_(kernel)
    patches = functional.unfold(images, 3, padding=1)
    by_hand = (patches * kernel.reshape(9, 1)).sum(1).clamp(min=0).reshape(2, 1, 5, 5)
    assert torch.allclose(field(torch.tensor(0.0), images), by_hand, atol=1e-6)
    assert (by_hand > 0).any()
    assert (by_hand == 0).any()


def test_equal_seeds_give_equal_stems():
    stems = []
    for build in (lambda: ode_net(integrator("rk4")), lambda: res_net(6), lambda: res_net(0)):
        torch.manual_seed(7)
        stems.append(torch.cat([p.reshape(-1) for p in build()[:7].parameters()]))
    assert torch.equal(stems[0], stems[1])
    assert torch.equal(stems[0], stems[2])


class TiedResiduals(nn.Module):
    """N times ``x + h f(x)`` with one f."""

    def __init__(self, field: nn.Module, blocks: int) -> None:
        super().__init__()
        self.field, self.blocks = field, blocks

    def forward(self, x):
        for i in range(self.blocks):
            x = x + self.field(torch.tensor(i / self.blocks, dtype=x.dtype), x) / self.blocks
        return x


@pytest.mark.parametrize("blocks", [1, 3, 8])
@pytest.mark.parametrize("gradient", [one for one in Gradient if one is not Gradient.REVERSIBLE])  # another method
def test_tied_residual_blocks_are_eulers_method(blocks, gradient):
    """Outputs to rounding; gradients to rounding where the method is exact, and only roughly for an adjoint.

    An adjoint solves a second ODE with Euler steps of its own, so its gradient is not the network's.
    """
    torch.manual_seed(0)
    field = ConvField(8).double()
    x = torch.randn(2, 8, 5, 5, dtype=torch.float64)
    results = []
    for block in (
        TiedResiduals(field, blocks),
        OdeBlock(field, integrator("euler", step_size=1 / blocks, gradient=gradient)),
    ):
        field.zero_grad()
        out = block(x)
        out.pow(2).mean().backward()
        results.append((out.detach(), torch.cat([p.grad.reshape(-1) for p in field.parameters()])))
    (residual, residual_grad), (euler, euler_grad) = results
    assert torch.allclose(residual, euler, rtol=1e-12, atol=1e-12)
    difference = ((residual_grad - euler_grad).norm() / residual_grad.norm()).item()
    if gradient in (Gradient.DIRECT, Gradient.CHECKPOINT, Gradient.ACA, Gradient.SYMPLECTIC):
        assert difference < 1e-12
    else:
        assert difference > 1e-6


def group_norm(norm: nn.GroupNorm, x):
    """Mean 0 and variance 1 over each group of channels, then scaled and shifted channel by channel."""
    groups = x.reshape(len(x), norm.num_groups, -1)
    centred = groups - groups.mean(-1, keepdim=True)
    plain = (centred / (centred.square().mean(-1, keepdim=True) + norm.eps).sqrt()).reshape(x.shape)
    return plain * norm.weight[:, None, None] + norm.bias[:, None, None]


def perturbed(module: nn.Module) -> nn.Module:
    """In float64, no weight at the zero or one where it begins."""
    torch.manual_seed(1)
    module = module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


def test_the_field_is_two_convolutions_that_see_the_time():
    """Written out after torchdiffeq's examples/odenet_mnist.py."""
    field, x = perturbed(ConvField(8)), torch.randn(2, 8, 5, 5, dtype=torch.float64)
    found = []
    for t in (torch.tensor(0.0).double(), torch.tensor(0.7).double()):
        clock = torch.full((2, 1, 5, 5), float(t), dtype=torch.float64)
        y = torch.relu(group_norm(field.norm1, x))
        y = functional.conv2d(torch.cat([clock, y], 1), field.conv1.weight, field.conv1.bias, padding=1)
        y = torch.relu(group_norm(field.norm2, y))
        y = functional.conv2d(torch.cat([clock, y], 1), field.conv2.weight, field.conv2.bias, padding=1)
        found.append(field(t, x.clone()))
        torch.testing.assert_close(found[-1], group_norm(field.norm3, y))
    assert not torch.allclose(*found)


def test_a_residual_block_adds_its_input_to_two_convolutions():
    block, x = perturbed(ResidualBlock(8)), torch.randn(2, 8, 5, 5, dtype=torch.float64)
    y = functional.conv2d(torch.relu(group_norm(block.norm1, x)), block.conv1.weight, padding=1)
    y = functional.conv2d(torch.relu(group_norm(block.norm2, y)), block.conv2.weight, padding=1)
    torch.testing.assert_close(block(x.clone()), x + y)
