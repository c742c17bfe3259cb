"""Second-order fields: the state is a position x and a velocity v, side by side, ``(..., 2 D)``."""

import torch
from torch import Tensor, nn

from nodebench.models.fields import MlpField


class SecondOrder(nn.Module):
    """``x' = v``, ``v' = a(t, x, v)``: a second-order neural ODE, solved as a first-order one of twice the dimension.

    Source: Norcliffe et al. 2020, arXiv 2006.07220, section 3.

    Args:
        acceleration: network of ``(x, v)``, that is from ``2 D`` to ``D`` components.
    """

    def __init__(self, acceleration: MlpField) -> None:
        super().__init__()
        self.acceleration = acceleration
        self.sees_time = acceleration.sees_time

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, of the shape ``(..., 2 D)`` of ``y``; ``t`` is a scalar or ``(..., 1)``."""
        _, velocity = y.chunk(2, -1)
        return torch.cat([velocity, self.acceleration(t, y)], -1)


class HeavyBall(nn.Module):
    """``x' = v``, ``v' = f(t, x) − γ v``: a heavy-ball neural ODE, whose damping γ in (0, 1) is learned.

    Source: Xia et al. 2021, arXiv 2110.04840, section 3; γ is the sigmoid of a parameter that starts at −3,
    as in the authors' code.

    Args:
        force: network of ``x``, from ``D`` to ``D`` components.
    """

    def __init__(self, force: MlpField) -> None:
        super().__init__()
        self.force = force
        self.sees_time = force.sees_time
        self.damping = nn.Parameter(torch.tensor(-3.0))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, of the shape ``(..., 2 D)`` of ``y``; ``t`` is a scalar or ``(..., 1)``."""
        position, velocity = y.chunk(2, -1)
        return torch.cat([velocity, self.force(t, position) - self.damping.sigmoid() * velocity], -1)


class Launch(nn.Module):
    """Append to each position an initial velocity that a network computes from it.

    Source: the authors' code of Norcliffe et al. 2020, ``nested-n-spheres_sonode.py``: two hidden layers, each clipped
    to ±5.
    """

    def __init__(self, dimension: int, hidden: int) -> None:
        super().__init__()
        self.velocity = nn.Sequential(
            nn.Linear(dimension, hidden),
            nn.Hardtanh(-5.0, 5.0),
            nn.Linear(hidden, hidden),
            nn.Hardtanh(-5.0, 5.0),
            nn.Linear(hidden, dimension),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map positions ``(N, D)`` to positions and velocities ``(N, 2 D)``."""
        return torch.cat([x, self.velocity(x)], 1)
