"""Third-party parts: what the entry points of installed packages offer."""

import warnings
from functools import cache
from importlib.metadata import entry_points
from typing import Any


@cache
def load_plugins(group: str) -> tuple[Any, ...]:
    """Load and make every class registered in an entry point group, in the order of their names.

    A package that cannot be imported is left out with a warning: it must not take the others with it.
    """
    loaded = []
    for entry in sorted(entry_points(group=group), key=lambda entry: entry.name):
        try:
            loaded.append(entry.load()())
        except Exception as error:
            warnings.warn(f"{group}: '{entry.name}' of {entry.value} cannot be loaded: {error}", stacklevel=2)
    return tuple(loaded)
