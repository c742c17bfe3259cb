"""Convert between tuples of tensors and the single tensor that solvers step, and wrap functions as modules."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

States = Tensor | tuple[Tensor, ...]
Shapes = Sequence[tuple[int, ...]]


def pack(states: States) -> Tensor:
    """Concatenate a tuple of tensors into one vector; return a single tensor unchanged."""
    if isinstance(states, Tensor):
        return states
    return torch.cat([one.reshape(-1) for one in states])


def unpack(packed: Tensor, shapes: Shapes) -> tuple[Tensor, ...]:
    """Return the tensors that ``pack`` joined.

    Args:
        packed: shape ``(..., N)``; the leading dimensions are kept.
        shapes: shape of each tensor, with N elements in total.
    """
    parts = packed.split([torch.Size(shape).numel() for shape in shapes], dim=-1)
    return tuple(part.reshape(*packed.shape[:-1], *shape) for part, shape in zip(parts, shapes, strict=True))


class PlainFunction(nn.Module):
    """Wraps a function without parameters as a module."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self._function = function

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, of the shape of ``y``."""
        return self._function(t, y)


class Flat(nn.Module):
    """Wraps a vector field on tuples of tensors as one on packed vectors.

    Args:
        field: maps ``t`` and a tuple of tensors to a tuple of the same shapes.
        shapes: shapes of the tensors.
    """

    def __init__(self, field: nn.Module, shapes: Shapes) -> None:
        super().__init__()
        self.field = field
        self._shapes = tuple(tuple(shape) for shape in shapes)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, shape ``(N,)`` as ``y``."""
        return pack(tuple(self.field(t, unpack(y, self._shapes))))


class WithParameters(nn.Module):
    """Wraps a vector field and registers further parameters that it depends on.

    Args:
        field: maps ``(t, y)`` to dy/dt.
        parameters: the further parameters.
    """

    def __init__(self, field: nn.Module, parameters: Sequence[nn.Parameter]) -> None:
        super().__init__()
        self.field = field
        self.more = nn.ParameterList(parameters)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, of the shape of ``y``."""
        return self.field(t, y)
