"""The baseline arm of an interleaved pass: a trial with some axes replaced."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from nodebench.errors import BadInput, choose, first_fault
from nodebench.running.combination import OPTIONAL, UnsupportedCombination, following_atol, stored, with_ode
from nodebench.spec import Grid, Trial
from nodebench.spec.axes import AXES, FORWARD_OF, Part, as_stored, axis_names
from nodebench.spec.trial import Scalar
from nodebench.tasks import Task, find_task


def baseline_of(trial: Trial, against: Mapping[str, Scalar]) -> Trial:
    """Return a trial with some axes replaced: the baseline arm of its interleaved pass.

    An axis that is not in ``against`` keeps its value if the named axes allow it. Otherwise it gets its default in a
    grid; for example, the tolerance becomes None if the baseline's solver takes fixed steps.

    Raises:
        BadInput: the axes do not make a valid trial.
    """
    task, axes = find_task(trial.task), ", ".join(against)
    try:
        grid = Grid.model_validate({"task": trial.task, **against})
    except ValidationError as error:
        raise BadInput(f"against {first_fault(error)}") from None
    named = {axis: value[0] if isinstance(value := getattr(grid, axis), list) else value for axis in against}
    common = trial.model_dump(include=set(axis_names(Part.PROBLEM, Part.EXECUTION, Part.REPLICATE, without=("model",))))
    common |= {axis: as_stored(axis, named[axis]) for axis in axis_names(Part.EXECUTION) if axis in named}
    model = choose(f"model of task {task.name}", named.get("model", trial.model), task.models)
    if task.models[model].gradients:
        found = _with_axes(task, model, _kept(trial, task) | named, set(named), common)
    else:
        found = Trial(model=model, **common)
    for axis, value in named.items():
        if getattr(found, axis) != stored(axis, value):
            reason = AXES[axis].inapplicable
            raise BadInput(f"against {axes}: {axis} {value} of trial {trial.id}: {reason}")
    return found


def _kept(trial: Trial, task: Task) -> dict[str, Any]:
    """Return the axes of a trial as a user would give them; an axis derived from another axis is None."""
    kept = {axis: getattr(trial, axis) or AXES[axis].unset for axis in ("solver", *OPTIONAL)}
    if trial.rtol is not None and trial.atol == following_atol(task, trial.rtol):
        kept["atol"] = None
    for axis, forward in FORWARD_OF.items():
        if kept[axis] == getattr(trial, forward):
            kept[axis] = None
    return kept


def _with_axes(task: Task, model: str, axes: dict[str, Any], named: set[str], common: dict[str, Any]) -> Trial:
    """Build a trial of these axes; an axis that is not in ``named`` and does not fit gets its default."""
    while True:
        chosen = {axis: axes[axis] for axis in OPTIONAL}
        try:
            return with_ode(task, model, axes["solver"] or "dopri5", chosen, **common)
        except UnsupportedCombination as error:
            axis, _ = error.value
            if axis in named or axes.get(axis) is None:
                raise BadInput(f"against {', '.join(sorted(named))}: {error}") from None
            axes = axes | {axis: None}
