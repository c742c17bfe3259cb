"""The counter of vector-field evaluations (NFE), forward and backward, and of VJPs."""

import time
from dataclasses import dataclass

from torch import Tensor, nn

from nodebench.spec import SolveFailed, Status


@dataclass(frozen=True)
class Budget:
    """Limits of a solve.

    Attributes:
        max_nfe: evaluations of one forward solve, or of all backward solves of a step together; None for no limit.
        deadline: latest time on the clock of ``time.perf_counter``; None for no deadline.
    """

    max_nfe: int | None = None
    deadline: float | None = None


class NfeCounter:
    """Counts calls of the vector field within one training step.

    A batched call counts once and rejected steps count, as in Chen et al. 2018, section 3. Before ``begin_backward``,
    a call inside a forward solve (from ``begin_solve`` to ``end_solve``) counts as forward and a call after the solve
    as backward, because a loss may differentiate one solve before it begins the next. After ``begin_backward`` every
    call counts as backward.

    A VJP is counted when a gradient arrives at the output of the field: under ``direct`` once for each evaluation
    that the loss depends on (a rejected step gets none), under ``adjoint`` once for each evaluation of the backward
    solve. This takes one tensor hook per evaluation, about 15 µs, and is off by default; the timed pass does not
    use it.

    If a library evaluates the field outside Python, its adapter adds the library's own counts with ``add``.

    Args:
        budget: limits of a solve.
        count_vjps: count VJPs too.

    Attributes:
        forward: calls since ``begin_forward``.
        solves: forward solves since ``begin_forward``.
        backward: calls since ``begin_backward``.
        vjp: vector-Jacobian products since ``begin_forward``.
        idle: forward calls made after a sample's own solve has ended, mean over the batch.
        blind: whether a solve's backend did not report its evaluations.
        last_t: time of the last evaluation, a scalar tensor.
        last_dt: size of the last step begun, if the solver reports it.
    """

    def __init__(self, budget: Budget | None = None, count_vjps: bool = False) -> None:
        budget = budget or Budget()
        self.count_vjps = count_vjps
        self._max_nfe = budget.max_nfe if budget.max_nfe is not None else float("inf")
        self._deadline = budget.deadline if budget.deadline is not None else float("inf")
        self.begin_forward()

    def begin_forward(self) -> None:
        """Start a new training step: all counts return to zero."""
        self.forward = self.backward = self.vjp = 0
        self.idle = 0.0
        self.blind = False
        self._is_backward = self._solve_ended = False
        self.solves = self._before_solve = 0
        self.last_t: Tensor | None = None
        self.last_dt: Tensor | None = None

    def begin_backward(self) -> None:
        """Begin the backward pass; all later calls count as backward."""
        self._is_backward = True

    def begin_solve(self) -> None:
        """Begin a forward solve; the evaluation budget starts again."""
        self.solves += 1
        self._before_solve = self.forward
        self._solve_ended = False

    def end_solve(self) -> None:
        """End the forward solve; calls count as backward until the next forward solve begins."""
        self._solve_ended = True

    @property
    def _counts_backward(self) -> bool:
        return self._is_backward or self._solve_ended

    @property
    def in_solve(self) -> int:
        """Calls in the current or latest forward solve, or in all backward solves once there are any."""
        is_backward = self._is_backward or (self._solve_ended and self.backward > 0)
        return self.backward if is_backward else self.forward - self._before_solve

    def on_call(self, t: Tensor) -> None:
        """Count one call at time ``t``, or stop the solve if its budget is spent."""
        is_backward = self._counts_backward
        if (self.backward if is_backward else self.forward - self._before_solve) >= self._max_nfe:
            raise self._over_budget()
        if is_backward:
            self.backward += 1
        else:
            self.forward += 1
        self.last_t = t
        self.check_deadline()

    def add(self, calls: int, idle: float = 0.0) -> None:
        """Add the counts that a library reports for a solve: calls, and idle calls (mean over the batch)."""
        if self._counts_backward:
            self.backward += calls
        else:
            self.forward += calls
            self.idle += idle
        if self.in_solve > self._max_nfe:
            raise self._over_budget()

    def _over_budget(self) -> SolveFailed:
        where = "the backward solves of one step" if self._counts_backward else "one forward solve"
        return SolveFailed(Status.NFE_BUDGET, f"more than {self._max_nfe} evaluations in {where}")

    @property
    def samples(self) -> float:
        """Evaluations per sample in the forward solves, mean over the batch; for a joint solve, the number of calls."""
        return self.forward - self.idle

    def check_deadline(self) -> None:
        """Stop the trial if its time is over."""
        if time.perf_counter() > self._deadline:
            raise SolveFailed(Status.TIMEOUT, "the time limit has passed")

    def on_step(self, t: Tensor, _y: Tensor, dt: Tensor) -> None:
        """Record that a step begins; adapters pass this method as a callback to libraries that report steps."""
        self.last_t, self.last_dt = t, dt

    def on_vjp(self, _gradient: Tensor) -> None:
        """Count one vector-Jacobian product (a tensor hook; returning None keeps the gradient)."""
        self.vjp += 1


class CountedField(nn.Module):
    """Wraps the vector field for a solver and counts each call.

    Args:
        field: module ``(t, y) -> dy/dt``; ``t`` a scalar tensor, ``y`` of any shape. Its parameters are
            this module's parameters.
        counter: the counter that records the calls.
        compiled: the same function compiled, to be called in its place.
    """

    _evaluate: nn.Module
    counter: NfeCounter

    def __init__(self, field: nn.Module, counter: NfeCounter, compiled: nn.Module | None = None) -> None:
        super().__init__()
        self.field = field  # a submodule, for its parameters
        # Plain attributes in addition, because the lookup of a submodule is slow.
        self.__dict__.update(_evaluate=field if compiled is None else compiled, counter=counter)

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate the field once; overrides ``__call__``, not ``forward``, to avoid the overhead of module hooks."""
        self.counter.on_call(t)
        derivative: Tensor = self._evaluate(t, y)
        if self.counter.count_vjps and derivative.requires_grad:
            derivative.register_hook(self.counter.on_vjp)
        return derivative
