"""The gradient ``checkpoint``: a direct gradient whose solve is kept in segments and taken again on the way back."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from nodebench.solvers.contract import StepControl
from nodebench.solvers.random_state import RandomState

SEGMENTS = 4  # where a trial does not say

# Two times closer than this share of the span are one time.
SAME_TIME = 1e-6

# Why a backward pass ends where the second solve of a segment saves other tensors than the first one.
NOT_REPEATED = (
    "checkpoint solves each segment again on the way back, and this field has given other values then: it changes a "
    "state of its own, or draws random numbers that are not torch's"
)

# torch's message where reentrant checkpoints reach one tensor from two segments, and the reason.
REACHED_TWICE = "backward through the graph a second time"
COMPUTED_BEFORE = (
    "with a field that computes derivatives, checkpoint differentiates each segment separately, and this field depends "
    "on a tensor that was computed before the solve and is not its initial state; use direct"
)

Solve = Callable[[Tensor, Tensor], Tensor]


class _Differentiates(Exception):
    """A segment was to be taken again before it had ended: the field computes derivatives."""


def solve_in_segments(solve: Solve, y0: Tensor, times: Tensor, segments: int, steps: Tensor | None) -> Tensor:
    """States at ``times`` from solves of one segment of time each, whose graphs are not kept.

    What stays is the state at the beginning of each segment; the evaluations of a segment are taken again when
    the gradient reaches it. An adaptive method starts anew in each. Fixed steps go on where they were, so that
    the gradient is that of one solve. torch's random numbers are the same in both solves of a segment, so that the
    gradient of a random field is that of what was solved.

    A field that computes derivatives is solved by reentrant checkpoints, after one call that finds this out. These
    have four limits. Their gradient reaches tensors by ``backward()`` only: torch refuses ``torch.autograd.grad``
    through them. They reach leaves and the initial state: a tensor computed before the solve ends in an error. They
    have no second derivative. They do not notice a field that gives other values in the second solve.

    Source: Griewank and Walther 2000, doi 10.1145/347837.347846; Gholami et al. 2019, section 4.

    Args:
        solve: a direct solve, ``(y0, times) -> states``.
        y0: initial state, any shape ``S``.
        times: output times ``(T,)``, the first one the start.
        segments: how many at most; there are no more than fixed steps.
        steps: where fixed steps begin and end; null for an adaptive method.

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
    """A segment by the checkpoints that torch advises.

    A field that computes derivatives, as FFJORD's does, reads saved tensors, at which torch takes the segment again as
    far as it has come: a segment of n calls with k derivatives each would take n + k n (n + 1) / 2 calls.

    Raises:
        _Differentiates: the field computes a derivative, here its first one.
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
    """A segment by reentrant checkpoints: solved without a graph first, from a state that requires a gradient."""
    y0 = y0 if y0.requires_grad else y0.detach().requires_grad_()
    states: Tensor = checkpoint(solve, y0, times, use_reentrant=True, preserve_rng_state=True)
    return states


def checkpointed(solve: Solve, y0: Tensor, times: Tensor, control: StepControl, adaptive: bool) -> Tensor:
    """A direct solve in the segments that a step control asks for; arguments as for ``solve_in_segments``."""
    steps = None if adaptive else fixed_steps(times, control.step_size)
    return solve_in_segments(solve, y0, times, control.segments or SEGMENTS, steps)


def fixed_steps(times: Tensor, step_size: float | None) -> Tensor:
    """Where fixed steps begin and end: at the outputs, or ``step_size`` apart with the last one cut at the end."""
    if step_size is None:
        return times
    span = float(times[-1] - times[0])
    count = max(1, math.ceil(abs(span) / step_size - 1e-4))
    steps = times[0] + math.copysign(step_size, span) * torch.arange(count + 1).to(times)
    steps[-1] = times[-1]
    return steps


def _edges(times: Tensor, segments: int, steps: Tensor | None) -> Tensor:
    """Where segments end, the last one at the last time; between fixed steps where there are any."""
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
