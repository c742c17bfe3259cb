"""The gradient ``aca``: the backward pass recomputes each accepted step with its own graph.

Source: Zhuang et al. 2020 (Adaptive Checkpoint Adjoint), arXiv 2006.02493, Algorithm 2. The state at the start of each
accepted step is kept; rejected steps and the control of the step size are not differentiated.

In the backward pass each step costs one evaluation and one vector-Jacobian product per stage.
"""

import torch
from torch import Tensor

from nodebench.instruments import CountedField
from nodebench.solvers.gradients.function import Pullback, Scheme, leaf
from nodebench.solvers.gradients.steps import LibrarySolve, TakenStep, recorded, replayable
from nodebench.solvers.gradients.tableau import add, last_used


class AdaptiveCheckpoint(Scheme):
    """ACA of one solve by a method of torchdiffeq.

    Args:
        field: the counted field.
        solve: the library's solve of this field, ``(y0, times) -> states``.
        times: output times ``(T,)``.
        method: the library's name of the method.
    """

    def __init__(self, field: CountedField, solve: LibrarySolve, times: Tensor, method: str) -> None:
        self.field: CountedField = field
        self._solve, self._times = solve, times
        self._tableau = replayable(method)
        self._steps: list[TakenStep] = []

    def solve(self, y0: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Let the library solve; keep the state at the start of each step."""
        adaptive = self._tableau.error is not None
        states, self._steps, kept = recorded(self._solve, self.field, y0, self._times, adaptive)
        return states, kept

    def differentiate(self, kept: list[Tensor], gradient: Tensor, pullback: Pullback) -> Tensor:
        """Differentiate the steps from last to first."""
        arriving = torch.zeros_like(gradient[0])
        for step in reversed(self._steps):
            arriving = self._through(step, kept.pop(), arriving, gradient, pullback)
        return arriving + gradient[0]

    def _through(self, step: TakenStep, y: Tensor, arriving: Tensor, gradient: Tensor, pullback: Pullback) -> Tensor:
        """Return the gradient at the start of a step, given the gradients at its end and its outputs."""
        sums = [self._tableau.b, *(self._tableau.weights(share) for _, share in step.outputs)]
        state = leaf(y)
        with torch.enable_grad():
            count = max(map(last_used, sums))
            slopes = self._tableau.slopes(self.field, step.t, step.dt, state, count)
            outputs = [add(state, step.dt, weights, slopes) for weights in sums]
        return pullback.of(outputs, state, [arriving, *(gradient[index] for index, _ in step.outputs)])
