"""The gradient ``symplectic``: the adjoint of each step, solved by the conjugate of the step's method.

Source: Matsubara et al. 2021 (Symplectic Adjoint Method), arXiv 2102.09750, section 4. The state at the start of each
step is kept. In the backward pass the stages of a step are computed again without a graph, and then differentiated one
by one from the last to the first, so only the graph of one evaluation is alive at a time. With the conjugate
method the gradient is exact, like backpropagation through the step.

The adjoint of stage ``i`` is stored multiplied by ``h b_i``; the product is defined even for stages of weight 0.

A step of ``s`` stages costs ``2 s - 1`` evaluations in the backward pass, and ``s`` vector-Jacobian products. The paper
counts ``2 s`` evaluations; the derivative of the last stage is needed once only.
"""

import torch
from torch import Tensor

from nodebench.solvers.gradients.aca import AdaptiveCheckpoint
from nodebench.solvers.gradients.function import Pullback
from nodebench.solvers.gradients.steps import TakenStep
from nodebench.solvers.gradients.tableau import last_used


class SymplecticAdjoint(AdaptiveCheckpoint):
    """The symplectic adjoint of one solve; keeps the same tensors as ``AdaptiveCheckpoint``."""

    def _through(self, step: TakenStep, y: Tensor, arriving: Tensor, gradient: Tensor, pullback: Pullback) -> Tensor:
        tableau, dt = self._tableau, step.dt
        sums = [(tableau.b, arriving)]
        sums += [(tableau.weights(share), gradient[index]) for index, share in step.outputs]
        count = max(last_used(weights) for weights, _ in sums)
        states = self._stage_states(step, y, count)
        # Gradient of each stage: its weights in the sums and in later stages, times their gradients.
        arrived = [_combined([(weights[i], one) for weights, one in sums], dt, y) for i in range(count)]
        found = torch.stack([one for _, one in sums]).sum(0) if len(sums) > 1 else arriving
        for i in reversed(range(count)):
            _, of_state = pullback.through(tableau.time(step.t, dt, i, y), states.pop(), arrived.pop())
            found = found + of_state
            for j in range(i):
                if tableau.a[i][j]:
                    arrived[j] = arrived[j] + (dt * tableau.a[i][j]) * of_state
        return found

    def _stage_states(self, step: TakenStep, y: Tensor, count: int) -> list[Tensor]:
        """Return the state at which each stage is evaluated; this does not need the derivative of the last stage."""
        slopes = self._tableau.slopes(self.field, step.t, step.dt, y, count - 1)
        return [self._tableau.stage_state(y, step.dt, i, slopes) for i in range(count)]


def _combined(terms: list[tuple[float, Tensor]], dt: float, y: Tensor) -> Tensor:
    found = torch.zeros_like(y)
    for weight, one in terms:
        if weight:
            found = found + (dt * weight) * one
    return found
