"""VODE through SciPy, the solver of Chen et al. 2018, as a method of torchdiffeq.

Source: Brown, Byrne and Hindmarsh 1989, "VODE: a variable-coefficient ODE solver"; ``scipy.integrate.ode("vode")``.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.integrate import ode
from torch import Tensor
from torchdiffeq._impl.odeint import SOLVERS
from torchdiffeq._impl.scipy_wrapper import ScipyWrapperODESolver

from nodebench.spec import SolveFailed, Status

NAME = "nodebench_vode"  # in torchdiffeq's table of methods
METHODS = {"vode-adams": "adams", "vode-bdf": "bdf"}
# BDF needs a Jacobian, which VODE computes by finite differences and stores as a dense matrix.
LARGEST_JACOBIAN = 2_000
_MOST_STEPS = 100_000  # between two output times

_FAILURES = {
    -1: (Status.NFE_BUDGET, "VODE took too many steps"),
    -2: (Status.DT_UNDERFLOW, "the tolerance of VODE is below the precision of the number format"),
    -4: (Status.DT_UNDERFLOW, "VODE's error test failed again and again"),
    -5: (Status.DT_UNDERFLOW, "VODE's corrector failed to converge again and again"),
}


class VodeSolver(ScipyWrapperODESolver):  # type: ignore[misc]
    """One solve by VODE.

    Adams uses functional iteration, which needs no Jacobian; this is SciPy's default and the paper's choice. BDF uses
    chord iteration with a finite-difference Jacobian, whose evaluations of the field are counted.
    """

    solver: str
    func: Callable[[float, np.ndarray], np.ndarray]
    y0: np.ndarray

    def __init__(self, *arguments: Any, first_step: float = 0.0, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.first_step = first_step  # 0 leaves it to VODE

    def integrate(self, t: Tensor) -> Tensor:
        """Return the states ``(T, *shape)`` at increasing times ``t`` ``(T,)``.

        Raises:
            SolveFailed: VODE gave up, or the state is too large for its Jacobian.
        """
        times = t.detach().cpu().double().numpy()
        states = [np.asarray(self.y0, dtype=np.float64)]
        field = _Guarded(self.func)
        solver = self._started(field, states[0], float(times[0]))
        for time in times[1:]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the reason is in the code that is returned
                states.append(np.array(solver.integrate(time)))
            if field.error is not None:
                raise field.error
            if not solver.successful():
                status, message = _FAILURES.get(solver.get_return_code(), (Status.ERROR, "VODE gave up"))
                raise SolveFailed(status, f"{message} at t = {solver.t:.4g}")
        found = torch.from_numpy(np.stack(states)).to(self.device, self.dtype)
        return found.reshape(-1, *self.shape)

    def _started(self, field: "_Guarded", y0: np.ndarray, start: float) -> Any:
        method: Any = METHODS[self.solver]
        jacobian = method == "bdf"
        if jacobian and y0.size > LARGEST_JACOBIAN:
            message = f"scipy:vode-bdf stores a dense Jacobian: state of {y0.size} numbers, at most {LARGEST_JACOBIAN}"
            raise SolveFailed(Status.UNSUPPORTED, message)
        steps = {"max_step": _finite(self.max_step), "first_step": self.first_step}
        options: dict[str, Any] = {"rtol": self.rtol, "atol": self.atol, **steps}
        solver = ode(field).set_integrator("vode", method=method, with_jacobian=jacobian, nsteps=_MOST_STEPS, **options)
        return solver.set_initial_value(y0, start)


class _Guarded:
    """Wraps the field for VODE, which continues after an exception; stores the exception to be raised afterwards."""

    def __init__(self, field: Callable[[float, np.ndarray], np.ndarray]) -> None:
        self._field = field
        self.error: BaseException | None = None

    def __call__(self, t: float, y: np.ndarray) -> np.ndarray:
        if self.error is None:
            try:
                return self._field(t, y)
            except BaseException as error:
                self.error = error
        return np.full(y.shape, np.nan)


def _finite(step: float) -> float:
    """Return the step limit for VODE, where 0 means no limit."""
    return step if np.isfinite(step) else 0.0


SOLVERS[NAME] = VodeSolver
