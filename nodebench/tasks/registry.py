"""Which tasks exist."""

from functools import cache

from nodebench.errors import choose
from nodebench.plugins import load_plugins
from nodebench.tasks.contract import Task


@cache
def tasks() -> dict[str, Task]:
    """Every registered task by its name."""
    found = {task.name: task for task in load_plugins("nodebench.tasks")}
    return dict(sorted(found.items()))


def find_task(name: str) -> Task:
    """Return a task by name.

    Raises:
        BadInput: there is no such task; the message has the nearest match.
    """
    return tasks()[choose("task", name, tasks())]
