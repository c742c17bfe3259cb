"""Networks of points: a flow or a chain of residual blocks, between what prepares the state and what reads it."""

from collections.abc import Callable

from torch import Tensor, nn

from nodebench.models.augmented import Augment
from nodebench.models.fields import MlpField
from nodebench.models.ode_block import OdeBlock
from nodebench.models.second_order import HeavyBall, Launch, SecondOrder
from nodebench.solvers import Solve

BLOCKS = 4  # of a residual network

Activation = Callable[[], nn.Module]


class Residual(nn.Module):
    """``x + net(x)``."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, D)`` to the same shape."""
        return x + self.net(x)


class Leading(nn.Module):
    """The first components of a state."""

    def __init__(self, components: int) -> None:
        super().__init__()
        self.components = components

    def forward(self, y: Tensor) -> Tensor:
        """Map ``(N, D)`` to ``(N, components)``."""
        return y[:, : self.components]


def residual_chain(width: int, hidden: int, activation: Activation) -> nn.Sequential:
    """Residual blocks of points of ``width`` components; in each the network of the flows, without the time."""
    widths = (width, hidden, hidden, width)
    return nn.Sequential(*(Residual(MlpField(widths, activation).net) for _ in range(BLOCKS)))


def point_flow(width: int, hidden: int, activation: Activation, solve: Solve) -> OdeBlock:
    """The flow of a field with two hidden layers that sees the time, over [0, 1].

    Source: ``ODEFunc`` in the authors' code of Dupont et al. 2019.
    """
    return OdeBlock(MlpField((width, hidden, hidden, width), activation, sees_time=True), solve)


def second_order_flow(
    dimension: int, hidden: int, activation: Activation, solve: Solve, heavy_ball: bool
) -> nn.Sequential:
    """The position at time 1 of a second-order flow whose initial velocity is learned."""
    field: nn.Module
    if heavy_ball:
        field = HeavyBall(MlpField((dimension, hidden, hidden, dimension), activation, sees_time=True))
    else:
        field = SecondOrder(MlpField((2 * dimension, hidden, hidden, dimension), activation, sees_time=True))
    return nn.Sequential(Launch(dimension, hidden), OdeBlock(field, solve), Leading(dimension))


def augmented(extra: int, inner: nn.Module) -> nn.Sequential:
    """A network of states with extra channels, after what appends them."""
    return nn.Sequential(Augment(extra), inner)
