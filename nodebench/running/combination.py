"""Build a trial from one combination of axes, or explain why the combination cannot be run."""

from collections.abc import Mapping, Sequence
from typing import Any

from nodebench.solvers import Method, SolverAdapter, canonical_name, find_solver
from nodebench.spec import Batching, Gradient, Trial
from nodebench.spec.axes import Part, as_stored, axis_names
from nodebench.tasks import Task


class UnsupportedCombination(Exception):
    """Raised for a combination that cannot be run. ``value`` is the ``(axis, value)`` that causes it."""

    def __init__(self, value: tuple[str, Any], reason: str) -> None:
        super().__init__(reason)
        self.value = value


OPTIONAL = axis_names(Part.METHOD, without=("solver",))


def stored(axis: str, value: Any) -> Any:
    """Convert a value of a grid to the value that the trial stores."""
    return canonical_name(value) if axis == "solver" else as_stored(axis, value)


def with_ode(task: Task, model: str, solver: str, chosen: Mapping[str, Any], /, **common: Any) -> Trial:
    """One trial of a model with an ODE; an axis that does not apply to its method is left empty."""
    adapter, _, method = find_solver(solver)
    solver = canonical_name(solver)
    rtol, atol, step_size = chosen["rtol"], chosen["atol"], chosen["step_size"]
    gradient = _gradient(task, model, solver, adapter, chosen["gradient"])
    if gradient is Gradient.ADJOINT_SEMINORM and not method.adaptive:
        reason = f"solver {solver} takes fixed steps, so gradient '{gradient}' has no error norm to change"
        raise UnsupportedCombination(("gradient", gradient), reason)
    if (format := common["autocast"].dtype if common["autocast"] else common["dtype"]) not in adapter.dtypes:
        reason = f"solver {solver} computes in {' and '.join(adapter.dtypes)} only, not in {format}"
        raise UnsupportedCombination(("solver", solver), reason)
    batching = _supported("batching", chosen["batching"], adapter.batchings, solver)
    if batching is Batching.WORST and not method.adaptive:
        raise UnsupportedCombination(
            ("batching", batching), f"solver {solver} takes fixed steps, so batching 'worst' does not apply"
        )
    if method.has_tolerance:
        rtol = rtol or task.rtol
        atol = atol or following_atol(task, rtol)
    else:
        rtol = atol = None
    adjoint = gradient is not None and gradient.solves_backwards and method.has_tolerance
    fitting = {
        "rtol": rtol,
        "atol": atol,
        "step_size": None if method.adaptive else step_size or task.step_size,
        "first_step": _first_step(chosen["first_step"], adapter, method, solver),
        "gradient": gradient,
        "adjoint_rtol": (chosen["adjoint_rtol"] or rtol) if adjoint else None,
        "adjoint_atol": (chosen["adjoint_atol"] or atol) if adjoint else None,
        "segments": chosen["segments"] if gradient is Gradient.CHECKPOINT else None,
        "coupling": chosen["coupling"] if gradient is Gradient.REVERSIBLE and adapter.couples else None,
        "batching": batching,
        "compile": _supported("compile", chosen["compile"], adapter.compiles, solver),
    }
    return Trial(model=model, solver=solver, **{**chosen, **fitting, **common})


def following_atol(task: Task, rtol: float) -> float:
    """Return the absolute tolerance for a relative tolerance that is given alone.

    The two are equal, as in torchdiffeq's own scripts, unless the task's defaults differ; then their ratio is kept.
    """
    return float(f"{rtol * task.atol / task.rtol:.12g}")


def _gradient(task: Task, model: str, solver: str, adapter: SolverAdapter, wanted: Gradient | None) -> Gradient | None:
    """Return the gradient method of a trial: the requested one, else the task's default, else one that is possible."""
    if not task.trains:
        if wanted is not None:
            raise UnsupportedCombination(
                ("gradient", wanted), f"task {task.name} has no training, so it has no gradient"
            )
        return None
    possible = task.models[model].gradients & adapter.gradients
    if not possible:
        reason = f"model {model} needs gradient {_names(task.models[model].gradients)}, which {solver} lacks"
        raise UnsupportedCombination(("solver", solver), reason)
    gradient = wanted or (task.gradient if task.gradient in possible else min(possible))
    if gradient not in adapter.gradients:
        reason = f"solver {solver} has no gradient '{gradient}': {_names(adapter.gradients)} only"
        raise UnsupportedCombination(("gradient", gradient), reason)
    if gradient not in possible:
        reason = f"model {model} has no gradient '{gradient}': {_names(possible)} only"
        raise UnsupportedCombination(("gradient", gradient), reason)
    return gradient


def _first_step(wanted: float | None, adapter: SolverAdapter, method: Method, solver: str) -> float | None:
    """Return the requested first step; None for a method with fixed steps."""
    if wanted is not None and method.adaptive and not adapter.takes_first_step:
        message = f"solver {solver} does not accept a first step: {adapter.backend} always chooses its own"
        raise UnsupportedCombination(("first_step", wanted), message)
    return wanted if method.adaptive else None


def _supported(axis: str, wanted: Any, possible: Sequence[Any], solver: str) -> Any:
    """Return a choice that the backend supports, or its default.

    The choice that an axis stores as None (the only one before the axis existed) is returned as None.
    """
    choice = wanted or possible[0]
    if choice not in possible:
        raise UnsupportedCombination(
            (axis, wanted), f"solver {solver} has no {axis} '{choice}': {', '.join(possible)} only"
        )
    return as_stored(axis, choice)


def _names(gradients: frozenset[Gradient]) -> str:
    return ", ".join(sorted(gradients))
