"""Densities of points: continuous flows, whose solve carries the log-density along, planar layers, and mixtures.

Every model returns the log-density of points. Sources: Chen et al. 2018, arXiv 1806.07366, section 4; torchdiffeq
``examples/cnf.py``; Grathwohl et al. 2019 (FFJORD), arXiv 1810.01367; Rezende and Mohamed 2015, arXiv 1505.05770.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from nodebench.solvers import Solve

LayersStart = Literal["identity", "published"]
Trace = Literal["exact", "gaussian", "rademacher"]


def noise_like(points: Tensor, trace: Trace, random: torch.Generator | None = None) -> Tensor:
    """Noise of mean 0 and covariance 1 for an estimate of the trace, of the shape of points, on the CPU."""
    normal = torch.randn(points.shape, generator=random)
    return normal.sign() if trace == "rademacher" else normal


class ContinuousFlow(nn.Module):
    """A continuous normalising flow: points flow from the data, at ``end``, to a normal base, at 0.

    Args:
        field: of the points, ``field(t, z)`` of the shape ``(B, D)`` of ``z``.
        solve: the integrator.
        end: the time of the data.
        base_variance: of the base, in each component.
        trace: how the trace of the Jacobian is found in training: ``exact``, by D vector-Jacobian products, or by
            Hutchinson's estimate with one noise vector a sample. In evaluation it is exact, as in FFJORD's script.
        redraw: draw the noise anew at each evaluation of the field in place of once a solve.
        train_end: learn the end time; ``end`` is its initial value.
    """

    times: Tensor

    def __init__(
        self,
        field: nn.Module,
        solve: Solve,
        end: float,
        base_variance: float = 1.0,
        trace: Trace = "exact",
        redraw: bool = False,
        train_end: bool = False,
    ) -> None:
        super().__init__()
        draw = partial(noise_like, trace=trace) if redraw else None
        self.field = WithDivergence(Stretched(field) if train_end else field, exact=trace == "exact", draw=draw)
        self.solve = solve
        self.trace = trace
        self.base_variance = base_variance
        self.register_buffer("times", torch.tensor([end, 0.0]))

    @property
    def end(self) -> float:
        """The time of the data."""
        rate = self.field.field.rate if isinstance(self.field.field, Stretched) else 1.0
        return float(self.times[0] * rate)

    def forward(self, points: Tensor, noise: Tensor, exact: bool | None = None) -> Tensor:
        """Return the log-density ``(B,)`` of points ``(B, D)``.

        ``noise`` ``(B, D)`` estimates the trace unless ``exact``, by default as the model says.
        """
        self.field.exact = (self.trace == "exact" or not self.training) if exact is None else exact
        states = self.flow(points, noise, self.times)[-1]
        return normal_log_density(states[:, :-1], self.base_variance) - states[:, -1]

    def flow(self, points: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Move points from the first of the times through all others.

        Returns:
            Tensor: ``(T, B, D + 1)``, where they are at the times, and the change of their log-density since the first.
        """
        self.field.noise = noise
        start = torch.cat([points, torch.zeros_like(points[:, :1])], -1)
        return self.solve(self.field, start, times)


class Stretched(nn.Module):
    """A field whose time is stretched by a factor that is learned: ``dz/ds = r f(r s, z)``, so that an end time is.

    As in FFJORD, ``r`` is the square of a parameter. The end time itself is given to the solver there; here a gradient
    with respect to times is not asked of it.
    """

    def __init__(self, field: nn.Module) -> None:
        super().__init__()
        self.field = field
        self.root = nn.Parameter(torch.ones(()))

    @property
    def rate(self) -> Tensor:
        """The factor."""
        return self.root.square()

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        """Return dz/ds, of the shape of ``z``."""
        return self.rate * self.field(self.rate * t, z)


