"""torchdyn: its own methods, differentiated through or by its adjoint."""

import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from nodebench.instruments import CountedField
from nodebench.solvers.checkpoint import SEGMENTS, fixed_steps, solve_in_segments
from nodebench.solvers.contract import Method, SolverAdapter, StepControl
from nodebench.spec import Gradient, SolveFailed, Status

# What the library does not say of itself. Its other methods need a second-order system or an inner optimiser.
_METHODS = {
    "dopri5": Method("Dormand–Prince 5(4), first same as last", order=5, adaptive=True),
    "tsit5": Method("Tsitouras 5(4), first same as last", order=5, adaptive=True),
    "rk4": Method("Runge–Kutta of order 4", order=4, adaptive=False),
    "midpoint": Method("explicit midpoint", order=2, adaptive=False),
    "euler": Method("explicit Euler", order=1, adaptive=False),
}


class TorchdynAdapter(SolverAdapter):
    """torchdyn's ``ODEProblem``.

    Its adjoint always leaves the parameters out of its error norm, and so is ``adjoint-seminorm``.

    Source: Poli et al. 2020, arXiv 2009.09346; https://github.com/DiffEqML/torchdyn
    """

    backend = "torchdyn"
    source = "https://github.com/DiffEqML/torchdyn"
    gradients = frozenset({Gradient.DIRECT, Gradient.CHECKPOINT, Gradient.ADJOINT_SEMINORM})
    package = "torchdyn"

    @cache  # noqa: B019 - one adapter lives as long as the process
    def methods(self) -> Mapping[str, Method]:
        """Of those that are known here, what the installed version offers."""
        from torchdyn.numerics.solvers.ode import SOLVER_DICT

        return {name: method for name, method in _METHODS.items() if name in SOLVER_DICT}

    def solve(self, field: CountedField, y0: Tensor, times: Tensor, control: StepControl) -> Tensor:
        """Solve over the output times; fixed steps are output times of their own."""
        if times[-1] < times[0]:
            raise SolveFailed(Status.UNSUPPORTED, "torchdyn chooses its first step backwards in time by a wrong field")
        method = self.methods()[control.method]

        def direct(y0: Tensor, times: Tensor) -> Tensor:
            return _solve(field, y0, times, control, method.adaptive)

        if control.gradient is Gradient.CHECKPOINT:
            steps = None if method.adaptive else fixed_steps(times, control.step_size)
            return solve_in_segments(direct, y0, times, control.segments or SEGMENTS, steps)
        return direct(y0, times)


class _Named(nn.Module):
    """The same field with the signature that the library looks for."""

    def __init__(self, field: CountedField) -> None:
        super().__init__()
        self.field = field

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return self.field(t, x)


def _solve(field: CountedField, y0: Tensor, times: Tensor, control: StepControl, adaptive: bool) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library's own imports
        from torchdyn.core.problems import ODEProblem
    backwards = control.gradient is Gradient.ADJOINT_SEMINORM and torch.is_grad_enabled()
    arguments: dict[str, Any] = {"solver": control.method, "sensitivity": "adjoint" if backwards else "autograd"}
    if adaptive:
        arguments |= {"rtol": control.rtol, "atol": control.atol}
        if backwards:
            arguments |= {"rtol_adjoint": control.adjoint_rtol, "atol_adjoint": control.adjoint_atol}
        grid, wanted = times, torch.arange(len(times))
    else:
        grid = torch.cat([fixed_steps(times, control.step_size), times]).unique()
        wanted = torch.searchsorted(grid, times)
    _, states = ODEProblem(_Named(field), **arguments).odeint(y0, grid)
    return states[wanted.to(states.device)]
