"""Adapter for diffrax: methods and gradients in JAX, for a field written in torch."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nodebench.instruments import CountedField
from nodebench.solvers.contract import Method, SolverAdapter, StepControl, written, written_tolerances
from nodebench.solvers.field_cache import FieldCache
from nodebench.spec import Batching, Compile, Gradient, SolveFailed, Status

MAX_CONSECUTIVE_MISSES = 12  # maximum number of consecutive new fields, since each one is compiled

_ELSEWHERE = "JAX allocates its memory and computes its vector-Jacobian products outside torch"
_UNSEEN = {
    "tensor_peak_bytes": _ELSEWHERE,
    "saved_bytes": _ELSEWHERE,
    "vjp_calls": _ELSEWHERE,
    "nfe_backward": "diffrax does not report the evaluations of the backward pass",
}


class DiffraxAdapter(SolverAdapter):
    """diffrax's ``diffeqsolve``, with the field translated operator by operator and the whole solve compiled.

    ``checkpoint`` is ``RecursiveCheckpointAdjoint``, the library's default; ``direct`` is ``DirectAdjoint``,
    ``adjoint`` ``BacksolveAdjoint`` and ``adjoint-seminorm`` the same with ``adjoint_rms_seminorm``. ``each`` is
    ``jax.vmap`` over the batch. Evaluations are computed from the library's step count; it
    does not report those of an implicit method's inner iteration.

    Source: Kidger 2022, arXiv 2202.02435; https://docs.kidger.site/diffrax
    """

    backend = "diffrax"
    source = "https://docs.kidger.site/diffrax"
    gradients = frozenset(Gradient)
    batchings = (Batching.JOINT, Batching.EACH)
    compiles = (Compile.EAGER,)
    takes_first_step = True
    package = "diffrax"
    in_torch = False

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Clear the cache of compiled fields before the next trial in this process."""
        self._compiled = FieldCache[Any]()

    @cache  # noqa: B019 - one adapter lives as long as the process
    def methods(self) -> Mapping[str, Method]:
        """Return the library's methods; a method without an error estimate takes fixed steps."""
        import diffrax

        from nodebench.solvers.diffrax_solve import solver_classes

        found = {}
        for name, kind in solver_classes().items():
            implicit = issubclass(kind, diffrax.AbstractImplicitSolver)
            adaptive = issubclass(kind, diffrax.AbstractAdaptiveSolver)
            order = kind().order(diffrax.ODETerm(lambda t, y, args: y))
            found[name] = Method((kind.__doc__ or name).split("\n")[0].rstrip("."), order, adaptive, implicit)
        return found

    def solve(self, field: CountedField, y0: Tensor, times: Tensor, control: StepControl) -> Tensor:
        """Solve, after translating and compiling a new field, and count evaluations from the library's steps."""
        from nodebench.solvers.diffrax_solve import Compiled, Way, check
        from nodebench.solvers.jax_field import Translation

        _check_device(y0)
        method = self.methods()[control.method]
        module = field.field
        differentiated = control.gradient is not None and torch.is_grad_enabled()
        way = Way.of(control, method.adaptive, y0.ndim > 1, differentiated)
        sample = y0[:1] if way.each else y0
        key = (way, tuple(sample.shape), sample.dtype, module.training)
        compiled = self._compiled.get(module, key, lambda: Compiled(Translation(module, times[0], sample), way))
        if self._compiled.consecutive_misses > MAX_CONSECUTIVE_MISSES:
            raise SolveFailed(
                Status.UNSUPPORTED, "the model creates a new field in each forward pass, and each one would be compiled"
            )
        weights = compiled.translation.weights(module)
        names = ("rtol", "atol", "adjoint_rtol", "adjoint_atol", "step_size", "first_step")
        numbers = {name: number for name in names if (number := getattr(control, name)) is not None}
        field.counter.check_deadline()
        states, statistics = compiled(weights, y0, times, numbers)
        self._count(field, control.method, statistics["steps"])
        check(statistics["result"])
        return states

    def _count(self, field: CountedField, name: str, steps: Any) -> None:
        """Count evaluations from the number of steps that the library took, rejected steps included."""
        if self.methods()[name].implicit:
            field.counter.blind = True
            return
        first, each = evaluations(name)
        taken = np.asarray(steps)
        most, mean = int(taken.max()), float(taken.mean())
        field.counter.add(first + each * most, each * (most - mean))

    def code(self, control: StepControl) -> str:
        """Return a call of ``diffeqsolve``; the user must write the field in JAX."""
        from nodebench.solvers.diffrax_solve import solver_classes

        free = control.rtol is not None
        back = written_tolerances(control.adjoint_rtol, control.adjoint_atol)
        if control.gradient is Gradient.ADJOINT_SEMINORM:
            back += ", norm=diffrax.adjoint_rms_seminorm"
        backsolve = f"stepsize_controller=diffrax.PIDController({back})" if free else ""
        adjoint = {
            Gradient.DIRECT: "diffrax.DirectAdjoint()",
            Gradient.ADJOINT: f"diffrax.BacksolveAdjoint({backsolve})",
            Gradient.ADJOINT_SEMINORM: f"diffrax.BacksolveAdjoint({backsolve})",
        }.get(
            control.gradient or Gradient.CHECKPOINT,
            f"diffrax.RecursiveCheckpointAdjoint(checkpoints={control.segments})",
        )
        fixed = "ConstantStepSize()" if control.step_size else "StepTo(ts=times)"
        controller = f"PIDController({written_tolerances(control.rtol, control.atol)})" if free else fixed
        lines = [
            "import diffrax",
            "",
            "# field(t, y, args) in JAX, its weights in args",
            "solve = lambda y0, weights: diffrax.diffeqsolve(",
            f"    diffrax.ODETerm(field), diffrax.{solver_classes()[control.method].__name__}(),",
            f"    times[0], times[-1], {written(control.step_size or control.first_step)}, y0, args=weights,",
            "    saveat=diffrax.SaveAt(ts=times),",
            f"    stepsize_controller=diffrax.{controller},",
            f"    adjoint={adjoint}).ys",
        ]
        each = control.batching is Batching.EACH
        lines.append("states = jax.vmap(solve, (0, None))(y0, weights)" if each else "states = solve(y0, weights)")
        return "\n".join(["import jax", *lines] if each else lines)

    def unseen(self, control: StepControl) -> Mapping[str, str]:
        """Return the metrics that torch cannot measure because JAX does the work."""
        return _UNSEEN


@cache
def evaluations(name: str) -> tuple[int, int]:
    """Return the evaluations of an explicit method: per solve, and per step.

    A method that reuses its last stage needs one more evaluation at the first step. Choosing the first step size takes
    no evaluation: ``diffeqsolve`` starts with the trial's first step or else always with 0.01, because it does not
    recognise the term that it wrapped.
    """
    from nodebench.solvers.diffrax_solve import solver_classes

    tableau = getattr(solver_classes()[name], "tableau", None)
    stages, reused = (1, 0) if tableau is None else (tableau.num_stages, int(tableau.fsal))
    return reused, stages - reused


def _check_device(y0: Tensor) -> None:
    import jax

    if y0.device.type not in ("cpu", "cuda") or (y0.is_cuda and jax.default_backend() != "gpu"):
        raise SolveFailed(Status.UNSUPPORTED, f"JAX finds no {y0.device.type} device; install a JAX build for it")
