"""The asynchronous leapfrog method, with its derivative by backpropagation or by running the method backwards.

Source: Zhuang et al. 2021 (MALI), arXiv 2102.04668, Algorithms 2 and 3, without damping (η = 1).
"""

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor

from nodebench.instruments import CountedField
from nodebench.solvers.contract import Method, SolverAdapter, StepControl, adapter_code
from nodebench.solvers.gradients.checkpoint import fixed_steps
from nodebench.solvers.gradients.function import Pullback, Scheme, solve_by
from nodebench.solvers.gradients.steps import TakenStep, with_outputs
from nodebench.spec import Gradient


class LeapfrogAdapter(SolverAdapter):
    """``mali:alf``: fixed steps of the asynchronous leapfrog method, of order 2.

    The method advances a velocity together with the state, and each step can be inverted for any field. The gradient
    ``reversible`` uses this inverse; ``direct`` backpropagates through the same steps.
    Source: https://arxiv.org/abs/2102.04668
    """

    backend = "mali"
    source = "https://arxiv.org/abs/2102.04668"
    gradients = frozenset({Gradient.DIRECT, Gradient.REVERSIBLE})

    def methods(self) -> Mapping[str, Method]:
        """Return the only method, ``alf``."""
        return {"alf": Method("asynchronous leapfrog, reversible, fixed steps", order=2, adaptive=False)}

    def solve(self, field: CountedField, y0: Tensor, times: Tensor, control: StepControl) -> Tensor:
        """Solve with fixed steps; outputs between two steps are interpolated linearly, as in torchdiffeq."""
        scheme = Leapfrog(field, times, control.step_size)
        if control.gradient is Gradient.REVERSIBLE and torch.is_grad_enabled():
            return solve_by(scheme, y0, times)
        return scheme.states(y0)[0]

    def code(self, control: StepControl) -> str:
        """Return Python code that calls this adapter."""
        return adapter_code("mali:alf", control)


class Leapfrog(Scheme):
    """One solve with the steps::

        k = y + v h/2;  u = f(t + h/2, k);  v' = 2 u - v;  y' = k + v' h/2

    starting from ``v = f(t, y)``. A step takes one evaluation in the forward pass. In the backward pass it takes one
    evaluation and one vector-Jacobian product.

    Args:
        field: the counted field.
        times: output times ``(T,)``.
        step_size: None for one step from each output time to the next.
    """

    def __init__(self, field: CountedField, times: Tensor, step_size: float | None) -> None:
        self.field: CountedField = field
        self._times = times
        grid = fixed_steps(times.detach(), step_size).tolist()
        starts = [(t, abs(following - t)) for t, following in pairwise(grid)]
        self._steps = with_outputs(starts, times.detach())

    def states(self, y0: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The states at the output times ``(T, *S)``, the last state and the last velocity."""
        found = [y0]
        y, v = y0, self.field(self._times[0].to(y0.abs().dtype), y0)
        for step in self._steps:
            before = y
            middle = y + (step.dt / 2) * v
            self.field.counter.on_step(self._times[0], y, torch.tensor(step.dt))
            v = 2 * self.field(self._middle(step, y), middle) - v
            y = middle + (step.dt / 2) * v
            found += [y if share == 1 else torch.lerp(before, y, share) for _, share in step.outputs]
        return torch.stack(found), y, v

    def solve(self, y0: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Solve; keep the last state and velocity."""
        states, y, v = self.states(y0)
        return states, [y, v]

    def differentiate(self, kept: list[Tensor], gradient: Tensor, pullback: Pullback) -> Tensor:
        """Invert and differentiate the steps, from last to first."""
        y, v = kept
        of_y, of_v = torch.zeros_like(y), torch.zeros_like(v)
        for step in reversed(self._steps):
            half, before = step.dt / 2, torch.zeros_like(y)
            for index, share in step.outputs:
                of_y = of_y + share * gradient[index]
                before = before + (1 - share) * gradient[index]
            of_v = of_v + half * of_y
            middle = y - half * v
            u, of_middle = pullback.through(self._middle(step, y), middle, 2 * of_v)
            v = 2 * u - v
            y = middle - half * v
            of_y = of_y + of_middle
            of_v = half * of_y - of_v
            of_y = of_y + before
        _, of_start = pullback.through(self._times[0].to(y.abs().dtype), y, of_v)
        return of_y + of_start + gradient[0]

    def _middle(self, step: TakenStep, y: Tensor) -> Tensor:
        return torch.tensor(step.t + step.dt / 2, dtype=y.abs().dtype, device=y.device)
