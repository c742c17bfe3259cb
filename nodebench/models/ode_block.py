"""The ODE block: a layer whose output is the solution of an initial value problem."""

import torch
from torch import Tensor, nn

from nodebench.solvers import Solve
from nodebench.solvers.precision import time_dtype


class OdeBlock(nn.Module):
    """Maps ``y(0)`` to ``y(1)`` by solving ``dy/dt = field(t, y)``.

    Source: Chen et al. 2018, arXiv 1806.07366, section 3.

    Args:
        field: module ``(t, y) -> dy/dt`` with ``t`` a scalar and ``y`` of any shape.
        solve: the integrator.
    """

    def __init__(self, field: nn.Module, solve: Solve) -> None:
        super().__init__()
        self.field = field
        self.solve = solve

    def forward(self, y: Tensor) -> Tensor:
        """Return ``y(1)``, of the same shape as ``y``."""
        times = torch.tensor([0.0, 1.0], dtype=time_dtype(y.dtype), device=y.device)
        return self.solve(self.field, y, times)[-1]
