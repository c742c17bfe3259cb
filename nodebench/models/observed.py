"""Models of irregularly sampled series with missing values.

Every model is called with ``values`` ``(B, n, D)``, which are 0 where ``seen`` ``(B, n, D)`` is false, and ``times``
``(B, n)``, increasing from 0. It returns its prediction ``(B, n, D)`` at all the times, and a KL divergence ``(B,)`` in
nats, which is 0 for models without a latent variable. A series with fewer than n times is padded with copies of its
last time; ``seen`` is false for the copies.

Source: Rubanova, Chen and Duvenaud 2019, arXiv 1907.03907, sections 2 to 4.
"""

import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from torch.nn.utils.rnn import pack_padded_sequence

from nodebench.models.latent import gaps, pick
from nodebench.models.stepped import OdeRnn
from nodebench.solvers import Solve


class LatentOde(nn.Module):
    """A variational autoencoder: an encoder reads the observations backwards, an ODE starts at the latent state.

    A batch is solved once, over the union of its times; each series selects its own.

    Args:
        dimension: components of the series.
        hidden: units of the encoder and of the readout.
        field: vector field of the latent state.
        latent: dimension of the latent state.
        solve: the integrator.
        encoder: network that reads backwards to the first time; None for a GRU with the time gaps as input.
    """

    def __init__(
        self,
        dimension: int,
        hidden: int,
        field: nn.Module,
        latent: int,
        solve: Solve,
        encoder: OdeRnn | None = None,
    ) -> None:
        super().__init__()
        self.encoder = GruEncoder(dimension, hidden) if encoder is None else BackwardsEncoder(encoder)
        self.head = nn.Linear(hidden, 2 * latent)
        self.field = field
        self.readout = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, dimension))
        self.solve = solve

    def forward(self, values: Tensor, seen: Tensor, times: Tensor, draw: Tensor) -> tuple[Tensor, Tensor]:
        """Predict; ``draw`` is standard normal noise ``(B, L)`` for the sample from the posterior."""
        posterior = self.posterior(values, seen, times)
        start = posterior.mean + posterior.stddev * draw
        grid, where = torch.unique(times, return_inverse=True)
        states = self.solve(self.field, start, grid).transpose(0, 1)
        prior = Normal(torch.zeros_like(start), torch.ones_like(start), validate_args=False)
        return self.readout(pick(states, where)), kl_divergence(posterior, prior).sum(-1)

    def posterior(self, values: Tensor, seen: Tensor, times: Tensor) -> Normal:
        """Return the posterior of the latent initial state, a Gaussian over ``(B, L)``."""
        mean, log_variance = self.head(self.encoder(values, seen, times)).chunk(2, -1)
        return Normal(mean, torch.exp(0.5 * log_variance), validate_args=False)


class GruEncoder(nn.Module):
    """A GRU that reads observations and time gaps backwards; times without an observation are skipped."""

    def __init__(self, dimension: int, hidden: int) -> None:
        super().__init__()
        self.recurrence = nn.GRU(2 * dimension + 1, hidden, batch_first=True)

    def forward(self, values: Tensor, seen: Tensor, times: Tensor) -> Tensor:
        """Return its last state ``(B, H)``."""
        known = seen.any(-1)
        count = known.sum(1)
        # Times with an observation, from last to first, then times without one.
        order = (known.long() * (1 + torch.arange(known.shape[1], device=known.device))).argsort(1, descending=True)
        values, seen = pick(values, order), pick(seen.to(values), order)
        inputs = torch.cat([values, seen, -gaps(times.gather(1, order))], -1)
        packed = pack_padded_sequence(inputs, count.cpu().clamp(min=1), batch_first=True, enforce_sorted=False)
        return self.recurrence(packed)[1][-1]


class BackwardsEncoder(nn.Module):
    """An ODE-RNN that reads a series backwards to its first time."""

    def __init__(self, network: OdeRnn) -> None:
        super().__init__()
        self.network = network

    def forward(self, values: Tensor, seen: Tensor, times: Tensor) -> Tensor:
        """Return its last state ``(B, H)``."""
        place, inside = backwards(times)
        read = self.network.read(pick(values, place), pick(seen, place) & inside, -times.gather(1, place))
        return read[1].hidden


class Recurrent(nn.Module):
    """A model that predicts each time from earlier observations and, with a second network, from later ones.

    Args:
        dimension: components of the series.
        hidden: units.
        before: network that reads forwards; its states ``(B, n, H)`` depend on earlier observations only.
        after: network that reads backwards; None to predict from earlier observations only.
    """

    def __init__(self, dimension: int, hidden: int, before: nn.Module, after: nn.Module | None) -> None:
        super().__init__()
        self.before, self.after = before, after
        self.readout = nn.Linear(hidden * (1 if after is None else 2), dimension)

    def forward(self, values: Tensor, seen: Tensor, times: Tensor, draw: Tensor) -> tuple[Tensor, Tensor]:
        """Predict; ``draw`` is not used."""
        states = [self.before(values, seen, times)]
        if self.after is not None:
            place, inside = backwards(times)
            read = self.after(pick(values, place), pick(seen, place) & inside, -times.gather(1, place))
            states.append(pick(read, place))
        return self.readout(torch.cat(states, -1)), values.new_zeros(len(values))


