"""Vector fields that are learned, and wrappers around fields."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class MlpField(nn.Module):
    """A fully connected network as a vector field.

    Args:
        widths: widths of the state, of the hidden layers, and of the state again.
        activation: activation between the layers.
        sees_time: whether the time is an additional input.
        damping: λ ≥ 0 of an added term ``-λ y``. With a bounded network it keeps the state bounded forwards in time;
            backwards in time it makes the state grow.
    """

    def __init__(
        self,
        widths: Sequence[int],
        activation: Callable[[], nn.Module] = nn.Tanh,
        sees_time: bool = False,
        damping: float = 0.0,
    ) -> None:
        super().__init__()
        self.sees_time = sees_time
        self.damping = damping
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise([widths[0] + sees_time, *widths[1:]]):
            layers += [nn.Linear(inputs, outputs), activation()]
        self.net = nn.Sequential(*layers[:-1])

    def start_small(self) -> "MlpField":
        """Draw weights from N(0, 0.1) and set biases to 0, as torchdiffeq's ``examples/ode_demo.py`` does."""
        for layer in self.net:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.1)
                nn.init.zeros_(layer.bias)
        return self

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, of the shape ``(..., D)`` of ``y``; ``t`` is a scalar or ``(..., 1)``."""
        inputs = torch.cat([y, t.to(y).expand(*y.shape[:-1], 1)], -1) if self.sees_time else y
        slope = self.net(inputs)
        return slope - self.damping * y if self.damping else slope


class Cubed(nn.Module):
    """A field of the cubed state, ``dy/dt = field(t, y³)``: torchdiffeq's ``examples/ode_demo.py``."""

    def __init__(self, field: nn.Module) -> None:
        super().__init__()
        self.field = field
        self.sees_time = getattr(field, "sees_time", False)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, of the shape ``(..., D)`` of ``y``."""
        return self.field(t, y**3)


class Scaled(nn.Module):
    """A field whose output is multiplied by a constant for each component.

    Source: Kim et al. 2021, arXiv 2103.15341, section III: scaled equations of a stiff system.
    """

    scale: Tensor

    def __init__(self, field: nn.Module, scale: Tensor) -> None:
        super().__init__()
        self.field = field
        self.register_buffer("scale", scale)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, of the shape ``(..., D)`` of ``y``."""
        return self.field(t, y) * self.scale


class Squeezed(nn.Module):
    """A field with an added ``-rate * y`` in the last component of the state, which pulls that component to 0."""

    def __init__(self, field: nn.Module, rate: float) -> None:
        super().__init__()
        self.field = field
        self.rate = rate

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, of the shape ``(..., D)`` of ``y``."""
        pull = torch.zeros_like(y)
        pull[..., -1] = self.rate * y[..., -1]
        return self.field(t, y) - pull


class Delayed(nn.Module):
    """A field with one time offset per sample: sample ``i`` of the batch is at the time ``start[i] + t``.

    Windows that begin at different times can then be solved as one batch on one time grid.
    """

    start: Tensor

    def __init__(self, field: nn.Module, start: Tensor) -> None:
        super().__init__()
        self.field = field
        self.training = field.training  # this module is created in each forward pass
        self.register_buffer("start", start)  # (B, 1)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, of the shape ``(B, D)`` of ``y``."""
        return self.field(self.start + t, y)


class Rescaled(nn.Module):
    """A field with one interval per sample, mapped to [0, 1]: sample ``i`` is at the time ``start[i] + length[i] t``.

    Samples with different intervals are then solved as one batch.
    """

    start: Tensor
    length: Tensor

    def __init__(self, field: nn.Module, start: Tensor, length: Tensor) -> None:
        super().__init__()
        self.field = field
        self.training = field.training  # this module is created in each forward pass
        self.register_buffer("start", start)  # (B, 1)
        self.register_buffer("length", length)  # (B, 1)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return the derivative with respect to the rescaled time, of the shape ``(B, D)`` of ``y``."""
        return self.field(self.start + self.length * t, y) * self.length.to(y)


class RelaxationField(nn.Module):
    """The Breakdown article's analytic example: ``dx/dt = 1 - x``, solved by ``1 + (x0 - 1) exp(-(t - t0))``."""

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """Return dx/dt, of the shape of ``x``."""
        return 1 - x

    def solution(self, x0: Tensor, times: Tensor) -> Tensor:
        """Return the exact states at ``times``, shape ``(T, *x0.shape)``."""
        decay = torch.exp(-(times - times[0])).reshape(-1, *([1] * x0.ndim))
        return 1 + (x0 - 1) * decay
