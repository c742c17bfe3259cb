"""The gradient ``checkpoint``: a direct gradient; the backward pass solves each segment again."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from nodebench.solvers.contract import StepControl
from nodebench.solvers.random_state import RandomState
from nodebench.spec import Gradient

SEGMENTS = 4  # default number

# Two times closer than this fraction of the time span are treated as equal.
SAME_TIME = 1e-6

# Error message if the second solve of a segment saves other tensors than the first one.
NOT_REPEATED = (
    "checkpoint solves each segment again in the backward pass, but this field then returned other values: it changes "
    "its own state, or draws random numbers that are not torch's"
)

# torch's message if reentrant checkpoints reach one tensor from two segments, and our explanation.
REACHED_TWICE = "backward through the graph a second time"
COMPUTED_BEFORE = (
    "with a field that computes derivatives, checkpoint differentiates each segment separately, and this field depends "
    "on a tensor that was computed before the solve and is not its initial state; use direct"
)

Solve = Callable[[Tensor, Tensor], Tensor]


class _Differentiates(Exception):
    """Raised if torch recomputes a segment before it has ended, because the field computes derivatives."""


def solve_in_segments(solve: Solve, y0: Tensor, times: Tensor, segments: int, steps: Tensor | None) -> Tensor:
    """Solve segment by segment without keeping graphs; return the states at ``times``.

    Only the state at the start of each segment is kept; the backward pass solves the segment again. An adaptive method
    restarts in each segment. Fixed steps continue across segments, so the gradient equals that of a single solve. Both
    solves of a segment draw the same torch random numbers, so the gradient of a random field matches its solution.

    A field that computes derivatives is detected in the first call and solved with reentrant checkpoints. They have
    four limits. Gradients need ``backward()``: torch refuses ``torch.autograd.grad``. Gradients reach only leaf tensors
    and the initial state: a tensor computed before the solve causes an error. There is no second derivative. A field
    that returns other values in the second solve is not detected.

    Source: Griewank and Walther 2000, doi 10.1145/347837.347846; Gholami et al. 2019, section 4.

    Args:
        solve: a direct solve, ``(y0, times) -> states``.
        y0: initial state, any shape ``S``.
        times: output times ``(T,)``, starting at the initial time.
        segments: maximum number of segments; there are never more segments than fixed steps.
        steps: time grid of the fixed steps; None for an adaptive method.

    Returns:
        Tensor: ``(T, *S)``.
    """
    outputs = [y0.unsqueeze(0)]
    reentrant = False
    for part, wanted in _parts(times, _edges(times, segments, steps)):
        if not reentrant:
            random = RandomState.take(y0.device)
            try:
                states = _non_reentrant(solve, y0, part)
            except _Differentiates:
                reentrant = True
                random.restore()  # the first attempt may have drawn random numbers
        if reentrant:  # outside the handler, whose exception holds the graph of the first attempt
            states = _reentrant(solve, y0, part)
        outputs.append(states[1 : 1 + wanted])
        y0 = states[-1]
    return torch.cat(outputs)


def _non_reentrant(solve: Solve, y0: Tensor, times: Tensor) -> Tensor:
    """Solve a segment with non-reentrant checkpoints, which torch recommends.

    A field that computes derivatives, as in FFJORD, reads saved tensors. At each read torch recomputes the segment up
    to that point: a segment of n calls with k derivatives each would take n + k n (n + 1) / 2 calls.

    Raises:
        _Differentiates: the field computes a derivative; raised at the first one.
    """
    running = False

    def once(y0: Tensor, times: Tensor) -> Tensor:
        nonlocal running
        if running:
            raise _Differentiates
        running = True
        try:
            return solve(y0, times)
        finally:
            running = False

    states: Tensor = checkpoint(once, y0, times, use_reentrant=False, preserve_rng_state=True)
    return states


def _reentrant(solve: Solve, y0: Tensor, times: Tensor) -> Tensor:
    """Solve a segment with reentrant checkpoints: first without a graph, from a state that requires a gradient."""
    y0 = y0 if y0.requires_grad else y0.detach().requires_grad_()
    states: Tensor = checkpoint(solve, y0, times, use_reentrant=True, preserve_rng_state=True)
    return states


def checkpointed(solve: Solve, y0: Tensor, times: Tensor, control: StepControl, adaptive: bool) -> Tensor:
    """Solve in the segments of the gradient ``checkpoint``, or at once for all others; see ``solve_in_segments``."""
    if control.gradient is not Gradient.CHECKPOINT:
        return solve(y0, times)
    steps = None if adaptive else fixed_steps(times, control.step_size)
    return solve_in_segments(solve, y0, times, control.segments or SEGMENTS, steps)


def fixed_steps(times: Tensor, step_size: float | None) -> Tensor:
    """Return the time grid of fixed steps: the outputs, or steps of ``step_size`` with the last one shortened."""
    if step_size is None:
        return times
    span = float(times[-1] - times[0])
    count = max(1, math.ceil(abs(span) / step_size - 1e-4))
    steps = times[0] + math.copysign(step_size, span) * torch.arange(count + 1).to(times)
    steps[-1] = times[-1]
    return steps


def _edges(times: Tensor, segments: int, steps: Tensor | None) -> Tensor:
    """Return the end of each segment, the last one ``times[-1]``; fixed-step segments end on the step grid."""
    if steps is None:
        shares = torch.arange(1, segments + 1, dtype=torch.float64) / segments
        return times[0] + (times[-1] - times[0]) * shares.to(times)
    last = len(steps) - 1
    return steps[sorted({round(i * last / segments) for i in range(1, segments + 1)} - {0})]


def _parts(times: Tensor, edges: Tensor) -> list[tuple[Tensor, int]]:
    """The times of each segment, from its start to its end, and how many of them are outputs."""
    direction, near = torch.sign(times[-1] - times[0]), SAME_TIME * (times[-1] - times[0]).abs()
    parts, start, left = [], times[:1], times[1:]
    for edge in edges:
        inside = left[(left - edge) * direction <= near]
        left = left[len(inside) :]
        ends_on_output = len(inside) > 0 and bool((inside[-1] - edge).abs() <= near)
        part = torch.cat([start, inside] if ends_on_output else [start, inside, edge.reshape(1)])
        parts.append((part, len(inside)))
        start = part[-1:]
    return parts
