"""Hybrid fields: a known part, and a learned part added to it.

Source: universal differential equations, Rackauckas et al. 2020, arXiv 2001.04385.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class KnownRates(nn.Module):
    """``y' = rates · y + interaction(t, y)``: each component's own growth or death is known.

    Args:
        rates: growth rate of each component, ``(D,)``; negative for a death rate.
        interaction: the learned part, a module ``(t, y) -> (..., D)``.
    """

    rates: Tensor

    def __init__(self, rates: Sequence[float], interaction: nn.Module) -> None:
        super().__init__()
        self.register_buffer("rates", torch.tensor(rates))
        self.interaction = interaction

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, of the shape ``(..., D)`` of ``y``."""
        return self.rates * y + self.interaction(t, y)


class Bilinear(nn.Module):
    """``weights · u v``: the interaction of two species whose form is known and whose strength is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(2))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return the interaction, of the shape ``(..., 2)`` of ``y``."""
        return self.weights * y.prod(-1, keepdim=True)


class Confined(nn.Module):
    """A field that is 0 if a component of the state exceeds ``limit`` in absolute value, so that the state stops."""

    def __init__(self, field: nn.Module, limit: float) -> None:
        super().__init__()
        self.field = field
        self.limit = limit
        self.sees_time = getattr(field, "sees_time", False)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, of the shape ``(..., D)`` of ``y``."""
        inside = y.abs().amax(-1, keepdim=True) <= self.limit
        return torch.where(inside, self.field(t, y), torch.zeros_like(y))
