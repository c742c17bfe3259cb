"""The problems of the scripts in this folder, written without nodebench: Van der Pol oscillators and a learned spiral.

Sources: Hairer and Wanner 1996, section IV.1 (oscillator); torchdiffeq ``examples/ode_demo.py`` (spiral, 2–50–2 tanh
network, weights from N(0, 0.1), biases 0).
"""

import scipy.linalg
import torch
from torch import Tensor, nn

LEARNING_RATE = 5e-3
SPAN = 25.0  # of the spiral
START = torch.tensor([[2.0, 0.0]], dtype=torch.float64)  # (1, 2)


class Counted(nn.Module):
    """A vector field, a module ``(t, y) -> dy/dt``, that counts its calls."""

    def __init__(self, field: nn.Module) -> None:
        super().__init__()
        self.field = field
        self.calls = 0

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, of the shape of ``y``."""
        self.calls += 1
        return self.field(t, y)

    def take(self) -> int:
        """Return the calls since the last ``take``, and count from 0 again."""
        calls, self.calls = self.calls, 0
        return calls


class VanDerPol(nn.Module):
    """The oscillator ``x'' = mu (1 - x²) x' - x`` for states ``(..., 2)``."""

    def __init__(self, mu: float) -> None:
        super().__init__()
        self.mu = mu

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, of the shape of ``y``."""
        x, v = y[..., 0], y[..., 1]
        return torch.stack([v, self.mu * (1 - x * x) * v - x], dim=-1)


def oscillators(seed: int, number: int = 32) -> tuple[Tensor, Tensor]:
    """Starts ``(number, 2)``, uniform in a square of side 5 about 0, and times ``(2,)``, in float64."""
    uniform = torch.rand(number, 2, generator=torch.Generator().manual_seed(seed))
    return (5 * uniform - 2.5).double(), torch.tensor([0.0, 10.0], dtype=torch.float64)


class Network(nn.Module):
    """The field ``net(y) - (0, rate y[1])`` with a 2–50–2 network, initialised from a seed."""

    def __init__(self, seed: int, rate: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.Sequential(nn.Linear(2, 50), nn.Tanh(), nn.Linear(50, 2))
        for layer in (self.layers[0], self.layers[2]):
            nn.init.normal_(layer.weight, std=0.1)
            nn.init.zeros_(layer.bias)
        self.register_buffer("rates", torch.tensor([0.0, rate]))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, of the shape ``(..., 2)`` of ``y``."""
        return self.layers(y) - self.rates * y


def spiral(times: Tensor, rate: float = 0.0) -> Tensor:
    """States ``(T, 1, 2)`` of the linear spiral at times ``(T,)`` by the matrix exponential, in float64."""
    matrix = torch.tensor([[-0.1, 2.0], [-2.0, -0.1 - rate]], dtype=torch.float64)
    flows = torch.tensor(scipy.linalg.expm(matrix.numpy() * (times - times[0]).numpy()[:, None, None]))
    return START @ flows
