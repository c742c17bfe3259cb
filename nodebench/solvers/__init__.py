"""Solver adapters, one per backend, behind a common interface; found by entry point."""

from nodebench.solvers.contract import Method, SolverAdapter, StepControl
from nodebench.solvers.integrator import Integrator, Observer, Solve, Trace
from nodebench.solvers.registry import (
    adapters,
    canonical_name,
    code_of,
    find_solver,
    install_hint,
    is_installed,
    methods_of,
    parts_of,
    solver_names,
    source_of_solver,
)

__all__ = [
    "Integrator",
    "Method",
    "Observer",
    "Solve",
    "SolverAdapter",
    "StepControl",
    "Trace",
    "adapters",
    "canonical_name",
    "code_of",
    "find_solver",
    "install_hint",
    "is_installed",
    "methods_of",
    "parts_of",
    "solver_names",
    "source_of_solver",
]
