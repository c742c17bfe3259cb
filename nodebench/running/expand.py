"""Expand a grid into trials, and explain why some combinations cannot be run."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

from pydantic import ValidationError

from nodebench.cores import default_threads, usable_cores
from nodebench.errors import BadInput, choose, first_fault
from nodebench.running.combination import OPTIONAL, UnsupportedCombination, stored, with_ode
from nodebench.spec import DataSource, Exclusion, Grid, Trial
from nodebench.spec.axes import AXES, as_stored
from nodebench.spec.grid import COMPARABLE, EXCLUDABLE, MOST_TRIALS
from nodebench.spec.trial import Autocast, Scalar
from nodebench.tasks import Task, data_card_of, dataset_of, find_task
from nodebench.trial.devices import device_kind, resolve_device
from nodebench.trial.options import described, options_of, options_with, preset_of


@dataclass(frozen=True)
class Expansion:
    """The expansion of a grid.

    Attributes:
        configurations: the trials with seed 0, by id, in the order of the axes.
        seeds: seeds of each configuration.
        left_out: a sentence for each combination left out.
    """

    configurations: dict[str, Trial]
    seeds: list[int]
    left_out: list[str]


def multiply(grid: Grid, source: DataSource) -> tuple[list[Trial], list[str]]:
    """The trials of a grid in the order of its axes, and a sentence for each combination left out.

    See ``expand_configurations``.
    """
    found = expand_configurations(grid, source)
    every = product(found.seeds, found.configurations.values())
    return [trial.model_copy(update={"seed": seed}) for seed, trial in every], found.left_out


def expand_configurations(grid: Grid, source: DataSource, elsewhere: bool = False) -> Expansion:
    """Expand a grid into configurations and seeds.

    Args:
        grid: the values of each axis.
        source: location of the user's data.
        elsewhere: whether the trials run on other machines, whose devices and cores cannot be seen from here.

    Raises:
        BadInput: a name is unknown, a device absent, an option wrong, a value that was asked for cannot be used by any
            trial, or there are more than ``MOST_TRIALS`` combinations.
    """
    task = find_task(grid.task)
    preset_of(task, grid.preset)
    device = device_kind(grid.device) if elsewhere else resolve_device(grid.device)
    if device == "mps" and "float64" in grid.dtype:
        raise BadInput("--dtype float64: device mps does not support it. Allowed: float32, bfloat16, float16")
    common = {
        "task": task.name,
        "device": device,
        "threads": grid.threads or 1 if elsewhere else _threads(grid.threads),
        "preset": grid.preset,
        "seed": 0,
    }
    for name in grid.model:
        choose(f"model of task {task.name}", name, task.models)
    _refuse_too_many(task, grid)
    excluded = [_Excluded(exclusion, task, grid) for exclusion in grid.exclude]
    trials: dict[str, Trial] = {}
    used: set[tuple[str, Any]] = set()
    unfit: dict[str, UnsupportedCombination] = {}
    reasons: dict[str, None] = {}
    problems = [*product(_datasets(task, grid, source), _overrides(task, grid))]
    for dataset, overrides in problems:
        data_card_of(task, dataset, options_with(task, grid.preset, overrides), source)  # may raise BadInput
    formats = _formats(task, grid)
    for (dataset, overrides), format, build in product(problems, formats, _combinations(task, grid)):
        try:
            trial = build(dataset=dataset, overrides=overrides, **format, **common)
        except ValidationError as error:
            raise BadInput(str(first_fault(error))) from None
        except UnsupportedCombination as error:
            unfit[str(error)] = error
            continue
        used |= _values(trial)
        if why := next((one.reason for one in excluded if one.matches(trial)), None):
            reasons[why] = None
        else:
            trials.setdefault(trial.id, trial)
    for value in _wanted(grid):
        if value not in used:
            raise BadInput(_reason(value, unfit))
    return Expansion(trials, list(dict.fromkeys(grid.seed)), [*unfit, *reasons])


def _refuse_too_many(task: Task, grid: Grid) -> None:
    """Raise BadInput if the grid has too many combinations, before any trial is built."""
    formats = len(grid.dtype) * max(1, len(grid.autocast))
    axes = math.prod(max(1, len(getattr(grid, axis))) for axis in ("solver", *OPTIONAL))
    models = grid.model or [next(iter(task.models))]
    of_models = formats * sum(axes if task.models[model].gradients else 1 for model in models)
    options = math.prod(len(values) for values in grid.overrides.values())
    refuse_more_than_most(of_models * max(1, len(grid.dataset)) * options * len(grid.seed))


def refuse_more_than_most(count: int) -> None:
    """Raise BadInput if ``count`` exceeds the number of trials that a study may have."""
    if count > MOST_TRIALS:
        raise BadInput(f"{count:,} combinations of the values given; a study has at most {MOST_TRIALS:,} trials")


class _Excluded:
    """An exclusion of a grid, its names checked and its options in the task's types."""

    def __init__(self, exclusion: Exclusion, task: Task, grid: Grid) -> None:
        self.reason = exclusion.reason
        for name in exclusion.model:
            choose(f"model of task {task.name}", name, task.models)
        self._axes = {name: [stored(name, value) for value in getattr(exclusion, name)] for name in EXCLUDABLE}
        self._options = {
            name: [getattr(options_with(task, grid.preset, {name: value}), name) for value in values]
            for name, values in exclusion.overrides.items()
        }
        if not any([*self._axes.values(), self._options]):
            raise BadInput(f"the exclusion '{exclusion.reason}' names no axis, and so excludes everything")

    def matches(self, trial: Trial) -> bool:
        """Whether a trial is left out."""
        options = options_of(trial)
        return all(getattr(trial, axis) in values for axis, values in self._axes.items() if values) and all(
            getattr(options, name) in values for name, values in self._options.items()
        )


