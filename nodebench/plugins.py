"""Load tasks and solver adapters from the entry points of installed packages.

A plug-in cannot replace a name that is in use. A plug-in that cannot be loaded does not affect the others. In both
cases one ``PluginWarning`` is issued.
"""

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from nodebench.distributions import Installed, identify
from nodebench.errors import BadInput, first_fault

BUILT_IN = "nodebench"  # the package whose names no other package can take


class PluginWarning(UserWarning):
    """A plug-in is not used. The message is one line: which package, and why."""


class NameTaken(Exception):
    """A plug-in offers a name that another package has registered."""


@dataclass(frozen=True)
class Plugin:
    """One part that an entry point registers.

    Attributes:
        part: an object of the registered class.
        source: the package that registers it; None for nodebench itself.
    """

    part: Any
    source: Installed | None


def load_plugins(group: str, name_of: Callable[[Any], str]) -> dict[str, Plugin]:
    """Load every class that is registered in an entry point group.

    Args:
        group: name of the entry point group, such as ``nodebench.tasks``.
        name_of: validates an object and returns the name by which users select it; raises if the object is invalid.

    Returns:
        The loaded parts by their names: those of nodebench first, then by package and entry point.
    """
    loaded: dict[str, Plugin] = {}
    for entry in sorted(entry_points(group=group), key=_order):
        with _reported(f"{entry.value} of {_package_of(entry)}"):
            with redirect_stdout(sys.stderr):  # what a plug-in prints must not mix with the output of ``--json``
                part = entry.load()()
            name = name_of(part)
            if name in loaded:
                raise NameTaken(f"package {loaded[name].source or BUILT_IN} has registered the name '{name}'")
            source = None if _is_built_in(entry) or entry.dist is None else identify(entry.dist)
            loaded[name] = Plugin(part, source)
    return loaded


def check_attributes(part: Any, base: type) -> None:
    """Check that a part is an instance of ``base`` and that its attributes have the types that ``base`` declares.

    Raises:
        TypeError: it is not an instance, or an attribute is missing or has another type.
    """
    if not isinstance(part, base):
        package = base.__module__.rpartition(".")[0]
        raise TypeError(f"{type(part).__name__} is not a subclass of {package}.{base.__name__}")
    try:
        _declared(base).model_validate(part)
    except ValidationError as error:
        fault = first_fault(error)
        raise TypeError(f"its attribute '{'.'.join(map(str, fault.path))}': {fault.message}") from None


@cache
def _declared(base: type) -> type[BaseModel]:
    """Return a model with the annotated attributes of a class."""
    hints = get_type_hints(base, include_extras=True).items()
    kinds = {name: (get_args(kind)[0] if get_origin(kind) is ClassVar else kind, ...) for name, kind in hints}
    settings = ConfigDict(from_attributes=True, arbitrary_types_allowed=True)
    return create_model(base.__name__, __config__=settings, **kinds)  # type: ignore[call-overload]


@contextmanager
def _reported(what: str) -> Iterator[None]:
    """Turn a failure inside the context into a ``PluginWarning``; only ``KeyboardInterrupt`` passes."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        warnings.warn(f"plug-in {what} is not used: {one_line(error)}", PluginWarning, stacklevel=3)


@contextmanager
def calling(part: str, source: Installed | None, method: str) -> Iterator[None]:
    """Convert exceptions from a plug-in's code to a one-line ``BadInput``.

    ``BadInput`` and ``KeyboardInterrupt`` from the code pass unchanged. What the code prints goes to standard error.

    Args:
        part: kind and name of the called object, for example ``task 'mine'``.
        source: the package that provides it; None for nodebench itself.
        method: name of the called method.

    Raises:
        BadInput: the code raised an exception. The message names the part, the package and the method, unless the code
            itself raised ``BadInput``.
    """
    try:
        with redirect_stdout(sys.stderr):
            yield
    except (BadInput, KeyboardInterrupt):
        raise
    except BaseException as error:
        of_package = f" of package {source}" if source else ""
        raise BadInput(f"{part}{of_package}: {method} failed: {one_line(error)}") from error


def one_line(error: BaseException) -> str:
    """The type and the first line of an exception, without control characters."""
    text = next(iter(str(error).splitlines()), "")
    parts = [text] if isinstance(error, NameTaken) else [type(error).__name__, *([text] if text else [])]
    return "".join(c if c.isprintable() else "?" for c in ": ".join(parts))


def _order(entry: EntryPoint) -> tuple[bool, str, str]:
    return not _is_built_in(entry), _package_of(entry), entry.name


def _is_built_in(entry: EntryPoint) -> bool:
    return entry.dist is not None and entry.dist.name == BUILT_IN


def _package_of(entry: EntryPoint) -> str:
    return f"package {entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown package"
