"""Adapter for torchdyn: its own methods, with gradients by backpropagation or by its adjoint."""

import warnings
from collections.abc import Mapping
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from typing import Any

import torch
from torch import Tensor, nn

from nodebench.instruments import CountedField
from nodebench.solvers.contract import Method, SolverAdapter, StepControl, written_tolerances
from nodebench.solvers.field_cache import FieldCache
from nodebench.solvers.gradients.checkpoint import SAME_TIME, checkpointed, fixed_steps
from nodebench.solvers.limits import refuse_frozen, refuse_unused
from nodebench.spec import Gradient, SolveFailed, Status

# Metadata that torchdyn does not provide. Its other methods need a second-order system or an inner optimiser.
_METHODS = {
    "dopri5": Method("Dormand–Prince 5(4), first same as last", order=5, adaptive=True),
    "tsit5": Method("Tsitouras 5(4), first same as last", order=5, adaptive=True),
    "rk4": Method("Runge–Kutta of order 4", order=4, adaptive=False),
    "midpoint": Method("explicit midpoint", order=2, adaptive=False),
    "euler": Method("explicit Euler", order=1, adaptive=False),
}


class TorchdynAdapter(SolverAdapter):
    """torchdyn's ``ODEProblem``.

    Its adjoint always excludes the parameters from the error norm and is therefore listed as ``adjoint-seminorm``.

    Source: Poli et al. 2020, arXiv 2009.09346; https://github.com/DiffEqML/torchdyn
    """

    backend = "torchdyn"
    source = "https://github.com/DiffEqML/torchdyn"
    gradients = frozenset({Gradient.DIRECT, Gradient.CHECKPOINT, Gradient.ADJOINT_SEMINORM})
    package = "torchdyn"
    holds_steps = False

    def __init__(self) -> None:
        self._checked = FieldCache[None]()

    @cache  # noqa: B019 - one adapter lives as long as the process
    def methods(self) -> Mapping[str, Method]:
        """Return the methods of ``_METHODS`` that the installed version offers."""
        from torchdyn.numerics.solvers.ode import SOLVER_DICT

        return {name: method for name, method in _METHODS.items() if name in SOLVER_DICT}

    def solve(self, field: CountedField, y0: Tensor, times: Tensor, control: StepControl) -> Tensor:
        """Solve over the output times; the grid of fixed steps is passed as additional output times."""
        method = self.methods()[control.method]
        if control.gradient is Gradient.ADJOINT_SEMINORM and torch.is_grad_enabled():
            self._checked.get(field.field, tuple(y0.shape), lambda: _check(field.field, times[0], y0))

        def direct(y0: Tensor, times: Tensor) -> Tensor:
            return _solve(field, y0, times, control, method.adaptive)

        return checkpointed(direct, y0, times, control, method.adaptive)

    def code(self, control: StepControl) -> str:
        """Return code that solves with an ``ODEProblem``."""
        kind = "adjoint" if control.gradient is Gradient.ADJOINT_SEMINORM else "autograd"
        keywords = [f'solver=str_to_solver("{control.method}", y0.dtype)', f'sensitivity="{kind}"']
        if control.rtol is not None:
            keywords.append(written_tolerances(control.rtol, control.atol))
            if kind == "adjoint":
                keywords.append(written_tolerances(control.adjoint_rtol, control.adjoint_atol, "_adjoint"))
        return (
            "from torchdyn.core import ODEProblem\nfrom torchdyn.numerics.solvers.ode import str_to_solver\n\n"
            f"_, states = ODEProblem(field, {', '.join(keywords)}).odeint(y0, times)  # forward(self, t, x)"
        )


def _check(field: nn.Module, t: Tensor, y: Tensor) -> None:
    """Refuse a field that torchdyn's adjoint cannot differentiate."""
    refuse_frozen(field, "torchdyn")
    refuse_unused(field, t, y, "torchdyn")


# A solve is stuck if it advances by less than _VANISHED of its time span in _PATIENCE evaluations.
_PATIENCE = 500
_VANISHED = 1e-10


class _Named(nn.Module):
    """Wraps the field with the argument names that torchdyn expects; time always increases.

    torchdyn's own backward solve chooses its first step with the wrong sign of the field. torchdyn also loops forever
    if a state is not finite or the step size underflows.
    """

    def __init__(self, field: CountedField, forwards: bool, span: float) -> None:
        super().__init__()
        self.field = field
        self.forwards = forwards
        self._near = _VANISHED * span
        self._place = float("inf")
        self._calls = 0

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        derivative: Tensor = self.field(t, x) if self.forwards else -self.field(-t, x)
        self._calls += 1
        if self._calls % _PATIENCE == 0:
            self._check_progress(float(t), derivative)
        return derivative

    def _check_progress(self, t: float, derivative: Tensor) -> None:
        if not torch.isfinite(derivative).all():
            raise SolveFailed(Status.NON_FINITE, f"the field is not finite at t = {t:.4g}")
        if abs(t - self._place) < self._near:
            raise SolveFailed(Status.DT_UNDERFLOW, f"the step size underflowed at t = {t:.4g}")
        self._place = t


def _solve(field: CountedField, y0: Tensor, times: Tensor, control: StepControl, adaptive: bool) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # raised by torchdyn's own imports
        from torchdyn.core.problems import ODEProblem
        from torchdyn.numerics.solvers.ode import str_to_solver
    adjoint = control.gradient is Gradient.ADJOINT_SEMINORM and torch.is_grad_enabled()
    # Given only a method name, torchdyn creates its coefficients in float32.
    solver = str_to_solver(control.method, y0.dtype)
    arguments: dict[str, Any] = {"solver": solver, "sensitivity": "adjoint" if adjoint else "autograd"}
    forwards = bool(times[-1] > times[0])
    clock = times if forwards else -times
    if adaptive:
        arguments |= {"rtol": control.rtol, "atol": control.atol}
        if adjoint:
            arguments |= {"rtol_adjoint": control.adjoint_rtol, "atol_adjoint": control.adjoint_atol}
        grid, wanted = clock, torch.arange(len(clock))
    else:
        steps = fixed_steps(clock, control.step_size)
        apart = (steps.unsqueeze(1) - clock).abs().amin(1) > SAME_TIME * (clock[-1] - clock[0])
        grid = torch.cat([steps[apart], clock]).sort().values
        wanted = torch.searchsorted(grid, clock)
    with redirect_stdout(StringIO()):  # torchdyn prints a message if a field has no parameters
        problem = ODEProblem(_Named(field, forwards, float(clock[-1] - clock[0])), **arguments)
    _, states = problem.odeint(y0, grid)
    return states[wanted.to(states.device)]
