"""The gradient ``symplectic``: the adjoint of each step by the method that is conjugate to the step's own.

Source: Matsubara et al. 2021 (Symplectic Adjoint Method), arXiv 2102.09750, section 4. The state at the start of each
step is kept. In the backward pass the stages of a step are computed again without a graph, and then differentiated one
by one from the last to the first, so that the graph of a single evaluation is alive at a time. The conjugate method
makes that gradient exact, as backpropagation through the step is.

The adjoint of stage ``i`` is held multiplied by ``h b_i``, which is defined for stages of weight 0 too.

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
    """The symplectic adjoint of one solve; it keeps what ``AdaptiveCheckpoint`` keeps."""

    def _through(self, step: TakenStep, y: Tensor, arriving: Tensor, gradient: Tensor, pullback: Pullback) -> Tensor:
        tableau, dt = self._tableau, step.dt
        sums = [(tableau.b, arriving)]
        sums += [(tableau.weights(share), gradient[index]) for index, share in step.outputs]
        count = max(last_used(weights) for weights, _ in sums)
        states = self._stage_states(step, y, count)
        # By stage, its weights in the sums and in later stages times their gradients.
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
        """The state at which each stage is evaluated; the derivative of the last one is not needed for them."""
        slopes = self._tableau.slopes(self.field, step.t, step.dt, y, count - 1)
        return [self._tableau.stage_state(y, step.dt, i, slopes) for i in range(count)]


def _combined(terms: list[tuple[float, Tensor]], dt: float, y: Tensor) -> Tensor:
    found = torch.zeros_like(y)
    for weight, one in terms:
        if weight:
            found = found + (dt * weight) * one
    return found
