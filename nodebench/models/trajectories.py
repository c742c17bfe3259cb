"""Models that predict trajectories from initial states, each sample at its own output times."""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from nodebench.models.fields import Delayed, Rescaled
from nodebench.solvers import Solve

# Two times count as equal if they differ by at most this fraction of the longest time.
SAME_TIME = 1e-6


def shared_grid(elapsed: Tensor) -> tuple[Tensor, Tensor]:
    """Return the union of all times of a batch, and the index of each time in it.

    Args:
        elapsed: times since each sample's start, ``(B, W)``, the first column 0.

    Returns:
        tuple: the grid ``(U,)``, increasing from 0, and the index ``(B, W)`` with ``grid[index] == elapsed``
        up to ``SAME_TIME``.
    """
    ordered = elapsed.flatten().sort().values
    distinct = torch.ones_like(ordered, dtype=torch.bool)
    distinct[1:] = ordered.diff() > SAME_TIME * ordered[-1]
    grid = ordered[distinct]
    return grid, torch.searchsorted(grid, elapsed.contiguous(), right=True) - 1


# How to solve a batch whose samples have different output times; see ``OdeTrajectories``.
OwnTimes = Literal["union", "rescaled", "alone"]


class OdeTrajectories(nn.Module):
    """Trajectories of a field; every sample has its own output times.

    ``own_times`` sets how a batch of B samples with W times each is solved:

    - ``union``: one solve with outputs at all distinct times of the batch; each sample selects its own. An adaptive
      forward solve needs no extra evaluations for this, because outputs are interpolated. The adjoint restarts at each
      time of the union, so its evaluations and the stored outputs grow with ``B × W``. Windows of a regular grid share
      one grid, so their union is no larger than one window.
    - ``rescaled``: one solve for each of the ``W − 1`` intervals. The solver's time goes from 0 to 1 while every sample
      goes from its current output time to its next one. Source: torchdiffeq issue 122.
    - ``alone``: one solve for each sample, with its own steps.

    Args:
        field: module ``(t, y) -> dy/dt``.
        solve: the integrator.
        own_times: how samples with different output times are solved, see above.
    """

    def __init__(self, field: nn.Module, solve: Solve, own_times: OwnTimes = "union") -> None:
        super().__init__()
        self.field = field
        self.solve = solve
        self.own_times = own_times

    def forward(self, y0: Tensor, start: Tensor, elapsed: Tensor) -> Tensor:
        """Return the states ``(B, W, D)``.

        Args:
            y0: states ``(B, D)`` at the starts.
            start: time of each start ``(B, 1)``.
            elapsed: times since the start ``(B, W)``, increasing from 0.
        """
        if self.own_times == "alone":
            samples = zip(y0.split(1), start.split(1), elapsed, strict=True)
            return torch.stack([self._solved(*sample)[:, 0] for sample in samples])
        if self.own_times == "rescaled":
            return self._rescaled(y0, start, elapsed)
        grid, index = shared_grid(elapsed)
        return self._solved(y0, start, grid)[index, torch.arange(len(y0), device=y0.device).unsqueeze(1)]

    def _solved(self, y0: Tensor, start: Tensor, elapsed: Tensor) -> Tensor:
        """States ``(W, B, D)`` at times ``(W,)`` that all samples share."""
        field = Delayed(self.field, start) if getattr(self.field, "sees_time", False) else self.field
        return self.solve(field, y0, elapsed)

    def _rescaled(self, y0: Tensor, start: Tensor, elapsed: Tensor) -> Tensor:
        states, unit = [y0], elapsed.new_tensor([0.0, 1.0])
        for begun, ended in pairwise(elapsed.unsqueeze(2).unbind(1)):
            field = Rescaled(self.field, start + begun, ended - begun)
            states.append(self.solve(field, states[-1], unit)[-1])
        return torch.stack(states, 1)


class GruTrajectories(nn.Module):
    """A discrete baseline for irregular times: a GRU that takes each Δt as input and updates the last state.

    It has no vector field; a step is ``y + readout(h)`` where ``h`` depends on the last state and the next Δt.
    """

    def __init__(self, dimension: int, hidden: int) -> None:
        super().__init__()
        self.cell = nn.GRUCell(dimension + 1, hidden)
        self.readout = nn.Linear(hidden, dimension)

    def forward(self, y0: Tensor, start: Tensor, elapsed: Tensor) -> Tensor:
        """Return the states ``(B, W, D)``; arguments as for ``OdeTrajectories``."""
        states, h = [y0], y0.new_zeros(len(y0), self.cell.hidden_size)
        for gap in elapsed.diff(dim=1).unbind(1):
            h = self.cell(torch.cat([states[-1], gap.unsqueeze(1).to(y0)], 1), h)
            states.append(states[-1] + self.readout(h))
        return torch.stack(states, 1)


INTERPOLATIONS = ("constant", "last-value", "linear")


class ObservedTrajectories(nn.Module):
    """A baseline without training: it computes states from the observations of one trajectory by a fixed rule.

    Args:
        rule: ``constant`` is the mean of the observations, ``last-value`` the last one at or before a time, ``linear``
            interpolates between two observations and is constant after the last one.
        times: observation times, ``(N,)``, increasing.
        states: observed states, ``(N, D)``.
    """

    times: Tensor
    states: Tensor

    def __init__(self, rule: str, times: Tensor, states: Tensor) -> None:
        super().__init__()
        self.rule = rule
        self.register_buffer("times", times)
        self.register_buffer("states", states)
        # The training loop needs a parameter; the loss does not depend on this one.
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, y0: Tensor, start: Tensor, elapsed: Tensor) -> Tensor:
        """Return the states ``(B, W, D)``; arguments as for ``OdeTrajectories``. ``y0`` is not used."""
        asked = (start + elapsed).to(self.times)
        if self.rule == "constant":
            found = self.states.mean(0).expand(*asked.shape, -1)
        else:
            last = torch.searchsorted(self.times, asked.contiguous(), right=True).sub(1).clamp(0, len(self.times) - 1)
            found = self.states[last]
            if self.rule == "linear":
                following = (last + 1).clamp(max=len(self.times) - 1)
                gap = (self.times[following] - self.times[last]).clamp(min=torch.finfo(self.times.dtype).tiny)
                share = ((asked - self.times[last]) / gap).clamp(0, 1).unsqueeze(-1)
                found = found + share * (self.states[following] - found)
        return found.to(y0) + 0 * self.unused
