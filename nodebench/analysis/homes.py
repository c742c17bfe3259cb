"""Which studies a record is of: the one that made it, or those that would ask for it."""

import math
from collections.abc import Sequence
from functools import cache

from nodebench.spec import Grid, Preset, Record, Study, load_study, shipped_studies
from nodebench.spec.trial import Scalar


def homes(record: Record) -> tuple[str, ...]:
    """The studies that a record is of.

    A record of a shipped study is of that one. One of a typed grid, or of a study of the user's own, is of every
    shipped study that would ask for its trial at its scale, whatever the data set; first of that which sets least.
    """
    studies = _studies(record.trial.preset)
    if record.place.study in studies:
        return (record.place.study,)
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
        and all(not wanted or _among(value, wanted) for wanted, value in axes)
        and trial.overrides.keys() <= grid.overrides.keys()
        and all(_among(record.options.get(name), values) for name, values in grid.overrides.items())
    )


def _among(value: Scalar | None, wanted: Sequence[Scalar]) -> bool:
    if isinstance(value, float):
        return any(isinstance(one, int | float) and math.isclose(value, one) for one in wanted)
    return value in wanted
