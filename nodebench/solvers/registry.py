"""Which solvers exist: the adapters' own lists, by the names a trial uses."""

from functools import cache
from importlib.util import find_spec

from nodebench.errors import BadInput, choose
from nodebench.plugins import load_plugins
from nodebench.solvers.contract import Method, SolverAdapter

BARE = "torchdiffeq"  # the backend whose methods need no prefix


@cache
def adapters() -> dict[str, SolverAdapter]:
    """One adapter of each backend, torchdiffeq first, whether its library is installed or not."""
    found = {adapter.backend: adapter for adapter in load_plugins("nodebench.solvers")}
    return dict(sorted(found.items(), key=lambda item: item[0] != BARE))


def is_installed(adapter: SolverAdapter) -> bool:
    """Whether the library behind an adapter is there."""
    return adapter.package is None or find_spec(adapter.package) is not None


def install_hint(adapter: SolverAdapter) -> str:
    """The command that installs the library behind an adapter."""
    return f"pip install {adapter.package}"


def solver_names() -> dict[str, tuple[SolverAdapter, str]]:
    """Every solver that is installed, by its name: ``dopri5``, ``scipy:LSODA``."""
    return {
        full_name(adapter, name): (adapter, name)
        for adapter in adapters().values()
        if is_installed(adapter)
        for name in adapter.methods()
    }


def full_name(adapter: SolverAdapter, method: str) -> str:
    """The name of a method in trials."""
    return method if adapter.backend == BARE else f"{adapter.backend}:{method}"


def parts_of(name: str) -> tuple[str, str]:
    """Backend and method of a solver's name."""
    backend, colon, method = name.partition(":")
    return (backend, method) if colon else (BARE, name)


@cache
def find_solver(name: str) -> tuple[SolverAdapter, str, Method]:
    """Return adapter, method name and method of a solver; an alias gives what it stands for.

    Only the library that the name speaks of is imported.

    Raises:
        BadInput: there is no such solver, or its library is not installed; the message has the nearest match.
    """
    backend, method = parts_of(name)
    adapter = adapters().get(backend)
    if adapter is None:
        choose("solver", name, solver_names())
        raise AssertionError(name)
    if not is_installed(adapter):
        raise BadInput(f"solver {name}: {adapter.package} is not installed. {install_hint(adapter)}")
    if method not in adapter.methods():
        choose(
            "solver", name, solver_names() if backend == BARE else [full_name(adapter, m) for m in adapter.methods()]
        )
    method = adapter.methods()[method].alias_of or method
    return adapter, method, adapter.methods()[method]


def canonical_name(name: str) -> str:
    """The one name of a solver, whatever alias the user typed."""
    adapter, method, _ = find_solver(name)
    return full_name(adapter, method)
