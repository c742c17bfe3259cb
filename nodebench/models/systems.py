"""Known vector fields: the systems that the toy tasks learn, in float64, and their exact trajectories."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import scipy.integrate
import torch
from torch import Tensor, nn
from torch.nn import functional


class Linear(nn.Module):
    """The linear field ``dy/dt = y A``: row vectors, as in the Breakdown article."""

    matrix: Tensor

    def __init__(self, matrix: Sequence[Sequence[float]] | Tensor) -> None:
        super().__init__()
        self.register_buffer("matrix", torch.as_tensor(matrix, dtype=torch.float64))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, of the shape ``(..., D)`` of ``y``."""
        return y @ self.matrix


class LotkaVolterra(nn.Module):
    """Prey u and predator v: ``du/dt = a u - b u v``, ``dv/dt = d u v - c v``, for positive states.

    Source: Lotka 1925, Volterra 1926; the constants are the Breakdown article's.
    """

    a, b, c, d = 1.5, 1.0, 3.0, 1.0

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, of the shape ``(..., 2)`` of ``y``."""
        u, v = y.unbind(-1)
        return torch.stack([self.a * u - self.b * u * v, self.d * u * v - self.c * v], -1)

    def conserved(self, y: Tensor) -> Tensor:
        """The quantity ``d u - c ln u + b v - a ln v``, constant along each trajectory, of shape ``(...)``."""
        u, v = y.unbind(-1)
        return self.d * u - self.c * u.log() + self.b * v - self.a * v.log()

    @classmethod
    def linearised(cls) -> Linear:
        """Return the Jacobian at the fixed point (c/d, a/b), which the Breakdown article calls "Volterra–Lotka".

        The article applies it to row vectors, which swaps prey and predator; the frequency is the same.
        """
        return Linear([[0.0, -cls.b * cls.c / cls.d], [cls.d * cls.a / cls.b, 0.0]])


class LotkaVolterraScenario(LotkaVolterra):
    """``LotkaVolterra`` with the constants of the first scenario of universal differential equations.

    Source: Rackauckas et al. 2020, arXiv 2001.04385; ``LotkaVolterra/scenario_1.jl`` of the authors.
    """

    a, b, c, d = 1.3, 0.9, 1.8, 0.8

    def interaction(self, y: Tensor) -> Tensor:
        """Return the interaction terms ``(-b u v, d u v)``, of the shape ``(..., 2)`` of ``y``."""
        met = y.prod(-1)
        return torch.stack([-self.b * met, self.d * met], -1)


class DampedOscillator(nn.Module):
    """Position x and velocity v of ``x'' = −2 γ x' − (γ² + ω²) x``, an oscillator of frequency ω damped at the rate γ.

    Source: Norcliffe et al. 2020, arXiv 2006.07220, section 5; the authors' ``damped_oscillators/make_data.py``.
    """

    rate, frequency = 0.1, 1.0

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, of the shape ``(..., 2)`` of ``y``."""
        x, v = y.unbind(-1)
        return torch.stack([v, -2 * self.rate * v - (self.rate**2 + self.frequency**2) * x], -1)


class Pendulum(nn.Module):
    """Angle q and momentum p of a pendulum of mass, length and gravity 1: ``q' = p``, ``p' = −sin q``."""

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, of the shape ``(..., 2)`` of ``y``."""
        q, p = y.unbind(-1)
        return torch.stack([p, -q.sin()], -1)

    def energy(self, y: Tensor) -> Tensor:
        """The energy ``p²/2 + 1 − cos q``, constant along each trajectory, of shape ``(...)``."""
        q, p = y.unbind(-1)
        return p**2 / 2 + 1 - q.cos()


class BlendedFields(nn.Module):
    """Two linear fields, blended by sigmoids of ``±⟨y, anchor⟩``.

    Source: the Breakdown article's nonlinear field, where the anchor is the initial state.
    """

    first: Tensor
    second: Tensor
    anchor: Tensor

    def __init__(self, anchor: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("first", torch.tensor([[-0.1, -0.5], [0.5, -0.1]], dtype=torch.float64))
        self.register_buffer("second", torch.tensor([[0.2, 1.0], [-1.0, 0.2]], dtype=torch.float64))
        self.register_buffer("anchor", torch.tensor(anchor, dtype=torch.float64))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, of the shape ``(..., 2)`` of ``y``; the matrices act on columns."""
        alignment = (y * self.anchor).sum(-1, keepdim=True)
        towards = (y - self.anchor) @ self.first.T
        away = (y + self.anchor) @ self.second.T
        return torch.sigmoid(alignment) * towards + torch.sigmoid(-alignment) * away


