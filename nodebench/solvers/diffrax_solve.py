"""A diffrax solve as a torch autograd function: converts states and gradients, but does not copy weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax import Array
from torch import Tensor

from nodebench.solvers.contract import StepControl
from nodebench.solvers.jax_field import Translation, Weights, to_jax, to_torch
from nodebench.spec import Batching, Gradient, SolveFailed, Status

MAX_STEPS = 4096  # diffrax's own default
INNER_TOLERANCE = 1e-11

_SUCCESSFUL = int(diffrax.RESULTS.successful._value)
_STATUS = {
    "max_steps_reached": Status.NFE_BUDGET,
    "dt_min_reached": Status.DT_UNDERFLOW,
    "nonlinear_divergence": Status.NON_FINITE,
    "nonlinear_max_steps_reached": Status.NFE_BUDGET,
}


def solver_classes() -> dict[str, type[diffrax.AbstractSolver]]:
    """Return the library's ODE methods that have a tableau, plus ``Euler`` and ``ImplicitEuler``."""
    kinds = (diffrax.AbstractERK, diffrax.AbstractDIRK)
    classes = [value for value in vars(diffrax).values() if isinstance(value, type) and issubclass(value, kinds)]
    concrete = [one for one in classes if not one.__name__.startswith("Abstract") and hasattr(one, "tableau")]
    found = {one.__name__.lower(): one for one in [*concrete, diffrax.Euler, diffrax.ImplicitEuler]}
    return dict(sorted(found.items()))


@dataclass(frozen=True)
class Way:
    """Settings that are fixed at compilation; tolerances and step size are arguments of the compiled function.

    ``free`` means that the method adapts its step size; an adaptive method may also run at a constant step size.
    """

    method: str
    free: bool
    gradient: Gradient | None
    segments: int | None
    each: bool
    steps_to_outputs: bool

    @classmethod
    def of(cls, control: StepControl, adaptive: bool, batched: bool, differentiated: bool) -> "Way":
        """Return the settings for a step control."""
        return cls(
            control.method,
            adaptive and control.step_size is None,
            control.gradient if differentiated else None,
            control.segments if differentiated else None,
            control.batching is Batching.EACH and batched,
            not adaptive and control.step_size is None,
        )


Numbers = dict[str, float]


