"""Small vector fields of a few dimensions."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class MlpField(nn.Module):
    """An autonomous field by a fully connected tanh network, with weights N(0, 0.1) and biases 0.

    Source: torchdiffeq's ``examples/ode_demo.py``; the Breakdown article's ``2–50–2`` network is ``(2, 50, 2)``.

    Args:
        widths: input, hidden and output widths; the first and the last are the dimension of the state.
    """

    def __init__(self, widths: Sequence[int] = (2, 50, 2)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            linear = nn.Linear(inputs, outputs)
            nn.init.normal_(linear.weight, std=0.1)
            nn.init.zeros_(linear.bias)
            layers += [linear, nn.Tanh()]
        self.net = nn.Sequential(*layers[:-1])

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, of the shape ``(..., D)`` of ``y``; the time is not used."""
        return self.net(y)


class LinearField(nn.Module):
    """The linear field ``dy/dt = y A`` (row vectors, as in the Breakdown article), with ``A`` fixed."""

    matrix: Tensor

    def __init__(self, matrix: Sequence[Sequence[float]]) -> None:
        super().__init__()
        self.register_buffer("matrix", torch.tensor(matrix))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, of the shape ``(..., D)`` of ``y``."""
        return y @ self.matrix

    def solution(self, y0: Tensor, times: Tensor) -> Tensor:
        """Return the exact states ``y0 exp(A (t - t0))`` at ``times``, shape ``(T, *y0.shape)``."""
        matrix = self.matrix.to(torch.float64)
        propagators = torch.linalg.matrix_exp(matrix * (times - times[0]).double().reshape(-1, 1, 1))
        return (y0.double() @ propagators).to(y0.dtype)


class RelaxationField(nn.Module):
    """The Breakdown article's analytic example: ``dx/dt = 1 - x``, solved by ``1 + (x0 - 1) exp(-(t - t0))``."""

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """Return dx/dt, of the shape of ``x``."""
        return 1 - x

    def solution(self, x0: Tensor, times: Tensor) -> Tensor:
        """Return the exact states at ``times``, shape ``(T, *x0.shape)``."""
        decay = torch.exp(-(times - times[0])).reshape(-1, *([1] * x0.ndim))
        return 1 + (x0 - 1) * decay
