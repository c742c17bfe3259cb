"""Solver settings of the profile: a trained network is solved again at other tolerances and step sizes.

A network trained with an adaptive method is solved by that method at other tolerances, and with fixed steps by the
explicit midpoint method (``midpoint`` of torchdiffeq, order 2, two evaluations a step). A network trained with fixed
steps is solved by the same method with finer steps, and by ``dopri5`` at one tolerance. A row has the key ``rtol`` or
``step_size`` accordingly.
"""

from dataclasses import dataclass, replace

from nodebench.solvers import SolverAdapter, StepControl, find_solver

TOLERANCES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
REFINEMENTS = (1, 2, 4)
ADAPTIVE = StepControl("dopri5", rtol=1e-5, atol=1e-5)
FIXED = "midpoint"
FIXED_STEPS = (2.0, 1.0, 0.5)  # times the step size of the task

# Tolerance for counting the evaluations of the probe batch during training.
TIGHT = 1e-5


@dataclass(frozen=True)
class Setting:
    """One way to solve the trained network.

    Attributes:
        keys: entries that identify the setting in a row of the profile.
        control: step control of the solves.
        adapter: the backend of the method.
    """

    keys: dict[str, float | None]
    control: StepControl
    adapter: SolverAdapter


def adaptive_settings(control: StepControl, adapter: SolverAdapter, step_size: float | None) -> list[Setting]:
    """Return the settings for a network trained with an adaptive method.

    Args:
        control: step control of the training; the ratio of its tolerances is kept.
        adapter: backend of the training.
        step_size: step size of the task's fixed-step methods; None for no rows with fixed steps.
    """
    assert control.rtol is not None
    assert control.atol is not None
    ratio = control.atol / control.rtol
    settings = [_setting(control, adapter, rtol=tol, atol=tol * ratio) for tol in TOLERANCES]
    if step_size is not None:
        midpoint, _, _ = find_solver(FIXED)
        settings += [_setting(StepControl(FIXED), midpoint, step_size=step_size * times) for times in FIXED_STEPS]
    return settings


def fixed_settings(control: StepControl, adapter: SolverAdapter, step_size: float) -> list[Setting]:
    """Return the settings for a network trained with fixed steps of this size."""
    finer = [_setting(control, adapter, step_size=step_size / times) for times in REFINEMENTS]
    dopri5, _, _ = find_solver(ADAPTIVE.method)
    return [*finer, Setting({"rtol": ADAPTIVE.rtol, "atol": ADAPTIVE.atol}, ADAPTIVE, dopri5)]


def _setting(control: StepControl, adapter: SolverAdapter, **keys: float) -> Setting:
    return Setting(dict(keys), replace(control, gradient=None, **keys), adapter)  # type: ignore[arg-type]


def tight(control: StepControl) -> StepControl:
    """Return the step control of an adaptive method at the tolerance ``TIGHT``, without compilation."""
    return replace(control, gradient=None, rtol=TIGHT, atol=TIGHT, compile=None)
