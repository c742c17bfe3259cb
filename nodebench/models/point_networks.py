"""Networks of points: an ODE block or residual blocks, with the layers that prepare the state and read it out."""

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
    """Select the first components of a state."""

    def __init__(self, components: int) -> None:
        super().__init__()
        self.components = components

    def forward(self, y: Tensor) -> Tensor:
        """Map ``(N, D)`` to ``(N, components)``."""
        return y[:, : self.components]


def residual_chain(width: int, hidden: int, activation: Activation) -> nn.Sequential:
    """Return residual blocks for points of ``width`` components; each has the flows' network without the time."""
    widths = (width, hidden, hidden, width)
    return nn.Sequential(*(Residual(MlpField(widths, activation).net) for _ in range(BLOCKS)))


def point_flow(width: int, hidden: int, activation: Activation, solve: Solve) -> OdeBlock:
    """Return an ODE block over [0, 1] whose field has two hidden layers and takes the time as input.

    Source: ``ODEFunc`` in the authors' code of Dupont et al. 2019.
    """
    return OdeBlock(MlpField((width, hidden, hidden, width), activation, sees_time=True), solve)


def second_order_flow(
    dimension: int, hidden: int, activation: Activation, solve: Solve, heavy_ball: bool
) -> nn.Sequential:
    """Return a network that outputs the position at time 1 of a second-order ODE with a learned initial velocity."""
    field: nn.Module
    if heavy_ball:
        field = HeavyBall(MlpField((dimension, hidden, hidden, dimension), activation, sees_time=True))
    else:
        field = SecondOrder(MlpField((2 * dimension, hidden, hidden, dimension), activation, sees_time=True))
    return nn.Sequential(Launch(dimension, hidden), OdeBlock(field, solve), Leading(dimension))


def augmented(extra: int, inner: nn.Module) -> nn.Sequential:
    """Return ``inner`` after a layer that appends ``extra`` channels of zeros."""
    return nn.Sequential(Augment(extra), inner)
