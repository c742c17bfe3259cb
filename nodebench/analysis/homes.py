"""Which studies a record is of: the one that made it, or those that would ask for it."""

import math
from collections.abc import Mapping, Sequence
from functools import cache

from nodebench.spec import Batching, Grid, Preset, Record, Study, load_study, shipped_studies
from nodebench.spec.trial import Scalar


def homes(record: Record) -> tuple[str, ...]:
    """The studies that a record is of.

    A record of a shipped study is of that one, if that study asks for its trial: another study may have had its name.
    Any other record is of every shipped study that would ask for its trial at its scale, whatever the data set; first
    of that which sets least.
    """
    studies = _studies(record.trial.preset)
    name = record.place.study
    if name in studies and any(_asks(grid, record) for grid in studies[name].groups.values()):
        return (name,)
    asked = {
        name: min((len(grid.overrides) for grid in study.groups.values() if _asks(grid, record)), default=None)
        for name, study in studies.items()
    }
    return tuple(sorted((name for name, options in asked.items() if options is not None), key=lambda n: asked[n] or 0))


@cache
def _studies(preset: Preset) -> dict[str, Study]:
    return {name: load_study(name, preset) for name in shipped_studies()}


def _asks(grid: Grid, record: Record) -> bool:
    trial = record.trial
    axes = (
        (grid.model, trial.model),
        (grid.solver, trial.solver),
        (grid.rtol, trial.rtol),
        (grid.step_size, trial.step_size),
        (grid.gradient, trial.gradient),
    )
    return (
        grid.task == trial.task
        and grid.dtype == trial.dtype
        # An axis that a grid leaves open is at its task's default, which only the claim's own arm may know.
        and all(not wanted or is_value(value, wanted) for wanted, value in axes)
        and is_value(trial.compile, grid.compile or None)
        and is_value(trial.segments, grid.segments or None)
        and (trial.batching is not Batching.WORST or Batching.WORST in grid.batching)
        and trial.overrides.keys() <= grid.overrides.keys()
        and all(is_value(record.options.get(name), values) for name, values in grid.overrides.items())
    )


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
