import pytest
import torch
from problems import integrator
from torch import nn

from nodebench.models.digits import ConvField, mlp, ode_net, res_net
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


@pytest.mark.parametrize("network", [lambda: ode_net(integrator("rk4")), lambda: res_net(6), lambda: res_net(0), mlp])
def test_networks_give_ten_logits(network):
    assert network()(torch.zeros(3, 1, 28, 28)).shape == (3, 10)


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
@pytest.mark.parametrize("gradient", list(Gradient))
def test_tied_residual_blocks_are_eulers_method(blocks, gradient):
    """Outputs to rounding; gradients to rounding for direct and with checkpoints, and only roughly for the adjoint.

    The adjoint solves a second ODE with Euler steps of its own, so its gradient is not the network's.
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
    if gradient in (Gradient.DIRECT, Gradient.CHECKPOINT):
        assert difference < 1e-12
    else:
        assert difference > 1e-6
