"""Probes of the solver on one batch: reversibility, cost of joint solves, equivalence to a residual network.

Each function takes the solves that an integrator has traced, as tuples ``(field, y0, times, states)``, and solves
again with the current method and tolerances.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nodebench.instruments import Budget, NfeCounter
from nodebench.solvers import Integrator, Trace
from nodebench.solvers.contract import takes_one
from nodebench.solvers.gradients.checkpoint import fixed_steps
from nodebench.solvers.precision import flat_double

# Maximum number of samples of a batch that are solved alone.
SINGLES = 32


def reverse_error(solve: Integrator, trace: Trace) -> float:
    """Relative L2 error of the initial states after a backward solve from the final states.

    Source: Chen et al. 2018, section 2: the state is recomputed backwards in time, not stored.
    """
    differences, sizes = [], []
    for field, y0, times, states in trace:
        again = solve(field, states[-1], times.flip(0))[-1]
        differences.append(flat_double(again - y0).norm())
        sizes.append(flat_double(y0).norm())
    return (torch.stack(differences).norm() / torch.stack(sizes).norm()).item()


def joint_over_single(solve: Integrator, trace: Trace, budget: Budget) -> float | None:
    """Evaluations per sample in a joint solve, divided by the mean evaluations of samples that are solved alone.

    Of a larger batch, only the first ``SINGLES`` samples are solved alone.

    None if there is no batch, or if the field stores per-sample state.

    Source: Chen et al. 2018, section 6, "Minibatching".
    """
    field, y0, times, _ = trace[0]
    if y0.ndim < 2 or len(y0) < 2 or not takes_one(field, times[0], y0[:1]):
        return None
    joint = _evaluations(solve, field, y0, times, budget)
    single = [_evaluations(solve, field, one, times, budget) for one in y0[:SINGLES].split(1)]
    return joint * len(single) / sum(single)


def _evaluations(solve: Integrator, field: nn.Module, y0: Tensor, times: Tensor, budget: Budget) -> float:
    counter = NfeCounter(budget)
    with solve.using(counter):
        solve(field, y0, times)
    return counter.samples


def residual_error(solve: Integrator, trace: Trace) -> float:
    """Difference between Euler's method and an explicit chain of residual blocks ``y + h f(t, y)`` with shared weights.

    The larger of two relative L2 differences: of the final states, and of the gradient of a fixed functional of them.
    """
    field, y0, times, _ = trace[0]
    grid = fixed_steps(times, solve.control.step_size)
    weights = torch.randn(y0.shape, generator=torch.Generator().manual_seed(0)).to(y0)
    results = []
    ways: list[Callable[[Tensor], Tensor]] = [
        lambda y: solve(field, y, times)[-1],
        lambda y: _chain(field, y, grid),
    ]
    for ends in ways:
        with torch.enable_grad():
            start = y0.detach().clone().requires_grad_()
            end = ends(start)
            leaves = [start, *(p for p in field.parameters() if p.requires_grad)]
            slopes = torch.autograd.grad((end * weights).sum(), leaves, materialize_grads=True)
        flat = torch.cat([flat_double(slope) for slope in slopes])
        results.append((flat_double(end.detach()), flat))
    (solved, its_gradient), (chained, chains_gradient) = results
    return max(
        ((solved - chained).norm() / chained.norm()).item(),
        ((its_gradient - chains_gradient).norm() / chains_gradient.norm()).item(),
    )


def _chain(field: nn.Module, y: Tensor, grid: Tensor) -> Tensor:
    for t, h in zip(grid, grid.diff(), strict=False):
        y = y + h * field(t, y)
    return y
