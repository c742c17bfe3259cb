"""The gradient ``reversible``: a Runge–Kutta method made algebraically reversible, and its exact gradient.

Source: McCallum and Foster 2024, arXiv 2410.11648, section 3. Two states ``y`` and ``z`` are advanced. They are
equal at the start; ``Ψ_h(t, y) = h Σ b_i k_i`` is the increment of the method and ``λ`` the coupling::

    y' = λ y + (1 - λ) z + Ψ_h(t, z)
    z' = z - Ψ_{-h}(t + h, y')

Both equations can be solved for ``y`` and ``z``. The backward pass therefore recomputes each state from the next one,
and only the last two states and the step sizes are kept (Python floats, 16 bytes per step).

The solution differs from that of the original method: it has the same order but other errors. A step costs two
increments in each pass, and in the backward pass as many vector-Jacobian products as evaluations.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor
from torchdiffeq._impl.misc import _compute_error_ratio, _optimal_step_size, _rms_norm, _select_initial_step

from nodebench.instruments import CountedField
from nodebench.solvers.contract import StepControl
from nodebench.solvers.gradients.checkpoint import fixed_steps
from nodebench.solvers.gradients.function import Pullback, Scheme, leaf
from nodebench.solvers.gradients.steps import TakenStep, with_outputs
from nodebench.solvers.gradients.tableau import Tableau, add, last_used, tableau_of
from nodebench.solvers.precision import time_dtype
from nodebench.spec import SolveFailed, Status

COUPLING = 0.99  # default for λ
# Step-size control as in torchdiffeq: safety factor, largest and smallest ratio of successive steps.
SAFETY, LARGEST, SMALLEST = 0.9, 10.0, 0.2

Norm = Callable[[Tensor], Tensor]


class Reversible(Scheme):
    """The reversible form of one solve.

    Args:
        field: the counted field.
        times: output times ``(T,)``. Adaptive steps end on each of them; fixed steps interpolate linearly.
        control: method, tolerances or step size, and coupling.
        norm: norm of the estimated error of ``Ψ_h(t, z)``; None means the root mean square.
    """

    def __init__(self, field: CountedField, times: Tensor, control: StepControl, norm: Norm | None = None) -> None:
        self.field: CountedField = field
        self._times, self._control, self._norm = times, control, norm or _rms_norm
        self._tableau = tableau_of(control.method)
        self._coupling = COUPLING if control.coupling is None else control.coupling
        self._steps: list[TakenStep] = []

    def solve(self, y0: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Step both states; keep the last ones."""
        states = torch.empty(len(self._times), *y0.shape, dtype=y0.dtype, device=y0.device)
        states[0] = y0
        step = self._solve_adaptively if self._tableau.error is not None else self._solve_fixed
        return states, list(step(y0, states))

    def _solve_fixed(self, y0: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        grid = fixed_steps(self._times, self._control.step_size).tolist()
        starts = [(t, abs(following - t)) for t, following in pairwise(grid)]
        self._steps = with_outputs(starts, self._times)
        y = z = y0
        for step in self._steps:
            self._begin(step.t, y, step.dt)
            following, z = self._advance(step, y, z, self._increment(step.t, step.dt, z))
            for index, share in step.outputs:
                states[index] = following if share == 1 else torch.lerp(y, following, share)
            y = following
        return y, z

    def _solve_adaptively(self, y0: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        y = z = y0
        start, proposed = float(self._times[0]), self._first_step(y0)
        for index, end in enumerate(self._times.tolist()[1:], 1):
            while start != end:
                left = abs(end - start)
                size = min(proposed, left)
                dt = math.copysign(size, end - start)
                self._begin(start, y, dt)
                increment, following = self._attempt(start, dt, z)
                if increment is None:
                    proposed = following
                    continue
                ends = size == left
                self._steps.append(TakenStep(start, dt, ((index, 1.0),) if ends else ()))
                y, z = self._advance(self._steps[-1], y, z, increment)
                start = end if ends else start + dt
                proposed = max(proposed, following) if ends else following
            states[index] = y
        return y, z

    def _attempt(self, t: float, dt: float, z: Tensor) -> tuple[Tensor | None, float]:
        """The increment of a step, None if its error is too large, and the size of the next step."""
        tableau, nothing = self._tableau, torch.zeros_like(z)
        slopes = tableau.slopes(self.field, t, dt, z, len(tableau.b))
        increment = add(nothing, dt, tableau.b, slopes)
        if self._control.step_size is not None:  # held constant
            return increment, self._control.step_size
        error = add(nothing, dt, tableau.error or (), slopes)
        ratio = _compute_error_ratio(error, self._control.rtol, self._control.atol, z, z + increment, self._norm)
        if not torch.isfinite(ratio):
            raise SolveFailed(Status.NON_FINITE, "the estimated error of a step is not finite")
        return increment if float(ratio) <= 1 else None, self._resized(abs(dt), ratio)

    def _begin(self, t: float, y: Tensor, dt: float) -> None:
        self.field.counter.on_step(torch.tensor(t), y, torch.tensor(dt))

    def _first_step(self, y0: Tensor) -> float:
        if self._control.first_step is not None:
            return self._control.first_step
        if self._control.step_size is not None:
            return self._control.step_size
        sign = 1.0 if self._times[-1] > self._times[0] else -1.0
        step = _select_initial_step(
            lambda t, y: sign * self.field((sign * t).to(time_dtype(y.abs().dtype)), y),
            sign * self._times[0].double(),
            y0,
            self._tableau.order - 1,
            self._control.rtol,
            self._control.atol,
            self._norm,
        )
        return float(step)

    def _resized(self, size: float, ratio: Tensor) -> float:
        """Return the next step size by torchdiffeq's step-size control."""
        limits = (torch.tensor(one, dtype=torch.float64) for one in (SAFETY, LARGEST, SMALLEST))
        last = torch.tensor(size, dtype=torch.float64)
        found = float(_optimal_step_size(last, ratio.cpu(), *limits, self._tableau.order))
        if found < 1e-14 * float(self._times.abs().max()):
            raise SolveFailed(Status.DT_UNDERFLOW, f"underflow in dt {found:g}")
        return found

    def _increment(self, t: float, dt: float, y: Tensor) -> Tensor:
        """``Ψ``: what the method adds to a state in a step."""
        return increment_of(self._tableau, self.field, t, dt, y)

    def _advance(self, step: TakenStep, y: Tensor, z: Tensor, increment: Tensor) -> tuple[Tensor, Tensor]:
        following = self._coupling * y + (1 - self._coupling) * z + increment
        return following, z - self._increment(step.t + step.dt, -step.dt, following)

    def differentiate(self, kept: list[Tensor], gradient: Tensor, pullback: Pullback) -> Tensor:
        """Recompute the states and differentiate the steps, from last to first."""
        y, z = kept
        of_y, of_z = torch.zeros_like(y), torch.zeros_like(z)
        for step in reversed(self._steps):
            before = torch.zeros_like(y)
            for index, share in step.outputs:
                of_y = of_y + share * gradient[index]
                before = before + (1 - share) * gradient[index]
            y, z, of_y, of_z = self._back(step, y, z, of_y, of_z, pullback)
            of_y = of_y + before
        return of_y + of_z + gradient[0]

    def _back(
        self, step: TakenStep, y: Tensor, z: Tensor, of_y: Tensor, of_z: Tensor, pullback: Pullback
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the states before a step and their gradients, given those after the step."""
        coupling = self._coupling
        added, of_state = self._through(step.t + step.dt, -step.dt, y, -of_z, pullback)
        of_y = of_y + of_state
        z = z + added
        added, of_state = self._through(step.t, step.dt, z, of_y, pullback)
        y = (y - (1 - coupling) * z - added) / coupling
        return y, z, coupling * of_y, of_z + (1 - coupling) * of_y + of_state

    def _through(self, t: float, dt: float, y: Tensor, gradient: Tensor, pullback: Pullback) -> tuple[Tensor, Tensor]:
        """Return an increment and the gradient of its state, given the gradient of the increment."""
        state = leaf(y)
        with torch.enable_grad():
            increment = self._increment(t, dt, state)
        return increment.detach(), pullback.of([increment], state, [gradient])


def increment_of(tableau: Tableau, field: CountedField, t: float, dt: float, y: Tensor) -> Tensor:
    """``Ψ_h(t, y) = h Σ b_i k_i``."""
    slopes = tableau.slopes(field, t, dt, y, last_used(tableau.b))
    return add(torch.zeros_like(y), dt, tableau.b, slopes)