def backwards(times: Tensor) -> tuple[Tensor, Tensor]:
    """Return the indices ``(B, n)`` that reverse each series, and a mask ``(B, n, 1)`` that is false for padding.

    The padding of a short series stays at its end.
    """
    length = (gaps(times) > 0).sum(1) + 1  # (B, 1)
    step = torch.arange(times.shape[1], device=times.device)
    return (length - 1 - step).clamp(min=0), (step < length).unsqueeze(-1)


class GruDt(nn.Module):
    """A GRU whose inputs are the observation at the previous time and the time since then."""

    def __init__(self, dimension: int, hidden: int) -> None:
        super().__init__()
        self.recurrence = nn.GRU(2 * dimension + 1, hidden, batch_first=True)

    def forward(self, values: Tensor, seen: Tensor, times: Tensor) -> Tensor:
        """Return the states ``(B, n, H)``."""
        last = torch.cat([values, seen.to(values)], -1)
        before = torch.cat([torch.zeros_like(last[:, :1]), last[:, :-1]], 1)
        states, _ = self.recurrence(torch.cat([before, gaps(times)], -1))
        return states


# --- baselines without parameters


class Constant(nn.Module):
    """The mean of the observed values of each series and component; 0 if there are none."""

    def forward(self, values: Tensor, seen: Tensor, times: Tensor, draw: Tensor) -> tuple[Tensor, Tensor]:
        """Predict."""
        mean = values.sum(1, keepdim=True) / seen.sum(1, keepdim=True).clamp(min=1)
        return mean.expand_as(values), values.new_zeros(len(values))


class Zero(nn.Module):
    """Zeros: the mean of the training series, if values are standardised."""

    def forward(self, values: Tensor, seen: Tensor, times: Tensor, draw: Tensor) -> tuple[Tensor, Tensor]:
        """Predict."""
        return torch.zeros_like(values), values.new_zeros(len(values))


class LastValue(nn.Module):
    """The last value observed at or before each time; if there is none, the first one after it."""

    def forward(self, values: Tensor, seen: Tensor, times: Tensor, draw: Tensor) -> tuple[Tensor, Tensor]:
        """Predict."""
        before, after = neighbours(seen)
        where = torch.where(before >= 0, before, after.clamp(max=values.shape[1] - 1))
        return values.gather(1, where), values.new_zeros(len(values))


class Linear(nn.Module):
    """Linear interpolation between observed values.

    Outside them it extrapolates the line through the first and the last observation: the "drift method" of Hyndman and
    Athanasopoulos, Forecasting: Principles and Practice, section 5.2.
    """

    def forward(self, values: Tensor, seen: Tensor, times: Tensor, draw: Tensor) -> tuple[Tensor, Tensor]:
        """Predict."""
        before, after = neighbours(seen)
        n = values.shape[1]
        first, last = after[:, :1].clamp(max=n - 1), before[:, -1:].clamp(min=0)
        outside = (before < 0) | (after >= n)
        anchor = torch.where(before >= 0, before, first)
        left, right = torch.where(outside, first, before), torch.where(outside, last, after)
        clock = times.unsqueeze(-1).expand_as(values)
        rise, run = (x.gather(1, right) - x.gather(1, left) for x in (values, clock))
        slope = torch.where(run > 0, rise / run.where(run > 0, 1.0), 0.0)
        return values.gather(1, anchor) + slope * (clock - clock.gather(1, anchor)), values.new_zeros(len(values))


def neighbours(seen: Tensor) -> tuple[Tensor, Tensor]:
    """Return the index of the last observation at or before each time, and of the next one at or after it.

    Both have the shape ``(B, n, D)`` of ``seen``; -1 and n mean that there is none.
    """
    n = seen.shape[1]
    place = torch.arange(n, device=seen.device)[None, :, None].expand_as(seen)
    before = torch.where(seen, place, -1).cummax(1).values
    after = torch.where(seen, place, n).flip(1).cummin(1).values.flip(1)
    return before, after


class Baseline(nn.Module):
    """An adapter that gives a baseline rule the interface of ``SeriesVae``.

    Args:
        rule: ``Constant``, ``LastValue`` or ``Linear``.
    """

    def __init__(self, rule: nn.Module) -> None:
        super().__init__()
        self.rule = rule

    def forward(self, observed: Tensor, where: Tensor, times: Tensor, draw: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rule's values at the observations ``(B, n, D)`` and a KL of zero ``(B,)``; see ``SeriesVae``."""
        return self.at(observed, times[where], times[where]), observed.new_zeros(len(observed))

    def at(self, observed: Tensor, times: Tensor, asked: Tensor) -> Tensor:
        """The signal ``(B, T, D)`` at ``asked`` ``(B, T)`` from observations ``(B, n, D)`` at ``times`` ``(B, n)``."""
        n = times.shape[1]
        every, order = torch.cat([times, asked], 1).sort(
            dim=1, stable=True
        )  # at equal times, observations come before requested points
        values = torch.cat([observed, observed.new_zeros(*asked.shape, observed.shape[-1])], 1)
        known = torch.zeros_like(values, dtype=torch.bool)
        known[:, :n] = True
        found, _ = self.rule(pick(values, order), pick(known, order), every, observed)
        return pick(found, order.argsort(1)[:, n:])

    def forecast(self, observed: Tensor, times: Tensor, later: Tensor) -> Tensor:
        """The signal ``(B, T, D)`` at ``later`` ``(T,)``."""
        return self.at(observed, times, later.expand(len(times), -1))


RULES = {"constant": Constant, "last-value": LastValue, "linear": Linear}
