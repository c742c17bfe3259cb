"""Assign records to studies: the study that made a record, or all studies whose grid contains its trial."""

import math
from collections.abc import Mapping, Sequence
from functools import cache

from nodebench.spec import Batching, Grid, Preset, Record, Study, Trial, load_study, shipped_studies
from nodebench.spec.axes import AXES, FORWARD_OF, Part, as_stored, axis_names
from nodebench.spec.trial import Scalar


def studies_of_record(record: Record) -> tuple[str, ...]:
    """Return the names of the studies that a record belongs to.

    A record belongs to the shipped study that it names if the study's grid contains its trial. The grid is checked
    because another study may have used the same name. An option that is newer than the record counts as switched off.
    Any other record belongs to every shipped study whose grid contains its trial at its preset, for any data set. The
    study with the fewest overrides comes first.
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
    """Whether a record has a wanted value of an option; with ``older``, a missing option counts as 0 or False."""
    if older and name not in record.options and not all(wanted):
        return True
    return is_value(record.options.get(name), wanted)


# The axes that ``_asks_for`` checks. ``_asks`` checks some others itself; the study's preset is given, and data set,
# device, threads and seed may have any value.
_ASKED = axis_names(without=("task", "preset", "batching", "overrides", "dataset", "device", "threads", "seed"))
# Axes for which an empty grid entry means the task's default. The default is not known here: any value is accepted.
_OF_TASK = ("model", "solver", "gradient", "rtol", "atol", "step_size")


def _asks_for(grid: Grid, trial: Trial, name: str) -> bool:
    """Whether a grid contains the value of a trial on one axis."""
    wanted, value = getattr(grid, name), getattr(trial, name)
    if AXES[name].follows and value is None:  # the method of the trial has no such tolerance
        return True
    if grid.model and trial.solver is None and AXES[name].part is Part.METHOD:  # a named model without ODE
        return True
    if wanted:
        return is_value(as_stored(name, value), [as_stored(name, one) for one in _listed(wanted)])
    if name in _OF_TASK or value is None:
        return True
    # An empty backward tolerance equals the forward one; any other empty axis is None.
    return name in FORWARD_OF and is_value(value, getattr(trial, FORWARD_OF[name]))


def _listed(value: Scalar | Sequence[Scalar]) -> Sequence[Scalar]:
    return value if isinstance(value, list) else [value]  # type: ignore[list-item]


def is_at(axes: Mapping[str, Scalar | None], wanted: Mapping[str, Scalar | Sequence[Scalar | None] | None]) -> bool:
    """Whether axes have all wanted values."""
    return all(is_value(axes.get(name), value) for name, value in wanted.items())


def is_value(value: Scalar | None, wanted: Scalar | Sequence[Scalar | None] | None) -> bool:
    """Whether a value equals the wanted one, or one of several; numbers may differ in their last digits."""
    if isinstance(wanted, list | tuple):
        return any(is_value(value, one) for one in wanted)
    if isinstance(value, float) and isinstance(wanted, int | float):
        return math.isclose(value, wanted)
    return value == wanted