class WithDivergence(nn.Module):
    """A field of points with the rate of their log-density: ``d[z, log p]/dt = [f(z), -tr df/dz]``.

    Args:
        field: of the points. The exact trace of one that has ``with_divergence`` is taken from that.
        exact: whether the trace is exact; otherwise it is estimated with ``noise``.
        draw: draws the noise of one evaluation, of the shape of points; without it ``noise`` serves for a whole solve.

    Attributes:
        noise: ``(B, D)``, of mean 0 and covariance 1.
        carried: components of the state that are no points.
    """

    noise: Tensor
    carried = 1

    def __init__(self, field: nn.Module, exact: bool, draw: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.field = field
        self.exact = exact
        self._draw = draw

    def forward(self, t: Tensor, state: Tensor) -> Tensor:
        """Return the derivative of ``(B, D + 1)``."""
        if self.exact and (closed := getattr(self.field, "with_divergence", None)):
            slope, trace = closed(t, state[:, :-1])
            return torch.cat([slope, -trace.unsqueeze(-1)], -1)
        if torch.compiler.is_compiling():  # torch's compiler follows torch.func, and not autograd.grad
            slope, pull, *_ = torch.func.vjp(partial(self.field, t), state[:, :-1])
            return self._joined(slope, lambda cotangent: pull(cotangent)[0])
        differentiated = torch.is_grad_enabled()
        with torch.enable_grad():
            points = state[:, :-1]
            if not points.requires_grad:
                points = points.detach().requires_grad_()
            slope = self.field(t, points)
            found = self._joined(slope, lambda cotangent: _pulled_back(slope, points, cotangent))
        return found if differentiated else found.detach()

    def _joined(self, slope: Tensor, pull: Callable[[Tensor], Tensor]) -> Tensor:
        """The derivative ``(B, D + 1)``, from that of the points and its vector-Jacobian product."""
        if self.exact:
            units = torch.eye(slope.shape[1], dtype=slope.dtype, device=slope.device)
            rows = [pull(unit.expand_as(slope))[:, i] for i, unit in enumerate(units)]
            trace = torch.stack(rows).sum(0)
        else:
            noise = self.noise if self._draw is None else self._draw(slope.detach()).to(slope)
            trace = (pull(noise) * noise).sum(-1)
        return torch.cat([slope, -trace.unsqueeze(-1)], -1)


def _pulled_back(slope: Tensor, points: Tensor, cotangent: Tensor) -> Tensor:
    """The product ``(B, D)`` of a cotangent and the Jacobian; it can be differentiated again."""
    (product,) = torch.autograd.grad(slope, points, cotangent, create_graph=True)
    return product


class PlanarField(nn.Module):
    """A mean of gated planar units whose weights are a network's of the time: torchdiffeq ``examples/cnf.py``.

    Args:
        dimension: of the points.
        hidden: units a layer of the network.
        units: planar units.
    """

    def __init__(self, dimension: int, hidden: int, units: int) -> None:
        super().__init__()
        self.dimension, self.units = dimension, units
        self.net = nn.Sequential(
            nn.Linear(1, hidden),
            nn.Tanh(),
            nn.Linear(hidden, hidden),
            nn.Tanh(),
            nn.Linear(hidden, units * (3 * dimension + 1)),
        )

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        """Return dz/dt, of the shape ``(B, D)`` of ``z``."""
        return self.with_divergence(t, z)[0]

    def with_divergence(self, t: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return dz/dt ``(B, D)`` and its divergence ``(B,)`` in closed form (Chen et al. 2018, section 4)."""
        weights = self.net(t.to(z).reshape(1, 1)).reshape(self.units, 3 * self.dimension + 1)
        inner, outer, gate, bias = weights.split([self.dimension, self.dimension, self.dimension, 1], -1)
        outer = outer * torch.sigmoid(gate) / self.units
        active = torch.tanh(z @ inner.T + bias.T)
        return active @ outer, (1 - active.square()) @ (inner * outer).sum(-1)


class ConcatSquashField(nn.Module):
    """A network whose layers the time gates and shifts: FFJORD's ``concatsquash`` layers, tanh between them."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        pairs = list(pairwise(widths))
        self.layers = nn.ModuleList(nn.Linear(inputs, outputs) for inputs, outputs in pairs)
        self.gates = nn.ModuleList(nn.Linear(1, outputs) for _, outputs in pairs)
        self.shifts = nn.ModuleList(nn.Linear(1, outputs, bias=False) for _, outputs in pairs)

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        """Return dz/dt, of the shape ``(B, D)`` of ``z``."""
        time = t.to(z).reshape(-1, 1)  # a solver that steps each sample on its own gives it (B, 1)
        for i, (layer, gate, shift) in enumerate(zip(self.layers, self.gates, self.shifts, strict=True)):
            z = layer(torch.tanh(z) if i else z) * torch.sigmoid(gate(time)) + shift(time)
        return z


class PlanarFlow(nn.Module):
    """Planar layers from the data to a standard normal base: ``z + u tanh(w z + b)``.

    The layers are applied to the data, so that the density is exact; they have no inverse in closed form.

    Source: Rezende and Mohamed 2015, section 4.1. ``u`` is moved along ``w`` such that each layer can be inverted
    (their appendix A.1): the moved ``u`` has ``w u = softplus(w u + c) - 1``.

    Args:
        dimension: of the points.
        layers: how many.
        start: ``published``: ``c = 0``, their formula. With small initial weights a new layer shrinks the points along
            ``w`` by 0.31, and 64 of them are about 20 nats from the density of the base. ``identity``:
            ``c = log(e - 1)``, so that new layers are near the identity.
    """

    def __init__(self, dimension: int, layers: int, start: LayersStart = "identity") -> None:
        super().__init__()
        self.inner = nn.Parameter(torch.randn(layers, dimension) * 0.1)
        self.outer = nn.Parameter(torch.randn(layers, dimension) * 0.1)
        self.bias = nn.Parameter(torch.zeros(layers))
        self.scale = nn.Parameter(torch.zeros(dimension))
        self.shift = nn.Parameter(torch.zeros(dimension))
        self._offset = 0.0 if start == "published" else math.log(math.e - 1)

    def forward(self, points: Tensor, noise: Tensor) -> Tensor:
        """Return the log-density ``(B,)`` of points ``(B, D)``; ``noise`` is not used."""
        along = (self.inner * self.outer).sum(-1, keepdim=True)
        moved = functional.softplus(along + self._offset) - 1
        outer = self.outer + (moved - along) * self.inner / self.inner.square().sum(-1, keepdim=True)
        z, units = (points - self.shift) * torch.exp(self.scale), []
        for w, u, b in zip(self.inner, outer, self.bias, strict=True):
            units.append(torch.tanh(z @ w + b))
            z = torch.addr(z, units[-1], u)
        slopes = 1 - torch.stack(units, -1).square()
        log_determinant = self.scale.sum() + torch.log1p(slopes * moved.squeeze(-1)).sum(-1)
        return normal_log_density(z, 1.0) + log_determinant


class GaussianMixture(nn.Module):
    """A mixture of normal densities with diagonal covariances, trained as the flows are: a control."""

    def __init__(self, dimension: int, components: int) -> None:
        super().__init__()
        self.means = nn.Parameter(2 * torch.randn(components, dimension))
        self.log_scales = nn.Parameter(torch.zeros(components, dimension))
        self.logits = nn.Parameter(torch.zeros(components))

    def forward(self, points: Tensor, noise: Tensor) -> Tensor:
        """Return the log-density ``(B,)`` of points ``(B, D)``; ``noise`` is not used."""
        scaled = (points.unsqueeze(1) - self.means) * torch.exp(-self.log_scales)
        parts = normal_log_density(scaled, 1.0) - self.log_scales.sum(-1)
        return torch.logsumexp(parts + torch.log_softmax(self.logits, 0), -1)


def normal_log_density(points: Tensor, variance: float) -> Tensor:
    """Log-density ``(...,)`` of points ``(..., D)`` under a normal density of mean 0, equal in each component."""
    constant = points.shape[-1] * math.log(2 * math.pi * variance)
    return -0.5 * (points.square().sum(-1) / variance + constant)
