"""States that are tuples of tensors, as the one tensor that solvers step; and functions as modules."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

States = Tensor | tuple[Tensor, ...]
Shapes = Sequence[tuple[int, ...]]


def pack(states: States) -> Tensor:
    """Return a tuple of tensors as one vector; a tensor as it is."""
    if isinstance(states, Tensor):
        return states
    return torch.cat([one.reshape(-1) for one in states])


def unpack(packed: Tensor, shapes: Shapes) -> tuple[Tensor, ...]:
    """Return the tensors that ``pack`` joined.

    Args:
        packed: shape ``(..., N)``; the leading dimensions are kept.
        shapes: of each tensor, together of N numbers.
    """
    parts = packed.split([torch.Size(shape).numel() for shape in shapes], dim=-1)
    return tuple(part.reshape(*packed.shape[:-1], *shape) for part, shape in zip(parts, shapes, strict=True))


class PlainFunction(nn.Module):
    """A vector field that is a function and has no parameters."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self._function = function

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, of the shape of ``y``."""
        return self._function(t, y)


class Flat(nn.Module):
    """A vector field of tuples, as one of vectors.

    Args:
        field: maps ``t`` and a tuple of tensors to a tuple of the same shapes.
        shapes: of the tensors.
    """

    def __init__(self, field: nn.Module, shapes: Shapes) -> None:
        super().__init__()
        self.field = field
        self._shapes = tuple(tuple(shape) for shape in shapes)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, shape ``(N,)`` as ``y``."""
        return pack(tuple(self.field(t, unpack(y, self._shapes))))


class WithParameters(nn.Module):
    """A vector field that depends on parameters which its module does not have.

    Args:
        field: maps ``(t, y)`` to dy/dt.
        parameters: what it depends on.
    """

    def __init__(self, field: nn.Module, parameters: Sequence[nn.Parameter]) -> None:
        super().__init__()
        self.field = field
        self.more = nn.ParameterList(parameters)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, of the shape of ``y``."""
        return self.field(t, y)
