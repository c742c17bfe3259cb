"""Adapter for SciPy's ``solve_ivp`` and VODE, with gradients by torchdiffeq's adjoint."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import scipy.integrate
import torch
import torchdiffeq
from torch import Tensor, nn

from nodebench.instruments import CountedField
from nodebench.solvers import vode
from nodebench.solvers.contract import Method, SolverAdapter, StepControl, written, written_tolerances
from nodebench.spec import Gradient, SolveFailed, Status

# With a tolerance this loose every step is accepted and has the size max_step.
_NO_TOLERANCE = 1e10
# Methods that store the Jacobian as a dense matrix, LSODA also while it does not use one.
_DENSE = ("Radau", "BDF", "LSODA")


class _FiniteField(nn.Module):
    """Wraps a field and stops the solve at NaN or infinity, where SciPy's methods loop or fail unpredictably."""

    def __init__(self, field: nn.Module) -> None:
        super().__init__()
        self.field = field

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        derivative: Tensor = self.field(t, y)
        if not torch.isfinite(derivative).all():
            raise SolveFailed(Status.NON_FINITE, f"the field is not finite at t = {float(t):.4g}")
        return derivative


def _solver_class(method: str, first_step: float | None) -> type[scipy.integrate.OdeSolver]:
    """Return a method of ``solve_ivp`` with a given first step, which torchdiffeq's wrapper does not pass on.

    ``solve_ivp`` rejects a first step longer than the solve. An adjoint may solve a single output interval. The class
    also names the cause if the dense matrices of an implicit method do not fit in memory. The state of an adjoint's
    backward solve is the larger one.
    """

    kind: Any = getattr(scipy.integrate, method)

    class Wrapped(kind):  # type: ignore[misc]
        def __init__(self, field: Any, start: float, y0: Any, end: float, **options: Any) -> None:
            if first_step is not None:
                options["first_step"] = min(first_step, abs(end - start))
            with _out_of_memory(method, len(y0)):
                super().__init__(field, start, y0, end, **options)

        def step(self) -> str | None:
            with _out_of_memory(method, self.n):
                message: str | None = super().step()
            return message

    return Wrapped


@contextmanager
def _out_of_memory(method: str, size: int) -> Iterator[None]:
    """Raise SolveFailed for a MemoryError, which NumPy raises and torch does not."""
    try:
        yield
    except MemoryError as error:
        why = f"scipy:{method} stores the square of the state, {size:,} × {size:,} numbers"
        raise SolveFailed(Status.MEMORY_BUDGET, f"{why}; choose an explicit method or scipy:vode-adams") from error


_BEGUN = """
from scipy.integrate import {method}

class Begun({method}):  # torchdiffeq does not pass first_step on
    def __init__(self, field, start, y0, end, **options):
        super().__init__(field, start, y0, end, first_step=min({first_step}, abs(end - start)), **options)

""".lstrip()


