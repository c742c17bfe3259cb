"""Recurrent networks whose state evolves between times and is updated at observations.

Sources: Rubanova, Chen and Duvenaud 2019, arXiv 1907.03907, algorithm 1 (ODE-RNN); Che, Purushotham, Cho, Sontag and
Liu 2018, "Recurrent Neural Networks for Multivariate Time Series with Missing Values", Scientific Reports 8, 6085
(GRU-D).
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nodebench.models.latent import gaps
from nodebench.solvers import Solve


class Memory(NamedTuple):
    """The state of a network between two times.

    Attributes:
        hidden: hidden state ``(B, H)``.
        last: last observed value of each component ``(B, D)``.
        since: time since that observation, or since the start if there is none ``(B, D)``.
    """

    hidden: Tensor
    last: Tensor
    since: Tensor


class SteppedNetwork(nn.Module, ABC):
    """A recurrent network for irregularly sampled series.

    Each series of a batch has its own times: step i advances every series by its own i-th time gap.
    """

    @abstractmethod
    def start(self, values: Tensor) -> Memory:
        """Return the memory before the first time, for values of shape ``(B, D)``."""

    @abstractmethod
    def advance(self, memory: Memory, gap: Tensor) -> Memory:
        """Return the memory after a time ``gap`` ``(B, 1)`` without observations."""

    @abstractmethod
    def update(self, memory: Memory, values: Tensor, seen: Tensor) -> Memory:
        """Return the memory after ``values`` ``(B, D)``; ``seen`` ``(B, D)`` marks known values, the others are 0."""

    def read(self, values: Tensor, seen: Tensor, times: Tensor) -> tuple[Tensor, Memory]:
        """The states ``(B, n, H)`` just before each time, and the memory after the last one.

        Args:
            values: ``(B, n, D)``, 0 where nothing was seen.
            seen: ``(B, n, D)``, bool.
            times: ``(B, n)``, increasing.
        """
        memory, found, lengths = self.start(values[:, 0]), [], gaps(times)
        for i in range(times.shape[1]):
            if i:
                memory = self.advance(memory, lengths[:, i])
            found.append(memory.hidden)
            memory = self.update(memory, values[:, i], seen[:, i])
        return torch.stack(found, 1), memory

    def forward(self, values: Tensor, seen: Tensor, times: Tensor) -> Tensor:
        """Return the states ``(B, n, H)`` just before each time."""
        return self.read(values, seen, times)[0]


class OdeRnn(SteppedNetwork):
    """An ODE between the times, and a GRU cell at each time with an observation.

    The time between two observations differs from series to series. Each interval is solved over [0, 1], with the field
    multiplied by the length of the interval.

    Args:
        dimension: components of the series.
        hidden: dimension of the state.
        field: vector field of the hidden state.
        solve: the integrator.
    """

    def __init__(self, dimension: int, hidden: int, field: nn.Module, solve: Solve) -> None:
        super().__init__()
        self.cell = nn.GRUCell(2 * dimension, hidden)
        self.field = Rescaled(field)
        self.solve = solve

    def start(self, values: Tensor) -> Memory:
        """A state of zeros."""
        hidden = values.new_zeros(len(values), self.cell.hidden_size)
        return Memory(hidden, torch.zeros_like(values), torch.zeros_like(values))

    def advance(self, memory: Memory, gap: Tensor) -> Memory:
        """Solve over the gap."""
        extended = torch.cat([memory.hidden, gap], -1)
        return memory._replace(hidden=self.solve(self.field, extended, gap.new_tensor([0.0, 1.0]))[-1, :, :-1])

    def update(self, memory: Memory, values: Tensor, seen: Tensor) -> Memory:
        """Apply the cell to series with an observation; the state of the others does not change."""
        after = self.cell(torch.cat([values, seen.to(values)], -1), memory.hidden)
        return memory._replace(hidden=torch.where(seen.any(-1, keepdim=True), after, memory.hidden))


class Rescaled(nn.Module):
    """A field rescaled to an interval of length 1: ``d[y, L]/ds = [L field(y), 0]``, with the length L in the state."""

    def __init__(self, field: nn.Module) -> None:
        super().__init__()
        self.field = field

    def forward(self, t: Tensor, extended: Tensor) -> Tensor:
        """Return the derivative of ``(B, H + 1)``."""
        length = extended[:, -1:]
        return torch.cat([length * self.field(t, extended[:, :-1]), torch.zeros_like(length)], -1)


class GruD(SteppedNetwork):
    """A GRU whose state decays over time, and whose missing inputs decay from the last value to the mean.

    Equations 3 to 6 of the paper. With δ the time since a component was observed, the decay is
    ``exp(-max(0, W δ + b))``: elementwise for the inputs, with a full matrix W for the state. The cell is torch's,
    which applies the reset gate after the matrix product instead of before it; the GRU-D of Rubanova et al. does the
    same. The mask of observed components is also an input.

    Args:
        dimension: components of the series.
        hidden: units.
        mean: mean of the training series, ``(D,)``.
    """

    mean: Tensor

    def __init__(self, dimension: int, hidden: int, mean: Tensor) -> None:
        super().__init__()
        self.cell = nn.GRUCell(2 * dimension, hidden)
        self.input_rate = nn.Parameter(torch.rand(dimension))  # not negative: the decay would have no gradient
        self.input_offset = nn.Parameter(torch.zeros(dimension))
        self.state_decay = nn.Linear(dimension, hidden)
        nn.init.uniform_(self.state_decay.weight, 0, dimension**-0.5)
        nn.init.zeros_(self.state_decay.bias)
        self.register_buffer("mean", mean)

    def start(self, values: Tensor) -> Memory:
        """A state of zeros, and the mean as the last value."""
        hidden = values.new_zeros(len(values), self.cell.hidden_size)
        return Memory(hidden, self.mean.expand_as(values), torch.zeros_like(values))

    def advance(self, memory: Memory, gap: Tensor) -> Memory:
        """Let the state decay by the times since each component was seen."""
        since = memory.since + gap
        return memory._replace(hidden=decay(self.state_decay(since)) * memory.hidden, since=since)

    def update(self, memory: Memory, values: Tensor, seen: Tensor) -> Memory:
        """Apply the cell, also without an observation; decayed values replace missing inputs."""
        kept = decay(self.input_rate * memory.since + self.input_offset)
        inputs = torch.where(seen, values, kept * memory.last + (1 - kept) * self.mean)
        hidden = self.cell(torch.cat([inputs, seen.to(values)], -1), memory.hidden)
        return Memory(hidden, torch.where(seen, values, memory.last), torch.where(seen, 0.0, memory.since))


def decay(exponent: Tensor) -> Tensor:
    """``exp(-max(0, x))``, elementwise."""
    return torch.exp(-torch.relu(exponent))


class Forecaster(nn.Module):
    """A model that predicts each observation from the previous ones; forecasts feed back its own predictions.

    Args:
        network: recurrent network that computes the hidden state.
        hidden: dimension of the hidden state.
        dimension: components of the series.
    """

    def __init__(self, network: SteppedNetwork, hidden: int, dimension: int) -> None:
        super().__init__()
        self.network = network
        self.head = nn.Linear(hidden, dimension)

    def forward(self, observed: Tensor, where: Tensor, times: Tensor, draw: Tensor) -> tuple[Tensor, Tensor]:
        """Return a prediction of each observation ``(B, n, D)`` and a KL of zero ``(B,)``; see ``SeriesVae``."""
        states = self.network(observed, torch.ones_like(observed, dtype=torch.bool), times[where])
        return self.head(states), observed.new_zeros(len(observed))

    def forecast(self, observed: Tensor, times: Tensor, later: Tensor) -> Tensor:
        """Predict the signal ``(B, T, D)`` at ``later`` ``(T,)`` after observations at ``times`` ``(B, n)``."""
        known = torch.ones_like(observed, dtype=torch.bool)
        memory, found = self.network.read(observed, known, times)[1], []
        for gap in gaps(torch.cat([times[:, -1:], later.expand(len(times), -1)], 1))[:, 1:].unbind(1):
            memory = self.network.advance(memory, gap)
            point = self.head(memory.hidden)
            memory = self.network.update(memory, point, known[:, 0])
            found.append(point)
        return torch.stack(found, 1)
