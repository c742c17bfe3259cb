"""Adapter for torchode, in which each sample of a batch has its own step size."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from nodebench.instruments import CountedField
from nodebench.solvers.contract import BOUND, Method, SolverAdapter, StepControl, takes_one, written
from nodebench.solvers.field_cache import FieldCache
from nodebench.solvers.gradients.checkpoint import checkpointed
from nodebench.solvers.limits import refuse_frozen, refuse_shared
from nodebench.spec import Batching, Compile, Gradient, SolveFailed, Status

# Metadata that torchode does not provide.
_ABOUT = {
    "dopri5": "Dormand–Prince 5(4), first same as last",
    "tsit5": "Tsitouras 5(4), first same as last",
    "heun": "Heun 2(1)",
    "euler": "explicit Euler",
}

_STATUS = {"REACHED_DT_MIN": Status.DT_UNDERFLOW, "INFINITE_NORM": Status.NON_FINITE}


class _Rows(nn.Module):
    """Wraps a field for torchode, which calls it with states ``(B, D)`` and times ``(B,)``.

    Attributes:
        field: the original field; replaced before each solve, since each solve has its own counter.
        shape: state shape including the batch, ``(-1, *S)``, or the shape of the single state of a joint solve.
    """

    def __init__(self, field: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.field = field
        self.shape = shape

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        states = y.reshape(self.shape)
        clock = t.reshape(()) if t.numel() == 1 else t.reshape(-1, *[1] * (states.ndim - 1))
        return self.field(clock, states).reshape(y.shape)


@dataclass(frozen=True)
class _Solver:
    """The library's objects for one field and one way of stepping."""

    rows: _Rows
    solve: Callable[..., Any]
    evaluations_a_step: int


