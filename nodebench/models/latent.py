"""Latent-variable models of time series: encoders infer a latent initial state, decoders predict from it.

Source: Chen et al. 2018, arXiv 1806.07366, section 5; torchdiffeq ``examples/latent_ode.py``.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from nodebench.solvers import Solve


class SignalBounds(NamedTuple):
    """A box in signal space, with ``middle`` and ``radius`` of shape ``(D,)``; samples outside it are frozen."""

    middle: Tensor
    radius: Tensor

    def contains(self, signal: Tensor) -> Tensor:
        """Return a mask ``(...)`` of the signals ``(..., D)`` inside the box; NaN counts as outside."""
        return ((signal - self.middle).abs() <= self.radius).all(-1)


class Encoder(nn.Module):
    """A recurrent network that reads a series backwards and returns a Gaussian over its latent initial state.

    Args:
        dimension: components of the series.
        hidden: number of units; 25 in torchdiffeq's script.
        latent: dimension of the latent state.
        cell: ``rnn`` (one tanh layer, as in the script) or ``gru``.
        sees_gaps: whether the time between observations is an input; in the script it is not.
    """

    def __init__(self, dimension: int, hidden: int, latent: int, cell: str = "rnn", sees_gaps: bool = True) -> None:
        super().__init__()
        self.sees_gaps = sees_gaps
        self.recurrence = recurrence(cell, dimension + sees_gaps, hidden)
        self.head = nn.Linear(hidden, 2 * latent)

    def forward(self, observed: Tensor, times: Tensor) -> Normal:
        """Return the posterior of the latent initial state, a Gaussian over ``(B, L)``.

        Args:
            observed: ``(B, n, D)``, in the order of time.
            times: observation times, ``(B, n)``.
        """
        inputs = torch.cat([observed, gaps(times)], -1) if self.sees_gaps else observed
        _, last = self.recurrence(inputs.flip(1))
        mean, log_variance = self.head(last[-1]).chunk(2, -1)
        return Normal(mean, torch.exp(0.5 * log_variance), validate_args=False)


class DenseEncoder(nn.Module):
    """A two-layer network that reads all observations at once and returns a Gaussian over the latent initial state.

    Unlike a recurrent network it has no hidden state, but all series must share one time grid. Grid points without an
    observation are zeros with a mask of 0.

    Args:
        grid: times ``(T,)``, increasing; each observation is at one of them.
        dimension: components of the series.
        hidden: units.
        latent: dimension of the latent state.
    """

    grid: Tensor

    def __init__(self, grid: Tensor, dimension: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.register_buffer("grid", grid)
        self.layers = nn.Sequential(
            nn.Linear(len(grid) * (dimension + 1), hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent)
        )

    def forward(self, observed: Tensor, times: Tensor) -> Normal:
        """Return the posterior of the latent initial state; arguments and result as for ``Encoder``."""
        middles = (self.grid[1:] + self.grid[:-1]) / 2
        where = torch.bucketize(times.contiguous(), middles).unsqueeze(-1)
        marked = torch.cat([observed, torch.ones_like(observed[..., :1])], -1)
        whole = marked.new_zeros(len(marked), len(self.grid), marked.shape[-1])
        mean, log_variance = self.layers(whole.scatter(1, where.expand_as(marked), marked).flatten(1)).chunk(2, -1)
        return Normal(mean, torch.exp(0.5 * log_variance), validate_args=False)


class OdeDecoder(nn.Module):
    """A decoder that solves an ODE from the latent initial state and maps its states to the signal."""

    def __init__(self, field: nn.Module, readout: nn.Module, solve: Solve) -> None:
        super().__init__()
        self.field = field
        self.readout = readout
        self.solve = solve

    def forward(self, z: Tensor, times: Tensor, anchor: int = 0) -> Tensor:
        """Return the signal ``(B, T, D)`` at ``times``.

        Args:
            z: latent states ``(B, L)`` at ``times[anchor]``.
            times: ``(T,)``, increasing; times before the anchor are solved backwards.
            anchor: index in ``times`` of the latent initial state.
        """
        states = self.solve(self.field, z, times[anchor:])
        if anchor:
            before = self.solve(self.field, z, times[: anchor + 1].flip(0))
            states = torch.cat([before[1:].flip(0), states])
        return self.readout(states).transpose(0, 1)

    def decode_bounded(self, z: Tensor, times: Tensor, fence: SignalBounds) -> Tensor:
        """Return the signal ``(B, T, D)`` at ``times`` ``(T,)``, increasing or decreasing.

        The solve restarts at each time. A sample whose signal has left the box ``fence`` no longer changes, so a sample
        that diverges does not end the solve of the others.
        """
        signals = [self.readout(z)]
        for pair in times.unfold(0, 2, 1):
            moving = fence.contains(signals[-1]).unsqueeze(-1)
            z = self.solve(_Held(self.field, moving), z, pair)[-1]
            signals.append(self.readout(z))
        return torch.stack(signals, 1)


class _Held(nn.Module):
    """A field whose derivative is zero for the samples that are not ``moving``."""

    def __init__(self, field: nn.Module, moving: Tensor) -> None:
        super().__init__()
        self.field = field
        self.moving = moving  # (B, 1)

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        return torch.where(self.moving, self.field(t, z), 0.0)


class GruDecoder(nn.Module):
    """A discrete decoder: a GRU that starts from the latent state, with each Δt as input. Forward in time only."""

    def __init__(self, latent: int, hidden: int, dimension: int) -> None:
        super().__init__()
        self.start = nn.Linear(latent, hidden)
        self.recurrence = nn.GRU(1, hidden, batch_first=True)
        self.readout = nn.Linear(hidden, dimension)

    def forward(self, z: Tensor, times: Tensor, anchor: int = 0) -> Tensor:
        """Return the signal ``(B, T, D)`` at ``times``, NaN before the anchor."""
        later = times[anchor:].expand(len(z), -1)
        states, _ = self.recurrence(gaps(later), self.start(z).unsqueeze(0))
        unknown = z.new_full((len(z), anchor, self.readout.out_features), torch.nan)
        return torch.cat([unknown, self.readout(states)], 1)


class SeriesVae(nn.Module):
    """A variational autoencoder of series: an encoder and a decoder."""

    def __init__(self, encoder: Encoder | DenseEncoder, decoder: OdeDecoder | GruDecoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, observed: Tensor, where: Tensor, times: Tensor, draw: Tensor) -> tuple[Tensor, Tensor]:
        """Return the signal at the observations ``(B, n, D)`` and the KL divergence ``(B,)`` in nats.

        All series share one time grid, and each is observed at its own subset of it. The grid is solved once for the
        whole batch, and each series selects its points. An adaptive forward solve needs no extra evaluations for
        this, because outputs are interpolated; the adjoint restarts at every time of the grid.

        Args:
            observed: ``(B, n, D)``.
            where: grid indices of the observations, ``(B, n)``, increasing.
            times: the grid ``(T,)``.
            draw: standard normal noise ``(B, L)`` for the sample from the posterior.
        """
        posterior = self.encoder(observed, times[where])
        z = posterior.mean + posterior.stddev * draw
        prior = Normal(torch.zeros_like(z), torch.ones_like(z), validate_args=False)
        return pick(self.decoder(z, times), where), kl_divergence(posterior, prior).sum(-1)

    def most_likely(self, observed: Tensor, times: Tensor) -> Tensor:
        """Return the posterior mean ``(B, L)``; ``times`` are the observation times ``(B, n)``."""
        return self.encoder(observed, times).mean


class RnnForecaster(nn.Module):
    """A recurrent network that predicts the next point from the previous ones; forecasts feed back its predictions.

    Source: Chen et al. 2018, section 5.1: 25 units, with and without the time to the next point as an input.
    """

    def __init__(self, dimension: int, hidden: int, sees_gaps: bool) -> None:
        super().__init__()
        self.sees_gaps = sees_gaps
        self.recurrence = recurrence("rnn", dimension + sees_gaps, hidden)
        self.head = nn.Linear(hidden, dimension)

    def forward(self, observed: Tensor, where: Tensor, times: Tensor, draw: Tensor) -> tuple[Tensor, Tensor]:
        """Return a one-step prediction of each observation ``(B, n, D)`` and a KL divergence of zero ``(B,)``.

        Arguments as for ``SeriesVae``; the first observation is predicted from zeros.
        """
        before = torch.cat([torch.zeros_like(observed[:, :1]), observed[:, :-1]], 1)
        states, _ = self.recurrence(self._inputs(before, gaps(times[where])))
        return self.head(states), observed.new_zeros(len(observed))

    def forecast(self, observed: Tensor, times: Tensor, later: Tensor) -> Tensor:
        """Predict the signal ``(B, T, D)`` at ``later`` ``(T,)`` after observations at ``times`` ``(B, n)``."""
        before = torch.cat([torch.zeros_like(observed[:, :1]), observed[:, :-1]], 1)
        _, h = self.recurrence(self._inputs(before, gaps(times)))
        point, found = observed[:, -1:], []
        ahead = gaps(torch.cat([times[:, -1:], later.expand(len(times), -1)], 1))[:, 1:]
        for gap in ahead.split(1, dim=1):
            state, h = self.recurrence(self._inputs(point, gap), h)
            point = self.head(state)
            found.append(point)
        return torch.cat(found, 1)

    def _inputs(self, points: Tensor, gaps_before: Tensor) -> Tensor:
        return torch.cat([points, gaps_before], -1) if self.sees_gaps else points


def recurrence(cell: str, inputs: int, hidden: int) -> nn.RNNBase:
    """Return a recurrent layer with ``batch_first=True``.

    torch gives each gate two biases, one of them redundant. For ``rnn`` it is frozen at zero, so that the number of
    parameters matches the published one.
    """
    kinds: dict[str, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "gru": nn.GRU}
    layer = kinds[cell](inputs, hidden, batch_first=True)
    if isinstance(redundant := layer.bias_hh_l0, nn.Parameter) and cell == "rnn":
        nn.init.zeros_(redundant.requires_grad_(False))
    return layer


def gaps(times: Tensor) -> Tensor:
    """Return the time since the previous point ``(B, n, 1)``, of times ``(B, n)``; 0 for the first point."""
    return torch.diff(times, dim=1, prepend=times[:, :1]).unsqueeze(-1)


def pick(signal: Tensor, where: Tensor) -> Tensor:
    """The points ``(B, n, D)`` of a signal ``(B, T, D)`` at the indices ``where`` ``(B, n)``."""
    return signal.gather(1, where.unsqueeze(-1).expand(-1, -1, signal.shape[-1]))


def log_likelihood(observed: Tensor, predicted: Tensor, noise: float) -> Tensor:
    """Gaussian log-density of observations ``(B, n, D)`` about their prediction, summed to ``(B,)``, in nats."""
    scale = torch.full_like(predicted, noise)
    return Normal(predicted, scale, validate_args=False).log_prob(observed).sum((-1, -2))