class ScipyAdapter(SolverAdapter):
    """scipy.integrate.solve_ivp on the CPU, stepping in float64; gradients through the adjoint only.

    Each evaluation converts the state to NumPy, so backpropagation through the solver is impossible. Implicit
    methods compute their Jacobian by finite differences. These evaluations of the field are counted here; SciPy's own
    ``nfev`` excludes them for Radau and BDF.

    Source: https://docs.scipy.org/doc/scipy/reference/generated/scipy.integrate.solve_ivp.html
    """

    backend = "scipy"
    source = "https://docs.scipy.org/doc/scipy/reference/generated/scipy.integrate.solve_ivp.html"
    gradients = frozenset({Gradient.ADJOINT})
    takes_first_step = True

    def methods(self) -> Mapping[str, Method]:
        """The methods of ``solve_ivp``, and those of VODE, which Chen et al. 2018 used."""
        return {
            "RK45": Method("Dormand–Prince 5(4)", order=5, adaptive=True),
            "RK23": Method("Bogacki–Shampine 3(2)", order=3, adaptive=True),
            "DOP853": Method("Dormand–Prince 8(5,3)", order=8, adaptive=True),
            "Radau": Method("implicit Runge–Kutta, Radau IIA", order=5, adaptive=True, implicit=True),
            "BDF": Method("backward differentiation, order 1 to 5", None, adaptive=True, implicit=True),
            "LSODA": Method("Adams or BDF, switching by stiffness", None, adaptive=True, implicit=True),
            "vode-adams": Method("VODE's implicit Adams method, order 1 to 12", None, adaptive=True, implicit=True),
            "vode-bdf": Method("VODE's backward differentiation, order 1 to 5", None, adaptive=True, implicit=True),
        }

    def solve(self, field: CountedField, y0: Tensor, times: Tensor, control: StepControl) -> Tensor:
        """Call torchdiffeq with the SciPy method of the trial."""
        # torchdiffeq's wrapper passes min_step to every method, but only LSODA accepts it.
        warnings.filterwarnings("ignore", message="The following arguments have no ")
        finite = _FiniteField(field)
        of_vode = control.method in vode.METHODS
        options: dict[str, Any] = {"solver": control.method}
        tolerances: dict[str, Any] = {"rtol": control.rtol, "atol": control.atol}
        if control.step_size is not None:
            options["max_step"] = control.step_size
            tolerances = {"rtol": _NO_TOLERANCE, "atol": _NO_TOLERANCE}
        elif control.first_step is not None and of_vode:
            options["first_step"] = control.first_step
        if control.method in _DENSE or (control.first_step is not None and not of_vode):
            options["solver"] = _solver_class(control.method, control.first_step)
        name = vode.NAME if of_vode else "scipy_solver"
        arguments: dict[str, Any] = {"method": name, "options": options, **tolerances}
        if control.gradient is Gradient.ADJOINT:
            arguments |= {"adjoint_rtol": control.adjoint_rtol, "adjoint_atol": control.adjoint_atol}
            solution: Tensor = torchdiffeq.odeint_adjoint(finite, y0, times, **arguments)
        else:
            solution = torchdiffeq.odeint(finite, y0, times, **arguments)
        if len(solution) != len(times):
            # If solve_ivp fails, it returns the states so far, and the wrapper drops its message.
            reached = len(solution)
            raise SolveFailed(Status.DT_UNDERFLOW, f"solve_ivp gave up after {reached} of {len(times)} output times")
        return solution

    def code(self, control: StepControl) -> str:
        """Return a call of torchdiffeq's wrapper, or of SciPy for VODE."""
        if control.method in vode.METHODS:
            method = vode.METHODS[control.method]
            tolerances = written_tolerances(control.rtol, control.atol)
            if control.first_step is not None:
                tolerances += f", first_step={written(control.first_step)}"
            return (
                "from scipy.integrate import ode\n\n"
                f'solver = ode(field).set_integrator("vode", method="{method}", {tolerances})\n'
                "solver.set_initial_value(y0, times[0])\nstates = [y0, *(solver.integrate(t) for t in times[1:])]"
            )
        keywords = f'method="scipy_solver", {written_tolerances(control.rtol, control.atol)}'
        if control.adjoint_tolerances_differ:
            keywords += f", adjoint_rtol={written(control.adjoint_rtol)}, adjoint_atol={written(control.adjoint_atol)}"
        begun, solver = "", f'"{control.method}"'
        if control.first_step is not None:
            begun, solver = _BEGUN.format(method=control.method, first_step=written(control.first_step)), "Begun"
        return (
            f"{begun}from torchdiffeq import odeint_adjoint\n\n"
            f'states = odeint_adjoint(field, y0, times, {keywords}, options={{"solver": {solver}}})'
        )

    def classify(self, error: BaseException) -> Status | None:
        """Recognise a failed backward solve: the adjoint finds no state at the end time."""
        if isinstance(error, IndexError) and "index 1 is out of bounds for dimension 0" in str(error):
            return Status.DT_UNDERFLOW
        return None