class TorchodeAdapter(SolverAdapter):
    """torchode's parallel solver, with its integral controller and its adjoints.

    ``each`` uses ``AutoDiffAdjoint`` (direct) and ``BacksolveAdjoint`` (adjoint), which stores a parameter gradient
    for each sample. ``joint`` passes the batch as one state and uses ``JointBacksolveAdjoint`` for the adjoint. If the
    whole solver is compiled, field calls cannot be counted, and the library's own count is used.

    Source: Lienen and Günnemann 2022, arXiv 2210.12375; https://github.com/martenlienen/torchode
    """

    backend = "torchode"
    source = "https://github.com/martenlienen/torchode"
    gradients = frozenset({Gradient.DIRECT, Gradient.CHECKPOINT, Gradient.ADJOINT})
    batchings = (Batching.EACH, Batching.JOINT)
    compiles = (Compile.EAGER, Compile.FIELD, Compile.SOLVER)
    package = "torchode"
    takes_first_step = True

    def __init__(self) -> None:
        self._solvers = FieldCache[_Solver]()

    @cache  # noqa: B019 - one adapter lives as long as the process
    def methods(self) -> Mapping[str, Method]:
        """Return the library's methods; a method without an error estimate takes fixed steps."""
        return {
            name: Method(_ABOUT.get(name, name), make(None).convergence_order(), hasattr(make, "TABLEAU"))
            for name, make in _step_methods().items()
        }

    def solve(self, field: CountedField, y0: Tensor, times: Tensor, control: StepControl) -> Tensor:
        """Solve each sample along the first axis of ``y0`` with its own steps, or the batch as one state."""
        method = self.methods()[control.method]
        joint = control.batching is not Batching.EACH or y0.ndim < 2
        free = method.adaptive and control.step_size is None
        solver = self._solver(field, y0, times, control, joint, free)
        solver.rows.field = field.field if control.compile is Compile.SOLVER else field
        step = _first_step(times, control) if free else _step(times, control)

        def direct(y0: Tensor, times: Tensor) -> Tensor:
            return _solve(solver, field, y0, times, step, joint, control)

        return checkpointed(direct, y0, times, control, method.adaptive)

    def unseen(self, control: StepControl) -> Mapping[str, str]:
        """Return the metrics hidden by a fully compiled solver, or by torch.func in the backward solves of samples."""
        hidden = {}
        if control.gradient is Gradient.ADJOINT and control.batching is Batching.EACH:
            hidden = {"saved_bytes": "backward solves of samples use torch.func, which allows no saved-tensor hooks"}
        if control.compile is Compile.SOLVER:
            out_of_sight = "the field is compiled with the solver"
            hidden["vjp_calls"] = out_of_sight
            if control.gradient is not Gradient.DIRECT:
                hidden["nfe_backward"] = out_of_sight
        return {**super().unseen(control), **hidden}

    def classify(self, error: BaseException) -> Status | None:
        """Recognise a field that fails in ``torch.func.vmap``, which differentiates the samples separately."""
        return Status.UNSUPPORTED if isinstance(error, RuntimeError) and str(error).startswith("vmap: ") else None

    def code(self, control: StepControl) -> str:
        """Return code that builds torchode's objects and solves; it expects states ``(B, D)`` and times ``(B,)``."""
        joint, free = control.batching is not Batching.EACH, control.rtol is not None
        shape = "y0.shape" if joint else "-1, *y0.shape[1:]"
        clock = "t[0]" if joint else "t.reshape(-1, *[1] * (y0.ndim - 1))"
        method = type(_step_methods()[control.method](None)).__name__
        controller = f"IntegralController({written(control.atol)}, {written(control.rtol)}, term=term)" if free else ""
        step = written(control.step_size) if control.step_size else "float(times[1] - times[0])"
        step = written(control.first_step) if free else step
        backwards: list[str] = []
        if control.gradient is Gradient.ADJOINT:
            # The library finds the parameters of a term that is a module.
            adjoint = f"{'Joint' * joint}BacksolveAdjoint(term, *parts)"
            if control.adjoint_tolerances_differ and free:
                numbers = f"{written(control.adjoint_atol)}, {written(control.adjoint_rtol)}"
                backwards = [
                    f"back = torchode.IntegralController({numbers}, term=term)",
                    f"adjoint.backward_{'loop' if joint else 'adjoint'} = torchode.AutoDiffAdjoint(parts[0], back)",
                ]
        else:
            adjoint = "AutoDiffAdjoint(*parts, backprop_through_step_size_control=False)"
        whole = control.compile is Compile.SOLVER
        return "\n".join(
            [
                "import torch\nimport torchode\n",
                "class Rows(torch.nn.Module):",
                "    def __init__(self):",
                "        super().__init__()",
                "        self.field = field",
                "    def forward(self, t, y):",
                f"        return self.field({clock}, y.reshape({shape})).reshape(y.shape)\n",
                "term = torchode.ODETerm(Rows())",
                f"parts = torchode.{method}(term), torchode.{controller or 'FixedStepController()'}",
                f"adjoint = torchode.{adjoint}",
                *backwards,
                "solve = torch.compile(adjoint.solve)" if whole else "solve = adjoint.solve",
                f"batch = {'y0.reshape(1, -1)' if joint else 'y0.flatten(1)'}",
                "problem = torchode.InitialValueProblem(batch, t_eval=times.expand(len(batch), -1))",
                f"solution = solve(problem{'' if step == 'None' else f', dt0=times.new_full((len(batch),), {step})'})",
                "states = solution.ys.transpose(0, 1).reshape(len(times), *y0.shape)",
            ]
        )

    def _solver(
        self, field: CountedField, y0: Tensor, times: Tensor, control: StepControl, joint: bool, free: bool
    ) -> _Solver:
        """Return the library's objects from a cache: they take time to create, and much more to compile."""
        shape = tuple(y0.shape) if joint else (-1, *y0.shape[1:])
        backsolve = control.gradient is Gradient.ADJOINT and torch.is_grad_enabled()
        tolerances = control.rtol, control.atol, control.adjoint_rtol, control.adjoint_atol
        key = (shape, control.method, tolerances, free, backsolve, joint, control.compile)

        def make() -> _Solver:
            if backsolve and joint:
                refuse_frozen(field.field, "torchode")
            elif backsolve:
                refuse_shared(field.field, "the adjoint of torchode with batching 'each'")
                if not takes_one(field.field, times[0], y0[:1]):
                    raise SolveFailed(Status.UNSUPPORTED, BOUND)
            # torchode looks up the parameter names here; they must match the module that is solved.
            rows = _Rows(field.field if control.compile is Compile.SOLVER else field, shape)
            return _make(rows, control, backsolve, joint, free)

        return self._solvers.get(field.field, key, make)


