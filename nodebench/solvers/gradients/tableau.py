"""Explicit Runge–Kutta methods as data, read from torchdiffeq."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torchdiffeq._impl.fixed_adams import AdamsBashforth, AdamsBashforthMoulton
from torchdiffeq._impl.odeint import SOLVERS
from torchdiffeq._impl.rk_common import RKAdaptiveStepsizeODESolver
from torchdiffeq._impl.solvers import FixedGridODESolver

from nodebench.solvers.precision import time_dtype
from nodebench.spec import SolveFailed, Status

Derivative = Callable[[Tensor, Tensor], Tensor]  # of time and state
Row = tuple[float, ...]


@dataclass(frozen=True)
class Tableau:
    """An explicit method: the stages ``k_i = f(t + c_i h, y + h Σ_j a_ij k_j)``, and sums of them.

    Attributes:
        c: time of each stage as a fraction of the step.
        a: the weights of the earlier stages in the state of each stage.
        b: the weights of the stages in the step, ``y(t + h) ≈ y + h Σ b_i k_i``.
        order: order of the method.
        error: the weights in the estimated error; None for a method that has none.
        middle: the weights in the state at half the step; None for a method that interpolates linearly.
        reuses: whether the last stage is evaluated at the state where the step ends, and is therefore the first stage
            of the next step.
    """

    c: Row
    a: tuple[Row, ...]
    b: Row
    order: int
    error: Row | None = None
    middle: Row | None = None
    reuses: bool = False

    def weights(self, share: float) -> Row:
        """Return the stage weights of the state at a fraction of the step, as torchdiffeq interpolates.

        The interpolation is linear without ``middle``; else it is the quartic through the states at the start, the
        middle and the end with the derivatives at both ends.
        """
        x = share
        if self.middle is None or x == 1:
            return tuple(x * b for b in self.b)
        end, middle = (-8 * x**2 + 14 * x - 5) * x**2, 16 * (x - 1) ** 2 * x**2
        found = [end * b + middle * m for b, m in zip(self.b, self.middle, strict=True)]
        found[0] += x - 4 * x**2 + 5 * x**3 - 2 * x**4
        found[-1] += x**2 - 3 * x**3 + 2 * x**4
        return tuple(found)

    def time(self, t: float, dt: float, stage: int, like: Tensor) -> Tensor:
        """Return the time of a stage as a scalar with the real dtype and device of the state ``like``."""
        return torch.tensor(t + self.c[stage] * dt, dtype=time_dtype(like.abs().dtype), device=like.device)

    def stage_state(self, y: Tensor, dt: float, stage: int, slopes: Sequence[Tensor]) -> Tensor:
        """The state at which a stage is evaluated."""
        return add(y, dt, self.a[stage], slopes)

    def slopes(self, f: Derivative, t: float, dt: float, y: Tensor, count: int) -> list[Tensor]:
        """The first ``count`` stages of a step."""
        found: list[Tensor] = []
        for i in range(count):
            found.append(f(self.time(t, dt, i, y), self.stage_state(y, dt, i, found)))
        return found


def add(y: Tensor, dt: float, weights: Sequence[float], slopes: Sequence[Tensor]) -> Tensor:
    """``y + dt Σ w_i k_i``, without the terms whose weight is 0."""
    for weight, slope in zip(weights, slopes, strict=False):
        if weight:
            y = y + (dt * weight) * slope
    return y


def last_used(weights: Sequence[float]) -> int:
    """Return the number of stages that a sum needs: up to the last stage with a nonzero weight."""
    return max((i + 1 for i, weight in enumerate(weights) if weight), default=0)


@cache
def tableau_of(method: str) -> Tableau:
    """The tableau of one of torchdiffeq's methods.

    The library provides it for its adaptive methods. For fixed-step methods it is determined from one step: a step is
    linear in its stages, so unit vectors as stages give the weights.

    Raises:
        SolveFailed: the method is no explicit Runge–Kutta method.
    """
    solver = SOLVERS[method]
    if issubclass(solver, RKAdaptiveStepsizeODESolver):
        return _stated(solver)
    if not issubclass(solver, FixedGridODESolver) or issubclass(solver, AdamsBashforth | AdamsBashforthMoulton):
        message = f"{method} is no explicit Runge–Kutta method: it uses derivatives of earlier steps"
        raise SolveFailed(Status.UNSUPPORTED, message)
    return _observed(solver)


def _stated(solver: type[RKAdaptiveStepsizeODESolver]) -> Tableau:
    stated = solver.tableau
    a = [(), *(tuple(row.tolist()) for row in stated.beta)]
    b = tuple(stated.c_sol.tolist())
    return Tableau(
        c=(0.0, *stated.alpha.tolist()),
        a=tuple(a),
        b=b,
        order=solver.order,
        error=tuple(stated.c_error.tolist()),
        middle=tuple(solver.mid.tolist()),
        reuses=b[-1] == 0 and b[:-1] == a[-1],
    )


STAGES = 16  # more than any method has


def _observed(solver: type[FixedGridODESolver]) -> Tableau:
    nodes: list[float] = []
    rows: list[Row] = []
    units = torch.eye(STAGES, dtype=torch.float64)

    def stage(t: Tensor, y: Tensor, **_: object) -> Tensor:
        nodes.append(float(t))
        rows.append(tuple(y.tolist()[: len(rows)]))
        return units[len(rows) - 1]

    zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    y0 = torch.zeros(STAGES, dtype=torch.float64)
    step, _ = solver(stage, y0, atol=0.0)._step_func(stage, zero, one, one, y0)
    return Tableau(tuple(nodes), tuple(rows), tuple(step.tolist()[: len(rows)]), solver.order)
