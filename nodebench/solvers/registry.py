"""Which solvers exist: the adapters' own lists, by the names a trial uses."""

from functools import cache

from nodebench.errors import choose
from nodebench.plugins import load_plugins
from nodebench.solvers.contract import Method, SolverAdapter

BARE = "torchdiffeq"  # the backend whose methods need no prefix


@cache
def adapters() -> dict[str, SolverAdapter]:
    """One adapter of each backend, torchdiffeq first."""
    found = {adapter.backend: adapter for adapter in load_plugins("nodebench.solvers")}
    return dict(sorted(found.items(), key=lambda item: item[0] != BARE))


@cache
def solver_names() -> dict[str, tuple[SolverAdapter, str]]:
    """Every solver by its name: ``dopri5``, ``scipy:LSODA``."""
    return {
        name if adapter.backend == BARE else f"{adapter.backend}:{name}": (adapter, name)
        for adapter in adapters().values()
        for name in adapter.methods()
    }


def find_solver(name: str) -> tuple[SolverAdapter, str, Method]:
    """Return adapter, method name and method of a solver; an alias gives what it stands for.

    Raises:
        BadInput: there is no such solver; the message has the nearest match.
    """
    names = solver_names()
    adapter, method = names[choose("solver", name.removeprefix(f"{BARE}:"), names)]
    method = adapter.methods()[method].alias_of or method
    return adapter, method, adapter.methods()[method]


def canonical_name(name: str) -> str:
    """The one name of a solver, whatever alias the user typed."""
    adapter, method, _ = find_solver(name)
    return method if adapter.backend == BARE else f"{adapter.backend}:{method}"