def _step_methods() -> dict[str, Callable[..., Any]]:
    """Return the library's method classes by name, plus Euler's method, which torchode does not register."""
    import torchode
    from torchode.interface import METHODS

    return {**METHODS, "euler": torchode.Euler}


def _make(rows: _Rows, control: StepControl, backsolve: bool, joint: bool, free: bool) -> _Solver:
    import torchode

    term = torchode.ODETerm(rows)
    step_method = _step_methods()[control.method](term)

    def controller(rtol: float | None, atol: float | None) -> Any:
        return torchode.IntegralController(atol, rtol, term=term) if free else torchode.FixedStepController()

    parts = step_method, controller(control.rtol, control.atol)
    if not backsolve:
        # A gradient through the step-size control can grow without bound; other libraries do not compute it either.
        solve = torchode.AutoDiffAdjoint(*parts, backprop_through_step_size_control=False).solve
    else:
        # By default the backward solve uses the forward tolerances, and its status is ignored.
        back = torchode.AutoDiffAdjoint(step_method, controller(control.adjoint_rtol, control.adjoint_atol))
        back.solve = _checked(back.solve)
        kind, name = (
            (torchode.JointBacksolveAdjoint, "backward_loop")
            if joint
            else (torchode.BacksolveAdjoint, "backward_adjoint")
        )
        adjoint = kind(term, *parts)
        setattr(adjoint, name, back)
        solve = adjoint.solve
    tableau = getattr(step_method, "tableau", None)
    return _Solver(
        rows,
        torch.compile(solve) if control.compile is Compile.SOLVER else solve,
        1 if tableau is None else tableau.n_stages - int(tableau.fsal),
    )


def _checked(solve: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a solve so that it raises ``SolveFailed`` if its status is a failure."""

    def checked(*args: Any, **kwargs: Any) -> Any:
        solution = solve(*args, **kwargs)
        _check(solution.status)
        return solution

    return checked


def _check(status: Tensor) -> None:
    import torchode

    worst = int(status.max())
    if worst:
        name = torchode.Status(worst).name
        raise SolveFailed(_STATUS.get(name, Status.ERROR), f"torchode stopped with {name}")


def _first_step(times: Tensor, control: StepControl) -> float | None:
    """Return the first step of an adaptive method, negative if time decreases; None lets the library choose."""
    return None if control.first_step is None else math.copysign(control.first_step, float(times[-1] - times[0]))


def _step(times: Tensor, control: StepControl) -> float:
    """Return the fixed step, negative if time decreases."""
    gaps = times.diff()
    if control.step_size is not None:
        return float(torch.sign(gaps[0])) * control.step_size
    if not torch.allclose(gaps, gaps[:1], rtol=1e-4):
        raise SolveFailed(Status.UNSUPPORTED, "torchode needs one fixed step, but the output times are not equidistant")
    return float(gaps[0])


def _solve(
    solver: _Solver,
    field: CountedField,
    y0: Tensor,
    times: Tensor,
    step: float | None,
    joint: bool,
    control: StepControl,
) -> Tensor:
    import torchode

    batch = 1 if joint else len(y0)
    problem = torchode.InitialValueProblem(y0.reshape(batch, -1), t_eval=times.expand(batch, -1))
    dt0 = None if step is None else times.new_full((batch,), step)
    solution = solver.solve(problem, dt0=dt0)
    steps = solution.stats["n_steps"]
    most = int(steps.max())
    if control.compile is Compile.SOLVER:
        field.counter.add(int(solution.stats["n_f_evals"].max()))
    field.counter.add(0, (most - float(steps.double().mean())) * solver.evaluations_a_step)
    _check(solution.status)
    return solution.ys.transpose(0, 1).reshape(len(times), *y0.shape)
