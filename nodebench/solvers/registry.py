"""Find solvers by the names that trials use; each adapter lists its own methods."""

import hashlib
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nodebench.distributions import DIGITS, Installed
from nodebench.errors import BadInput, choose
from nodebench.objects import load_object
from nodebench.plugins import Plugin, PluginWarning, calling, check_attributes, load_plugins
from nodebench.solvers.contract import Method, SolverAdapter, StepControl

BARE = "torchdiffeq"  # the backend whose methods need no prefix


@cache
def adapters() -> dict[str, SolverAdapter]:
    """One adapter of each backend, torchdiffeq first, whether its library is installed or not."""
    found = {name: plugin.part for name, plugin in _registered().items()}
    return dict(sorted(found.items(), key=lambda item: item[0] != BARE))


def source_of_solver(name: str) -> Installed | None:
    """Return the package or file that provides a solver's adapter; None for nodebench's own or unknown adapters."""
    plugin = _plugin_of(parts_of(name)[0])
    return plugin.source if plugin else None


def _plugin_of(backend: str) -> Plugin | None:
    """The adapter of a backend: registered, or of a user's file; None if there is none."""
    return _of_file(backend) if _names_file(backend) else _registered().get(backend)


@cache
def _of_file(backend: str) -> Plugin:
    """Return the adapter that a user's file defines, named as the user requested it.

    Raises:
        BadInput: the file cannot be imported, or the object is no adapter.
    """
    adapter = load_object(backend, lambda found: found() if isinstance(found, type) else found)
    try:
        _checked_backend(adapter)
    except TypeError as error:
        raise BadInput(f"{backend}: {error}") from error
    adapter.backend = backend
    file = Path(backend.partition(":")[0])
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:DIGITS]
    return Plugin(adapter, Installed(file.name, "file", None, f"files:{digest}"))


def _names_file(name: str) -> bool:
    return ".py:" in name


@cache
def _registered() -> dict[str, Plugin]:
    return load_plugins("nodebench.solvers", _checked_backend)


def _checked_backend(adapter: Any) -> str:
    """Return the backend of an adapter after checking that its attributes have the declared types.

    Raises:
        TypeError: the object is not an adapter, or an attribute is missing or has another type.
    """
    check_attributes(adapter, SolverAdapter)
    return str(adapter.backend)


def calling_adapter(adapter: SolverAdapter, method: str) -> AbstractContextManager[None]:
    """Add the adapter, its package and the method to the message of an exception in a method; see ``calling``."""
    return calling(f"solvers '{adapter.backend}'", source_of_solver(full_name(adapter, "")), method)


def code_of(adapter: SolverAdapter, control: StepControl) -> str:
    """Return Python code that solves with the library itself; see ``SolverAdapter.code``.

    Raises:
        BadInput: the adapter fails.
    """
    with calling_adapter(adapter, "code()"):
        found = adapter.code(control)
        if not isinstance(found, str):
            raise TypeError(f"it returned {type(found).__name__}, not text")
    return found


@cache
def methods_of(adapter: SolverAdapter) -> Mapping[str, Method]:
    """Return the methods of an adapter after checking their types; imports its library.

    Raises:
        BadInput: the adapter or the import of its library fails, whatever the exception.
    """
    with calling_adapter(adapter, "methods()"):
        found = adapter.methods()
        if not (isinstance(found, Mapping) and all(isinstance(one, Method) for one in found.values())):
            raise TypeError("it returned no mapping of names to nodebench.solvers.Method")
    return found


def is_installed(adapter: SolverAdapter) -> bool:
    """Return whether the library of an adapter is installed."""
    try:
        return adapter.package is None or find_spec(adapter.package) is not None
    except Exception:  # find_spec imports the parent package of a submodule, which may raise anything
        return False


def install_hint(adapter: SolverAdapter) -> str:
    """The command that installs the library behind an adapter."""
    return f"pip install {adapter.package}"


def solver_names() -> dict[str, tuple[SolverAdapter, str]]:
    """Every solver that is installed, by its name: ``dopri5``, ``scipy:LSODA``.

    An adapter that cannot list its methods is left out with a ``PluginWarning``.
    """
    found: dict[str, tuple[SolverAdapter, str]] = {}
    for adapter in filter(is_installed, adapters().values()):
        try:
            found |= {full_name(adapter, name): (adapter, name) for name in methods_of(adapter)}
        except BadInput as error:
            warnings.warn(str(error), PluginWarning, stacklevel=2)
    return found


def full_name(adapter: SolverAdapter, method: str) -> str:
    """The name of a method in trials."""
    return method if adapter.backend == BARE else f"{adapter.backend}:{method}"


def parts_of(name: str) -> tuple[str, str]:
    """Split a solver's name into backend and method; ``file.py:ADAPTER:method`` is a user's own solver."""
    if _names_file(name):
        file, _, rest = name.partition(":")
        adapter, _, method = rest.partition(":")
        return f"{file}:{adapter}", method
    backend, colon, method = name.partition(":")
    return (backend, method) if colon else (BARE, name)


@cache
def find_solver(name: str) -> tuple[SolverAdapter, str, Method]:
    """Return adapter, method name and method of a solver; an alias is resolved.

    Only the library of this solver is imported.

    Raises:
        BadInput: there is no such solver (the message has the nearest match), its library is not installed, or its
            adapter fails.
    """
    backend, method = parts_of(name)
    plugin = _plugin_of(backend)
    if plugin is None:
        choose("solver", name, solver_names())
        raise AssertionError(name)
    adapter: SolverAdapter = plugin.part
    if not is_installed(adapter):
        raise BadInput(f"solver {name}: {adapter.package} is not installed. {install_hint(adapter)}")
    methods = methods_of(adapter)
    if not method and len(methods) == 1:
        (method,) = methods
    if method not in methods:
        choose("solver", name, solver_names() if backend == BARE else [full_name(adapter, m) for m in methods])
    method = methods[method].alias_of or method
    return adapter, method, methods[method]


def canonical_name(name: str) -> str:
    """Return the canonical name of a solver, with aliases resolved."""
    adapter, method, _ = find_solver(name)
    return full_name(adapter, method)
