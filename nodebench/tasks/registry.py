"""Find tasks by name."""

from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from nodebench.distributions import Installed
from nodebench.errors import choose
from nodebench.plugins import Plugin, calling, check_attributes, load_plugins
from nodebench.spec import DataSource, Preset
from nodebench.spec.record import DataCard
from nodebench.tasks.contract import Options, Task


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
    """Return the package that registers a task; None for nodebench's own tasks and unknown names."""
    plugin = _registered().get(name)
    return plugin.source if plugin else None


def dataset_of(task: Task, wanted: str | None, source: DataSource, preset: Preset) -> str:
    """Return the name of a trial's data set after checking that it exists; see ``Task.dataset``.

    Raises:
        BadInput: the data set does not exist, or the task fails.
    """
    with calling_task(task, "dataset()"):
        found = task.dataset(wanted, source, preset)
        if not isinstance(found, str):
            raise TypeError(f"it returned {type(found).__name__}, not the name of a data set")
    return found


def data_card_of(task: Task, dataset: str | None, options: Options, source: DataSource) -> DataCard | None:
    """Return the data card of the user's data; see ``Task.data_card``.

    Raises:
        BadInput: the data cannot be used, or the task fails.
    """
    if not task.datasets:
        return None
    with calling_task(task, "data_card()"):
        return task.data_card(dataset, options, source)


def calling_task(task: Task, method: str) -> AbstractContextManager[None]:
    """Add the task, its package and the method to the message of an error in the method; see ``calling``."""
    return calling(f"task '{task.name}'", source_of_task(task.name), method)


@cache
def _registered() -> dict[str, Plugin]:
    return load_plugins("nodebench.tasks", _checked_name)


def _checked_name(task: Any) -> str:
    """Check the types of a task's attributes and return its name.

    Raises:
        TypeError: the object is not a task, or an attribute is missing or has the wrong type.
    """
    check_attributes(task, Task)
    return str(task.name)
