"""Which studies a record is of: the one that made it, or those that would ask for it."""

import math
from collections.abc import Mapping, Sequence
from functools import cache

from nodebench.spec import Batching, Grid, Preset, Record, Study, Trial, load_study, shipped_studies
from nodebench.spec.axes import AXES, FORWARD_OF, Part, as_stored, axis_names
from nodebench.spec.trial import Scalar


def homes(record: Record) -> tuple[str, ...]:
    """The studies that a record is of.

    A record of a shipped study is of that one, if that study asks for its trial: another study may have had its name.
    If it is older than an option, it has that option switched off.
    Any other record is of every shipped study that would ask for its trial at its scale, whatever the data set; first
    of that which sets least.
    """
    studies = _studies(record.trial.preset)
    name = record.place.study
    if name in studies and any(_asks(grid, record, older=True) for grid in studies[name].groups.values()):
        return (name,)
    asked = {
        name: min((len(grid.overrides) for grid in study.groups.values() if _asks(grid, record)), default=None)
        for name, study in studies.items()
    }
    return tuple(sorted((name for name, options in asked.items() if options is not None), key=lambda n: asked[n] or 0))


@cache
def _studies(preset: Preset) -> dict[str, Study]:
    return {name: load_study(name, preset) for name in shipped_studies()}


def _asks(grid: Grid, record: Record, older: bool = False) -> bool:
    trial = record.trial
    return (
        grid.task == trial.task
        and all(_asks_for(grid, trial, name) for name in _ASKED)
        and (trial.batching is not Batching.WORST or Batching.WORST in grid.batching)
        and trial.overrides.keys() <= grid.overrides.keys()
        and all(_has_option(record, name, values, older) for name, values in grid.overrides.items())
    )


def _has_option(record: Record, name: str, wanted: Sequence[Scalar], older: bool) -> bool:
    """Whether a record has a wanted value of an option; with ``older``, 0 or false is that of a missing option."""
    if older and name not in record.options and not all(wanted):
        return True
    return is_value(record.options.get(name), wanted)


# Every axis but those that a study asks for in words of its own, that it is asked for at, or that it leaves free.
_ASKED = axis_names(without=("task", "preset", "batching", "overrides", "dataset", "device", "threads", "seed"))
# Axes on which a grid that leaves them open has the default of the task, which only the claim's own arm may know.
_OF_TASK = ("model", "solver", "gradient", "rtol", "atol", "step_size")


def _asks_for(grid: Grid, trial: Trial, name: str) -> bool:
    """Whether a grid asks for the value of a trial on one axis."""
    wanted, value = getattr(grid, name), getattr(trial, name)
    if AXES[name].follows and value is None:  # the method of the trial has no such tolerance
        return True
    if grid.model and trial.solver is None and AXES[name].part is Part.METHOD:  # a model that it names, without an ODE
        return True
    if wanted:
        return is_value(as_stored(name, value), [as_stored(name, one) for one in _listed(wanted)])
    if name in _OF_TASK or value is None:
        return True
    # A backward tolerance that is left open equals the forward one; every other axis that is left open is None.
    return name in FORWARD_OF and is_value(value, getattr(trial, FORWARD_OF[name]))


def _listed(value: Scalar | Sequence[Scalar]) -> Sequence[Scalar]:
    return value if isinstance(value, list) else [value]  # type: ignore[list-item]


def is_at(axes: Mapping[str, Scalar | None], wanted: Mapping[str, Scalar | Sequence[Scalar | None] | None]) -> bool:
    """Whether axes have every value asked for."""
    return all(is_value(axes.get(name), value) for name, value in wanted.items())


def is_value(value: Scalar | None, wanted: Scalar | Sequence[Scalar | None] | None) -> bool:
    """Whether a value on an axis is the one asked for, or one of several; numbers may differ in their last digits."""
    if isinstance(wanted, list | tuple):
        return any(is_value(value, one) for one in wanted)
    if isinstance(value, float) and isinstance(wanted, int | float):
        return math.isclose(value, wanted)
    return value == wanted
