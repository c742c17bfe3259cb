"""Density models: continuous normalising flows (the log-density is part of the state), planar flows, mixtures.

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
    """Draw noise of mean 0 and identity covariance for a trace estimate, in the shape of ``points``, on the CPU."""
    normal = torch.randn(points.shape, generator=random)
    return normal.sign() if trace == "rademacher" else normal


class ContinuousFlow(nn.Module):
    """A continuous normalising flow: it maps data points, at time ``end``, to a normal base density, at time 0.

    Args:
        field: vector field of the points; ``field(t, z)`` has the shape ``(B, D)`` of ``z``.
        solve: the integrator.
        end: the time of the data.
        base_variance: variance of the base density in each component.
        trace: how training computes the trace of the Jacobian: ``exact`` by D vector-Jacobian products, otherwise by
            Hutchinson's estimator with one noise vector per sample. In evaluation mode it is exact, as in FFJORD's
            script.
        redraw: draw new noise at each evaluation of the field instead of once per solve.
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

        ``noise`` ``(B, D)`` is used for the trace estimate if ``exact`` is false. If ``exact`` is None, the model's
        ``trace`` and its training mode decide.
        """
        self.field.exact = (self.trace == "exact" or not self.training) if exact is None else exact
        states = self.flow(points, noise, self.times)[-1]
        return normal_log_density(states[:, :-1], self.base_variance) - states[:, -1]

    def flow(self, points: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Move points from the first time to each of the others.

        Returns:
            Tensor: ``(T, B, D + 1)``, the points at each time and the change of their log-density since the first time.
        """
        self.field.noise = noise
        start = torch.cat([points, torch.zeros_like(points[:, :1])], -1)
        return self.solve(self.field, start, times)


class Stretched(nn.Module):
    """A field with a learned time scale, ``dz/ds = r f(r s, z)``, which makes the end time of a flow trainable.

    As in FFJORD, ``r`` is the square of a parameter. FFJORD passes the learned end time to the solver; here the
    solver's times are constant, so it needs no gradient with respect to them.
    """

    def __init__(self, field: nn.Module) -> None:
        super().__init__()
        self.field = field
        self.root = nn.Parameter(torch.ones(()))

    @property
    def rate(self) -> Tensor:
        """The time scale ``r``."""
        return self.root.square()

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        """Return dz/ds, of the shape of ``z``."""
        return self.rate * self.field(self.rate * t, z)


class WithDivergence(nn.Module):
    """A field of points and of their log-density: ``d[z, log p]/dt = [f(z), -tr df/dz]``.

    Args:
        field: vector field of the points. If it has a method ``with_divergence``, that method gives the exact trace.
        exact: whether the trace is exact; otherwise it is estimated with ``noise``.
        draw: function that draws the noise of one evaluation, in the shape of the points; None uses ``noise`` for the
            whole solve.

    Attributes:
        noise: ``(B, D)``, of mean 0 and covariance 1.
        carried: number of state components that are not coordinates of points.
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
        if torch.compiler.is_compiling():  # torch.compile can trace torch.func, but not autograd.grad
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
        """Return the derivative ``(B, D + 1)`` from the points' derivative and its vector-Jacobian product."""
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
    """A mean of gated planar units whose weights a network computes from the time: torchdiffeq ``examples/cnf.py``.

    Args:
        dimension: dimension of the points.
        hidden: units per layer of the network.
        units: number of planar units.
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
    """A network of FFJORD's ``concatsquash`` layers: a gate and a shift depend on the time; tanh between layers."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        pairs = list(pairwise(widths))
        self.layers = nn.ModuleList(nn.Linear(inputs, outputs) for inputs, outputs in pairs)
        self.gates = nn.ModuleList(nn.Linear(1, outputs) for _, outputs in pairs)
        self.shifts = nn.ModuleList(nn.Linear(1, outputs, bias=False) for _, outputs in pairs)

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        """Return dz/dt, of the shape ``(B, D)`` of ``z``."""
        time = t.to(z).reshape(-1, 1)  # solvers that step each sample separately pass t as (B, 1)
        for i, (layer, gate, shift) in enumerate(zip(self.layers, self.gates, self.shifts, strict=True)):
            z = layer(torch.tanh(z) if i else z) * torch.sigmoid(gate(time)) + shift(time)
        return z


class PlanarFlow(nn.Module):
    """Planar layers from the data to a standard normal base: ``z + u tanh(w z + b)``.

    The layers are applied to the data, so that the density is exact; they have no inverse in closed form.

    Source: Rezende and Mohamed 2015, section 4.1. ``u`` is shifted along ``w`` so that each layer is invertible
    (their appendix A.1): the shifted ``û`` satisfies ``w û = softplus(w u + c) - 1``.

    Args:
        dimension: dimension of the points.
        layers: number of layers.
        start: ``published``: ``c = 0``, the formula of the paper. With small initial weights each layer shrinks the
            points along ``w`` by 31 %, so 64 layers start about 20 nats from the density of the base. ``identity``:
            ``c = log(e - 1)``, so that each layer starts near the identity.
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
    """A baseline: a mixture of Gaussians with diagonal covariances, trained in the same way as the flows."""

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
    """Return the log-density ``(...,)`` of points ``(..., D)`` under an isotropic Gaussian of mean 0."""
    constant = points.shape[-1] * math.log(2 * math.pi * variance)
    return -0.5 * (points.square().sum(-1) / variance + constant)
