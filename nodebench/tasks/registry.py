"""Find tasks by name."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, InstanceOf, ValidationError

from nodebench.distributions import Installed
from nodebench.errors import choose
from nodebench.plugins import Plugin, calling, load_plugins
from nodebench.solvers import StepControl
from nodebench.spec import DataSource, Gradient, Preset
from nodebench.spec.record import DataCard
from nodebench.spec.trial import Dtype, Scalar
from nodebench.tasks.contract import DatasetInfo, ModelInfo, Options, Task


@cache
def tasks() -> dict[str, Task]:
    """Every registered task by its name."""
    return {name: plugin.part for name, plugin in sorted(_registered().items())}


def find_task(name: str) -> Task:
    """Return a task by name.

    Raises:
        BadInput: there is no such task; the message has the nearest match.
    """
    return tasks()[choose("task", name, tasks())]


def source_of_task(name: str) -> Installed | None:
    """The package that registers a task; None for a task of nodebench, or of nobody."""
    plugin = _registered().get(name)
    return plugin.source if plugin else None


def dataset_of(task: Task, wanted: str | None, source: DataSource, preset: Preset) -> str:
    """Name the data set of a trial, having checked that it is there; see ``Task.dataset``.

    Raises:
        BadInput: it is not there, or the task fails.
    """
    with calling_task(task, "dataset()"):
        found = task.dataset(wanted, source, preset)
        if not isinstance(found, str):
            raise TypeError(f"it returned {type(found).__name__}, not the name of a data set")
    return found


def data_card_of(task: Task, dataset: str | None, options: Options, source: DataSource) -> DataCard | None:
    """The card of the user's own data; see ``Task.data_card``.

    Raises:
        BadInput: they cannot be used, or the task fails.
    """
    if not task.datasets:
        return None
    with calling_task(task, "data_card()"):
        return task.data_card(dataset, options, source)


def calling_task(task: Task, method: str) -> AbstractContextManager[None]:
    """Name the task, its package and a method in the message of what the method raises; see ``calling``."""
    return calling(f"task '{task.name}'", source_of_task(task.name), method)


@cache
def _registered() -> dict[str, Plugin]:
    return load_plugins("nodebench.tasks", _checked_name)


class _Declared(BaseModel):
    """The class attributes of a task, as ``Task`` declares them."""

    model_config = ConfigDict(from_attributes=True, arbitrary_types_allowed=True)

    name: Annotated[str, Field(pattern=r"^[^\s,:]+$")]
    about: str
    source: str
    models: Annotated[Mapping[str, InstanceOf[ModelInfo]], Field(min_length=1)]
    options: type[Options]
    presets: Annotated[Mapping[Preset, InstanceOf[Options]], Field(min_length=1)]
    gradient: Gradient
    rtol: Annotated[float, Field(gt=0)]
    atol: Annotated[float, Field(gt=0)]
    step_size: Annotated[float, Field(gt=0)] | None
    reference: InstanceOf[StepControl]
    headlines: tuple[str, ...]
    trains: bool
    datasets: Mapping[str, InstanceOf[DatasetInfo]]
    dtypes: Annotated[tuple[Dtype, ...], Field(min_length=1)]
    brief: Mapping[str, Scalar]


def _checked_name(task: Any) -> str:
    """The name of a task, once its attributes are known to be of the declared types.

    Raises:
        TypeError: it is no task, or an attribute is missing or of another type.
    """
    if not isinstance(task, Task):
        raise TypeError(f"{type(task).__name__} is not a subclass of nodebench.tasks.Task")
    try:
        return _Declared.model_validate(task).name
    except ValidationError as error:
        first = error.errors()[0]
        raise TypeError(f"its attribute '{'.'.join(map(str, first['loc']))}': {first['msg']}") from None