class Compiled:
    """The compiled solve of one field for one state shape and one ``Way``; the first call compiles it.

    The forward and the backward solve are two compiled functions, because torch computes the loss between them.
    Weights, tolerances and step sizes are arguments, so training steps do not trace or compile again. A call returns
    when its results are complete, so a stopwatch measures all of its work.
    """

    def __init__(self, translation: Translation, way: Way) -> None:
        self.translation = translation
        self._way = way
        self._plain = jax.jit(self._solve)
        self._forward = jax.jit(self._with_vjp)
        self._backward = jax.jit(lambda vjp, gradient: vjp(gradient))

    def __call__(self, weights: list[Tensor], y0: Tensor, times: Tensor, numbers: Numbers) -> tuple[Tensor, Any]:
        """Return the states at ``times`` and the statistics ``steps`` (per sample or joint) and ``result``."""
        if self._way.gradient is None:
            found = self._plain(_cross(weights), to_jax(y0), to_jax(times), numbers)
            states, statistics = jax.block_until_ready(found)
            states = to_torch(states, y0.device)
        else:
            found_later: list[Any] = []
            states = _Crossing.apply(self, numbers, found_later, y0, times, *weights)
            (statistics,) = found_later
        return states.transpose(0, 1) if self._way.each else states, statistics

    def forward(self, weights: Weights, y0: Array, times: Array, numbers: Numbers) -> tuple[Array, Any, Any]:
        """Return the states, the vector-Jacobian product function and the library's statistics."""
        return jax.block_until_ready(self._forward(weights, y0, times, numbers))

    def backward(self, vjp: Any, gradient: Array) -> tuple[Weights, Array]:
        """Gradients of weights and initial state."""
        return jax.block_until_ready(self._backward(vjp, gradient))

    def _with_vjp(self, weights: Weights, y0: Array, times: Array, numbers: Numbers) -> tuple[Array, Any, Any]:
        def solve(weights: Weights, y0: Array) -> tuple[Array, Any]:
            return self._solve(weights, y0, times, numbers)

        return jax.vjp(solve, weights, y0, has_aux=True)

    def _solve(self, weights: Weights, y0: Array, times: Array, numbers: Numbers) -> tuple[Array, Any]:
        way, function = self._way, self.translation.function
        step = numbers.get("first_step" if way.free else "step_size")
        field: Callable[[Array, Array, Weights], Array] = lambda t, y, weights: function(weights, t, y)  # noqa: E731
        if way.each:
            field = lambda t, y, weights: function(weights, t, y[None])[0]  # noqa: E731

        def one(y0: Array) -> tuple[Array, Any]:
            solution = diffrax.diffeqsolve(
                diffrax.ODETerm(field),
                self._solver(),
                times[0],
                times[-1],
                None if step is None else jnp.sign(times[-1] - times[0]) * step,
                y0,
                args=weights,
                saveat=diffrax.SaveAt(ts=times),
                stepsize_controller=self._controller(times, numbers),
                adjoint=self._adjoint(numbers),
                max_steps=MAX_STEPS,
                throw=False,
            )
            return solution.ys, {"steps": solution.stats["num_steps"], "result": solution.result}

        return jax.vmap(one)(y0) if way.each else one(y0)

    def _solver(self) -> diffrax.AbstractSolver:
        kind = solver_classes()[self._way.method]
        if issubclass(kind, diffrax.AbstractImplicitSolver) and not self._way.free:
            # By default the inner iteration uses the step-size tolerances, which fixed steps do not have.
            return kind(root_finder=diffrax.VeryChord(rtol=INNER_TOLERANCE, atol=INNER_TOLERANCE))
        return kind()

    def _controller(self, times: Array, numbers: Numbers) -> diffrax.AbstractStepSizeController:
        if self._way.free:
            return diffrax.PIDController(rtol=numbers["rtol"], atol=numbers["atol"])
        return diffrax.StepTo(ts=times) if self._way.steps_to_outputs else diffrax.ConstantStepSize()

    def _adjoint(self, numbers: Numbers) -> diffrax.AbstractAdjoint:
        match self._way.gradient:
            case Gradient.DIRECT:
                return diffrax.DirectAdjoint()
            case Gradient.ADJOINT | Gradient.ADJOINT_SEMINORM as gradient:
                if not self._way.free:
                    return diffrax.BacksolveAdjoint()
                seminorm = {"norm": diffrax.adjoint_rms_seminorm} if gradient is Gradient.ADJOINT_SEMINORM else {}
                tolerances = {"rtol": numbers["adjoint_rtol"], "atol": numbers["adjoint_atol"]}
                return diffrax.BacksolveAdjoint(stepsize_controller=diffrax.PIDController(**tolerances, **seminorm))
            case _:
                # None is what the library recommends: MAX_STEPS then gives 90 checkpoints, so that each of up to 90
                # steps is recomputed only once. https://docs.kidger.site/diffrax/api/adjoints
                return diffrax.RecursiveCheckpointAdjoint(checkpoints=self._way.segments)


class _Crossing(torch.autograd.Function):
    """The solve as one node of torch's graph."""

    @staticmethod
    def forward(
        ctx: Any,
        solve: Compiled,
        numbers: Numbers,
        found_later: list[Any],
        y0: Tensor,
        times: Tensor,
        *weights: Tensor,
    ) -> Tensor:
        ctx.solve = solve
        states, ctx.vjp, aux = solve.forward(_cross(weights), to_jax(y0), to_jax(times), numbers)
        ctx.device = y0.device
        found_later.append(aux)
        return to_torch(states, y0.device)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        weights, y0 = ctx.solve.backward(ctx.vjp, to_jax(gradients[0]))
        # Boolean and integer weights have no gradient.
        of_weights = (None if w.dtype == jax.dtypes.float0 else to_torch(w, ctx.device) for w in weights)
        return None, None, None, to_torch(y0, ctx.device), None, *of_weights


def _cross(weights: Sequence[Tensor]) -> Weights:
    return [to_jax(weight) for weight in weights]


def check(result: diffrax.RESULTS) -> None:
    """Raise ``SolveFailed`` if the library reports that a solve failed."""
    values = np.atleast_1d(np.asarray(result._value))  # an eager operation of JAX takes longer than a small solve
    failed = values[values != _SUCCESSFUL]
    if not len(failed):
        return
    worst = int(failed[0])
    for name, status in _STATUS.items():
        if getattr(diffrax.RESULTS, name)._value == worst:
            raise SolveFailed(status, f"diffrax stopped with {name}")
    raise SolveFailed(Status.ERROR, f"diffrax stopped with result code {worst}")
