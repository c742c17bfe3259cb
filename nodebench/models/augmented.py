"""Augmented neural ODEs: the state gets extra channels that start at 0.

Source: Dupont, Doucet and Teh 2019, arXiv 1904.01681, section 4.
"""

import torch
from torch import Tensor, nn

from nodebench.models.trajectories import OdeTrajectories


class Augment(nn.Module):
    """Append channels of zeros to a state.

    Args:
        extra: how many; with 0 the state stays as it is.
    """

    def __init__(self, extra: int) -> None:
        super().__init__()
        self.extra = extra

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, ...)`` to ``(N, C + extra, ...)``."""
        return torch.cat([x, x.new_zeros(len(x), self.extra, *x.shape[2:])], 1)


class AugmentedTrajectories(nn.Module):
    """Trajectories of a field whose state has more components than are observed.

    The extra components start at 0 and are dropped from the result. They depend on the path, so the observed components
    alone do not follow an ODE.

    Args:
        flow: the trajectories of the whole state.
        extra: number of components that are not observed.
    """

    def __init__(self, flow: OdeTrajectories, extra: int) -> None:
        super().__init__()
        self.augment = Augment(extra)
        self.flow = flow

    def forward(self, y0: Tensor, start: Tensor, elapsed: Tensor) -> Tensor:
        """Return the observed states ``(B, W, D)``; arguments as for ``OdeTrajectories``."""
        return self.flow(self.augment(y0), start, elapsed)[..., : y0.shape[-1]]
