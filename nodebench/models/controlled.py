"""Neural controlled differential equations: an ODE whose field is driven by a path through the observations."""

from collections.abc import Callable

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor, nn

from nodebench.solvers import Solve


def spline_coefficients(times: np.ndarray, values: np.ndarray) -> Tensor:
    """Return the coefficients of natural cubic splines through each series.

    Args:
        times: observation times, ``(K,)``, increasing.
        values: observed values, ``(B, K, C)``.

    Returns:
        Tensor: ``(B, K - 1, 4, C)`` in float64, the highest power first.
    """
    spline = CubicSpline(times, values, axis=1, bc_type="natural")
    return torch.from_numpy(spline.c.transpose(2, 1, 0, 3).copy())


class CdeField(nn.Module):
    """The field of a neural CDE, ``f(z) dX/dt``, for one batch of paths X.

    Args:
        field: the network f, ``(B, H) -> (B, H C)``.
        knots: times of the observations, ``(K,)``.
        coefficients: spline coefficients of the paths, ``(B, K - 1, 4, C)``.
    """

    knots: Tensor
    coefficients: Tensor

    def __init__(self, field: nn.Module, knots: Tensor, coefficients: Tensor) -> None:
        super().__init__()
        self.field = field
        self.training = field.training  # this module is created in each forward pass
        self.register_buffer("knots", knots)
        self.register_buffer("coefficients", coefficients)

    def path_derivative(self, t: Tensor) -> Tensor:
        """Return ``dX/dt`` ``(B, C)`` at one time, or at one time per path ``(B, 1)``."""
        at = t.to(self.knots).reshape(-1)
        interval = (torch.searchsorted(self.knots, at, right=True) - 1).clamp(0, len(self.knots) - 2)
        paths = torch.arange(len(self.coefficients), device=at.device)
        cubic, square, linear, _ = self.coefficients[paths, interval.expand(len(paths))].unbind(1)
        elapsed = (at - self.knots[interval]).unsqueeze(1)
        return (3 * cubic * elapsed + 2 * square) * elapsed + linear

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        """Return dz/dt, of the shape ``(B, H)`` of ``z``; ``t`` is a scalar, or ``(B, 1)``."""
        matrix = self.field(z).unflatten(1, (z.shape[1], -1))
        return torch.einsum("bhc,bc->bh", matrix, self.path_derivative(t))


class NeuralCDE(nn.Module):
    """A neural controlled differential equation that maps a series to one number.

    ``z(t₀) = g(X(t₀))``, ``dz = f(z) dX``, and the output is linear in the final ``z``. Source: Kidger et al. 2020,
    arXiv 2005.08926, section 3; f ends in tanh as its authors advise.

    Args:
        knots: times of the observations, ``(K,)``, the same for all series.
        channels: number of channels of the series, time included.
        hidden: number of components of z.
        width: width of the hidden layer of f.
        activation: activation after the hidden layer of f. With ReLU the gradient converges slowly with the number of
            steps.
        solve: the integrator.
    """

    knots: Tensor

    def __init__(
        self, knots: Tensor, channels: int, hidden: int, width: int, activation: Callable[[], nn.Module], solve: Solve
    ) -> None:
        super().__init__()
        self.register_buffer("knots", knots)
        self.initial = nn.Linear(channels, hidden)
        self.field = nn.Sequential(
            nn.Linear(hidden, width), activation(), nn.Linear(width, hidden * channels), nn.Tanh()
        )
        self.readout = nn.Linear(hidden, 1)
        self.solve = solve

    def forward(self, coefficients: Tensor) -> Tensor:
        """Return a number for each series ``(B, 1)`` from its spline ``(B, K - 1, 4, C)``."""
        z0 = self.initial(coefficients[:, 0, 3])
        states = self.solve(CdeField(self.field, self.knots, coefficients), z0, self.knots[[0, -1]])
        return self.readout(states[-1])


class GruClassifier(nn.Module):
    """A GRU over the observations, with time as one channel; no ODE. Arguments as for ``NeuralCDE``."""

    gaps: Tensor

    def __init__(self, knots: Tensor, channels: int, hidden: int) -> None:
        super().__init__()
        self.register_buffer("gaps", knots.diff().unsqueeze(1))
        self.gru = nn.GRU(channels, hidden, batch_first=True)
        self.readout = nn.Linear(hidden, 1)

    def forward(self, coefficients: Tensor) -> Tensor:
        """Return a number for each series ``(B, 1)``; the last observation is the end point of its spline."""
        cubic, square, linear, constant = coefficients.unbind(2)
        ended = ((cubic * self.gaps + square) * self.gaps + linear) * self.gaps + constant
        series = torch.cat([constant, ended[:, -1:]], 1)
        return self.readout(self.gru(series)[0][:, -1])


class ConstantClassifier(nn.Module):
    """A baseline that ignores its input: one learned number for all series."""

    def __init__(self) -> None:
        super().__init__()
        self.number = nn.Parameter(torch.zeros(1))

    def forward(self, coefficients: Tensor) -> Tensor:
        """Return a number for each series ``(B, 1)``."""
        return self.number.expand(len(coefficients), 1)
