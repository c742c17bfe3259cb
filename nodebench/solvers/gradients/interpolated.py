"""The gradient ``interpolated``: an adjoint that reads the state from the forward solution.

Source: Daulbaev et al. 2020 (Interpolated Reverse Dynamic Method), arXiv 2003.05271, section 3. The paper interpolates
on a Chebyshev grid. Here each step has torchdiffeq's own interpolant: a quartic for an adaptive method (keeps five
states per step), and the cubic through states and derivatives for fixed steps (keeps two states per step).

The adjoint ``a' = -(∂f/∂y)ᵀ a`` and the gradients of the parameters are solved backwards, at the adjoint's tolerances.
The state is not solved again, so the method also works if a backward solve cannot recover the state. The gradient is
that of the continuous problem: its error decreases with the tolerance but is not 0.
"""

import bisect
from collections.abc import Sequence
from typing import Any

import torch
import torchdiffeq
from torch import Tensor
from torchdiffeq._impl.interp import _interp_evaluate
from torchdiffeq._impl.misc import _check_inputs
from torchdiffeq._impl.odeint import SOLVERS
from torchdiffeq._impl.rk_common import RKAdaptiveStepsizeODESolver

from nodebench.instruments import CountedField
from nodebench.solvers.contract import StepControl
from nodebench.solvers.gradients.function import Pullback, Scheme

DEFAULT_TOLERANCE = 1e-7  # torchdiffeq requires a tolerance even if the method uses none


class InterpolatedAdjoint(Scheme):
    """The interpolated adjoint of one solve by a method of torchdiffeq.

    Args:
        field: the counted field.
        times: output times ``(T,)``.
        control: method, and tolerances of the forward and backward solves.
        options: options of the library's method.
    """

    def __init__(self, field: CountedField, times: Tensor, control: StepControl, options: dict[str, Any]) -> None:
        self.field: CountedField = field
        self._times, self._control, self._options = times, control, options
        self._starts: list[float] = []
        self._ends: list[float] = []
        self._adaptive = issubclass(SOLVERS[control.method], RKAdaptiveStepsizeODESolver)
        self._sign = 1.0 if times[-1] > times[0] else -1.0

    def solve(self, y0: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Let the library solve; keep the coefficients of each step's interpolant."""
        control = self._control
        rtol, atol = control.rtol or DEFAULT_TOLERANCE, control.atol or DEFAULT_TOLERANCE
        _, func, y, times, rtol, atol, method, options, _, _ = _check_inputs(
            self.field, y0, self._times, rtol, atol, control.method, self._options, None, SOLVERS
        )
        solver = SOLVERS[method](func=func, y0=y, rtol=rtol, atol=atol, **options)
        kept: list[Tensor] = []
        (self._record_adaptive if self._adaptive else self._record_fixed)(solver, kept)
        states = solver.integrate(times)
        if not self._adaptive:
            kept += [states[-1].clone(), func(times[-1], states[-1])]
            self._ends.append(float(times[-1]))
        return states, kept

    def _record_adaptive(self, solver: Any, kept: list[Tensor]) -> None:
        fit = solver._interp_fit

        def recording(y0: Tensor, y1: Tensor, k: Tensor, dt: Tensor) -> Any:
            coefficients = fit(y0, y1, k, dt)
            kept.extend(coefficients)
            start = float(solver.rk_state.t1)
            self._starts.append(start)
            self._ends.append(start + float(dt))
            return coefficients

        solver._interp_fit = recording

    def _record_fixed(self, solver: Any, kept: list[Tensor]) -> None:
        step = solver._step_func

        def recording(func: Any, t0: Tensor, dt: Tensor, t1: Tensor, y0: Tensor) -> Any:
            change, f0 = step(func, t0, dt, t1, y0)
            kept.extend([y0, f0])
            self._starts.append(float(t0))
            if len(self._starts) > 1:
                self._ends.append(float(t0))
            return change, f0

        solver._step_func = recording

    def differentiate(self, kept: list[Tensor], gradient: Tensor, pullback: Pullback) -> Tensor:
        """Solve the adjoint from each output time to the one before."""
        adjoint = gradient[-1]
        of_parameters = tuple(torch.zeros_like(one) for one in pullback.parameters)
        for i in range(len(self._times) - 1, 0, -1):
            span = torch.stack([self._times[i], self._times[i - 1]])
            adjoint, *rest = self._solve_back(kept, (adjoint, *of_parameters), span, pullback)
            of_parameters = tuple(rest)
            adjoint = adjoint + gradient[i - 1]
        pullback.gradients = list(of_parameters)
        return adjoint

    def _solve_back(
        self, kept: Sequence[Tensor], start: tuple[Tensor, ...], span: Tensor, pullback: Pullback
    ) -> list[Tensor]:
        def slope(t: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            pullback.gradients = [None] * len(pullback.parameters)
            _, of_state = pullback.through(t, self._state_at(kept, float(t)), state[0])
            found = zip(pullback.gradients, pullback.parameters, strict=True)
            return (-of_state, *(torch.zeros_like(one) if g is None else -g for g, one in found))

        control = self._control
        tolerances = {}
        if control.adjoint_rtol is not None:
            tolerances = {"rtol": control.adjoint_rtol, "atol": control.adjoint_atol}
        options = {k: v for k, v in self._options.items() if k not in ("norm", "step_t")}
        solved = torchdiffeq.odeint(slope, start, span, method=control.method, options=options, **tolerances)
        return [one[-1] for one in solved]

    def _state_at(self, kept: Sequence[Tensor], t: float) -> Tensor:
        """The forward solution at a time."""
        s = self._sign * t
        i = max(0, bisect.bisect_right(self._starts, s) - 1)
        start, end = self._starts[i], self._ends[i]
        if self._adaptive:
            at = torch.tensor([start, end, min(max(s, start), end)], dtype=torch.float64)
            state: Tensor = _interp_evaluate(kept[5 * i : 5 * i + 5], *at.to(kept[0].device))
            return state
        y0, f0, y1, f1 = kept[2 * i : 2 * i + 4]
        x, dt = (s - start) / (end - start), end - start
        return (
            (1 + 2 * x) * (1 - x) ** 2 * y0
            + x * (1 - x) ** 2 * dt * f0
            + x**2 * (3 - 2 * x) * y1
            + x**2 * (x - 1) * dt * f1
        )