class RandomNetwork(nn.Module):
    """A random network with the input ``y t``: 2–25–50–10–2, no biases, an ELU after each of the four layers.

    Source: the Breakdown article's network field, with torch's default initialisation.
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        widths = (2, 25, 50, 10, 2)
        self.weights = nn.ParameterList()
        for inputs, outputs in pairwise(widths):
            # nn.Linear's default: uniform within ±1/sqrt(inputs).
            uniform = torch.rand(outputs, inputs, generator=generator, dtype=torch.float64)
            self.weights.append(nn.Parameter((2 * uniform - 1) / inputs**0.5, requires_grad=False))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, of the shape ``(..., 2)`` of ``y``; ``t`` broadcasts against ``y``."""
        y = y * t
        for weight in self.weights:
            y = functional.elu(y @ weight.T)
        return y


class VanDerPol(nn.Module):
    """The Van der Pol oscillator ``x'' = μ (1 - x²) x' - x`` as a first-order system; stiff for large μ.

    Source: Hairer and Wanner 1996, Solving Ordinary Differential Equations II, section IV.1.
    """

    def __init__(self, mu: float) -> None:
        super().__init__()
        self.mu = mu

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, of the shape ``(..., 2)`` of ``y``."""
        x, v = y.unbind(-1)
        return torch.stack([v, self.mu * (1 - x**2) * v - x], -1)

    def limit_cycle(self, phases: Tensor) -> tuple[Tensor, float]:
        """Solve the limit cycle with SciPy and return its states at the given phases, and its period.

        Args:
            phases: ``(N,)``, as fractions of a period; at phase 0, x passes 0 from below.

        Returns:
            tuple[Tensor, float]: the states ``(N, 2)`` in float64 on the CPU, and the period.
        """

        # As in ``forward``, without torch: tensors of two numbers would take three times as long, in every trial.
        def slope(t: float, y: np.ndarray) -> tuple[float, float]:
            return y[1], self.mu * (1 - y[0] ** 2) * y[1] - y[0]

        def rising(t: float, y: np.ndarray) -> float:
            return y[0]

        rising.direction = 1  # type: ignore[attr-defined]
        # No period is longer than 2π + 2μ. The solve begins near the cycle, at (2, 0), and ends on it or, for small μ,
        # within about 1e-6.
        end = 4 * (2 * math.pi + 2 * self.mu)
        solve: Any = scipy.integrate.solve_ivp(
            slope, (0.0, end), (2.0, 0.0), method="LSODA", events=rising, dense_output=True, rtol=1e-10, atol=1e-12
        )
        if not solve.success:
            raise ArithmeticError(f"the limit cycle cannot be computed: {solve.message}")
        begin, after = solve.t_events[0][-2:]
        period = float(after - begin)
        return torch.from_numpy(solve.sol(begin + phases.double().numpy() * period).T.copy()), period


class Robertson(nn.Module):
    """Robertson's chemical reaction of three substances, with rates up to nine orders of magnitude apart.

    Source: Robertson 1966; Hairer and Wanner 1996, section IV.1.
    """

    slow, fast, medium = 0.04, 3e7, 1e4

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt, of the shape ``(..., 3)`` of ``y``."""
        a, b, c = y.unbind(-1)
        gained, lost = self.slow * a - self.medium * b * c, self.fast * b * b
        return torch.stack([-gained, gained - lost, lost], -1)


class Sine(nn.Module):
    """The field ``x' = 2 sin 3x`` on a line, with alternating stable and unstable fixed points."""

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """Return dx/dt, of the shape of ``x``."""
        return 2 * torch.sin(3 * x)


def exact_states(
    system: nn.Module,
    y0: Tensor,
    times: Tensor,
    tolerance: float = 1e-10,
    method: Literal["DOP853", "Radau"] = "DOP853",
    smallest: float = 1.0,
) -> Tensor:
    """Solve a system with SciPy in float64 and return its states at ``times``.

    Args:
        system: module ``(t, y) -> dy/dt`` in float64.
        y0: start ``(..., D)`` at the first time.
        times: ``(T,)``, increasing.
        tolerance: relative tolerance; the absolute tolerance is ``tolerance * smallest``.
        method: method of SciPy; Radau for stiff systems.
        smallest: typical size of the smallest component.

    Returns:
        Tensor: ``(T, ..., D)`` in float64, on the CPU.
    """

    @torch.no_grad()
    def slope(t: float, flat: np.ndarray) -> np.ndarray:
        y = torch.from_numpy(flat).reshape(y0.shape)
        return system(torch.tensor(t, dtype=torch.float64), y).numpy().reshape(-1)

    span = (float(times[0]), float(times[-1]))
    found = scipy.integrate.solve_ivp(
        slope,
        span,
        y0.double().numpy().reshape(-1),
        method=method,
        t_eval=times.double().numpy(),
        rtol=tolerance,
        atol=tolerance * smallest,
    )
    if not found.success:
        raise ArithmeticError(f"the exact trajectory cannot be computed: {found.message}")
    return torch.from_numpy(found.y.T.copy()).reshape(len(times), *y0.shape)