def _datasets(task: Task, grid: Grid, source: DataSource) -> list[str | None]:
    """Return the data sets of a grid after a check that each exists; None for a task that generates its data."""
    if not task.datasets:
        if grid.dataset or source != DataSource():
            raise BadInput(f"task {task.name} makes its own data: --dataset, --data and --download do not apply to it")
        return [None]
    for name in grid.dataset:
        choose(f"data set of task {task.name}", name, task.datasets)
    wanted: list[str | None] = [*grid.dataset] or [None]
    return [dataset_of(task, name, source, grid.preset) for name in wanted]


def _formats(task: Task, grid: Grid) -> list[dict[str, Any]]:
    """Every pair of dtype and autocast format; a 16-bit autocast format goes with float32 only.

    Raises:
        BadInput: the task does not support a format, or a dtype goes with none of the autocast formats.
    """
    autocast = grid.autocast or [Autocast.NONE]
    for dtype in grid.dtype:
        choose(f"dtype of task {task.name}", dtype, task.dtypes)
    for one in autocast:
        if one is not Autocast.NONE:
            choose(f"autocast format of task {task.name}", one.dtype, task.dtypes)
    alone = [dtype for dtype in grid.dtype if dtype != "float32"]
    if alone and Autocast.NONE not in autocast:
        raise BadInput(
            f"--dtype {alone[0]}: torch.autocast needs float32; omit --dtype, or add the value none to --autocast"
        )
    if "float32" not in grid.dtype and autocast != [Autocast.NONE]:
        raise BadInput(f"--autocast {autocast[-1]}: torch.autocast needs float32, which --dtype leaves out")
    return [
        {"dtype": dtype, "autocast": as_stored("autocast", one)}
        for dtype in grid.dtype
        for one in autocast
        if one is Autocast.NONE or dtype == "float32"
    ]


def _threads(asked: int | None) -> int:
    cores = usable_cores()
    if asked is not None and not 1 <= asked <= cores:
        raise BadInput(f"--threads {asked}: this process may use {cores} cores. Allowed: 1 to {cores}")
    return asked or default_threads()


def _overrides(task: Task, grid: Grid) -> list[dict[str, Scalar]]:
    """Every combination of overrides, in the types of the task's options; one that changes nothing is dropped."""
    base = described(task, task.presets[grid.preset])
    names = sorted(grid.overrides)
    combinations = []
    for values in product(*(grid.overrides[name] for name in names)):
        options = described(task, options_with(task, grid.preset, dict(zip(names, values, strict=True))))
        combinations.append({name: options[name] for name in names if options[name] != base[name]})
    return combinations


def _combinations(task: Task, grid: Grid) -> Iterator[Callable[..., Trial]]:
    """Every combination of the axes, as a function that makes its trial or raises UnsupportedCombination."""
    for model in grid.model or [next(iter(task.models))]:
        if not task.models[model].gradients:
            yield partial(Trial, model=model)
            continue
        optional = {axis: getattr(grid, axis) or [None] for axis in OPTIONAL}
        for solver, *values in product(grid.solver or ["dopri5"], *optional.values()):
            yield partial(with_ode, task, model, solver, dict(zip(optional, values, strict=True)))


def _wanted(grid: Grid) -> list[tuple[str, Any]]:
    """Every value that the user named."""
    return [(axis, stored(axis, value)) for axis in COMPARABLE for value in getattr(grid, axis)]


def _values(trial: Trial) -> set[tuple[str, Any]]:
    return {(axis, getattr(trial, axis)) for axis in COMPARABLE}


def _reason(value: tuple[str, Any], unfit: dict[str, UnsupportedCombination]) -> str:
    """Explain why no trial uses a value: the reason that mentions it, else the first one, else the axis's own."""
    for message, error in unfit.items():
        if error.value == value:
            return message
    for message in unfit:
        if f"{value[0]} {value[1]} " in message:
            return message
    if unfit:
        return next(iter(unfit))
    axis, given = value
    shown = f"{given:g}" if isinstance(given, float) else given
    return f"--{axis.replace('_', '-')} {shown}: {AXES[axis].inapplicable}"
