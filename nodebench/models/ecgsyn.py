"""A dynamical model of the electrocardiogram.

Source: McSharry, Clifford, Tarassenko and Smith 2003, "A dynamical model for generating synthetic
electrocardiogram signals", IEEE Transactions on Biomedical Engineering 50(3).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

RESPIRATION_HZ = 0.25
RESPIRATION = 0.005  # amplitude of the baseline; the R peak is 0.04 to 0.05
MILLIVOLT = 25.0  # mV per unit of z; at 60 beats per minute the R peak of Table 1 is then near the authors' 1.2 mV


class Waves(NamedTuple):
    """Angle (rad), strength and width (rad) of the waves P, Q, R, S and T, each ``(..., 5)``."""

    angle: Tensor
    strength: Tensor
    width: Tensor


# Table 1 of the paper.
TABLE_1 = Waves(
    torch.tensor([-torch.pi / 3, -torch.pi / 12, 0.0, torch.pi / 12, torch.pi / 2], dtype=torch.float64),
    torch.tensor([1.2, -5.0, 30.0, -7.5, 0.75], dtype=torch.float64),
    torch.tensor([0.25, 0.1, 0.1, 0.1, 0.4], dtype=torch.float64),
)


class EcgSyn(nn.Module):
    """Three states (x, y, z): the point (x, y) circles once per beat, and each wave it passes pushes z.

    Equation 1 of the paper: ``x' = αx - ωy``, ``y' = αy + ωx``,
    ``z' = -Σ aᵢ Δθᵢ exp(-Δθᵢ² / 2bᵢ²) - (z - z₀)`` with ``α = 1 - √(x² + y²)`` and ``θ = atan2(y, x)``.

    Args:
        waves: the waves of one heart, ``(5,)``, or of N hearts, ``(N, 5)``.
        interval: the RR interval in s, ``(N,)``, as a function of the time in s.
        respiration: amplitude of the baseline ``z₀``.
    """

    def __init__(self, waves: Waves, interval: Callable[[Tensor], Tensor], respiration: float = RESPIRATION) -> None:
        super().__init__()
        self.waves = waves
        self.interval = interval
        self.respiration = respiration

    def forward(self, t: Tensor, state: Tensor) -> Tensor:
        """Return the slope of states ``(N, 3)``."""
        x, y, z = state.unbind(-1)
        alpha = 1 - torch.hypot(x, y)
        omega = 2 * torch.pi / self.interval(t)
        apart = torch.atan2(y, x).unsqueeze(-1) - self.waves.angle
        apart = torch.remainder(apart + torch.pi, 2 * torch.pi) - torch.pi
        push = (self.waves.strength * apart * torch.exp(-0.5 * (apart / self.waves.width) ** 2)).sum(-1)
        baseline = self.respiration * torch.sin(2 * torch.pi * RESPIRATION_HZ * t)
        return torch.stack([alpha * x - omega * y, alpha * y + omega * x, -push - (z - baseline)], -1)
