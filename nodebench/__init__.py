"""nodebench: the benchmark and reproducibility suite for Neural ODEs."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Maps each public name to its module. The module is imported when the name is first used, because torch and pandas
# take seconds to import.
_MODULES = {
    "BadInput": "errors",
    "Limits": "spec",
    "Problem": "tasks.problem",
    "Run": "api.result",
    "RunAborted": "errors",
    "Runs": "api.result",
    "Verdicts": "api.verdicts",
    "calibrate": "api.calibrate",
    "compare": "api.compare",
    "evaluations": "solvers.odeint",
    "load": "api.running",
    "load_runs": "api.running",
    "odeint": "solvers.odeint",
    "odeint_adjoint": "solvers.odeint",
    "odeint_dense": "solvers.odeint",
    "odeint_event": "solvers.odeint",
    "recommend": "api.recommend",
    "report": "api.report",
    "reproduce": "api.reproduce",
    "resume": "api.running",
    "run": "api.running",
    "run_study": "api.running",
    "verdicts": "api.verdicts",
}
__all__ = list(_MODULES)

if TYPE_CHECKING:
    from nodebench.api.calibrate import calibrate as calibrate
    from nodebench.api.compare import compare as compare
    from nodebench.api.recommend import recommend as recommend
    from nodebench.api.report import report as report
    from nodebench.api.reproduce import reproduce as reproduce
    from nodebench.api.result import Run as Run
    from nodebench.api.result import Runs as Runs
    from nodebench.api.running import load as load
    from nodebench.api.running import load_runs as load_runs
    from nodebench.api.running import resume as resume
    from nodebench.api.running import run as run
    from nodebench.api.running import run_study as run_study
    from nodebench.api.verdicts import Verdicts as Verdicts
    from nodebench.api.verdicts import verdicts as verdicts
    from nodebench.errors import BadInput as BadInput
    from nodebench.errors import RunAborted as RunAborted
    from nodebench.solvers.odeint import evaluations as evaluations
    from nodebench.solvers.odeint import odeint as odeint
    from nodebench.solvers.odeint import odeint_adjoint as odeint_adjoint
    from nodebench.solvers.odeint import odeint_dense as odeint_dense
    from nodebench.solvers.odeint import odeint_event as odeint_event
    from nodebench.spec import Limits as Limits
    from nodebench.tasks.problem import Problem as Problem


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'nodebench' has no attribute '{name}'")
    return getattr(import_module(f"nodebench.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return [*_MODULES, "__version__"]
