"""The one counter that wraps the vector field: NFE forward and backward, and its VJPs."""

import time
from dataclasses import dataclass

from torch import Tensor, nn

from nodebench.spec import SolveFailed, Status


@dataclass(frozen=True)
class Budget:
    """What a solve may use.

    Attributes:
        max_nfe: evaluations of one solve; None for no limit.
        deadline: on the clock of ``time.perf_counter``; None for none.
    """

    max_nfe: int | None = None
    deadline: float | None = None


class NfeCounter:
    """Counts calls of the vector field within one training step.

    A batched call counts one and rejected steps count, as in Chen et al. 2018, section 3. Until
    ``begin_backward`` a call inside a forward solve (from ``begin_solve`` to ``end_solve``) counts as forward, and
    one after it as backward: a loss may differentiate one solve before it begins the next. After
    ``begin_backward`` every call counts as backward.

    A VJP is counted when a gradient arrives at the output of the field: under ``direct`` once for each evaluation
    that the loss depends on (a rejected step gets none), under ``adjoint`` once for each evaluation of the backward
    solve. This takes a tensor hook an evaluation, about 15 µs, and so is off unless asked for: the timed pass does
    without.

    A library that evaluates the field out of sight of Python tells its own counts through ``add``.

    Args:
        budget: what a solve may use.
        count_vjps: count VJPs too.

    Attributes:
        forward: calls since ``begin_forward``.
        solves: forward solves since then.
        backward: calls since ``begin_backward``.
        vjp: vector-Jacobian products since ``begin_forward``.
        idle: forward calls in which a sample had no part, its own solve being over, mean over the batch.
        blind: a solve whose calls nobody could count.
        last_t: time of the last evaluation, a scalar tensor.
        last_dt: size of the last step begun, where the solver tells it.
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
        """From here on calls count as backward."""
        self._is_backward = True

    def begin_solve(self) -> None:
        """A forward solve begins, to which the budget applies anew."""
        self.solves += 1
        self._before_solve = self.forward
        self._solve_ended = False

    def end_solve(self) -> None:
        """The forward solve has its result: until the next one begins, calls are of a backward solve."""
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
            raise SolveFailed(Status.NFE_BUDGET, f"more than {self._max_nfe} evaluations in one solve")
        if is_backward:
            self.backward += 1
        else:
            self.forward += 1
        self.last_t = t
        self.check_deadline()

    def add(self, calls: int, idle: float = 0.0) -> None:
        """Take over what a library says of a solve of its own: calls, and those in which a sample had no part."""
        if self._counts_backward:
            self.backward += calls
        else:
            self.forward += calls
            self.idle += idle
        if self.in_solve > self._max_nfe:
            raise SolveFailed(Status.NFE_BUDGET, f"more than {self._max_nfe} evaluations in one solve")

    @property
    def samples(self) -> float:
        """Evaluations that a sample took in the forward solves, mean over the batch; the calls of a joint solve."""
        return self.forward - self.idle

    def check_deadline(self) -> None:
        """Stop the trial if its time is over."""
        if time.perf_counter() > self._deadline:
            raise SolveFailed(Status.TIMEOUT, "the time limit has passed")

    def on_step(self, t: Tensor, _y: Tensor, dt: Tensor) -> None:
        """Note that a step begins; adapters whose library tells hand it this method."""
        self.last_t, self.last_dt = t, dt

    def on_vjp(self, _gradient: Tensor) -> None:
        """Count one vector-Jacobian product (a tensor hook; returning None keeps the gradient)."""
        self.vjp += 1


class CountedField(nn.Module):
    """The vector field as a solver sees it: the same function, each call counted.

    Args:
        field: module ``(t, y) -> dy/dt``; ``t`` a scalar tensor, ``y`` of any shape. Its parameters are
            this module's parameters.
        counter: where the calls go.
        compiled: the same function compiled, to be called in its place.
    """

    _evaluate: nn.Module
    counter: NfeCounter

    def __init__(self, field: nn.Module, counter: NfeCounter, compiled: nn.Module | None = None) -> None:
        super().__init__()
        self.field = field  # a submodule, for its parameters
        # Plain attributes besides: a module finds its submodules by a slow path.
        self.__dict__.update(_evaluate=field if compiled is None else compiled, counter=counter)

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate the field once; in place of ``forward``, without a module's own hooks, to save their time."""
        self.counter.on_call(t)
        derivative: Tensor = self._evaluate(t, y)
        if self.counter.count_vjps and derivative.requires_grad:
            derivative.register_hook(self.counter.on_vjp)
        return derivative
