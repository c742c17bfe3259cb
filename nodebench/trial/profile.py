"""The profile: the ways in which a trained network is solved after its training, at other tolerances and steps.

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

# The tolerance at which the evaluations of the probe batch are counted over the training.
TIGHT = 1e-5


@dataclass(frozen=True)
class Setting:
    """One way to solve the trained network.

    Attributes:
        keys: what the row of the profile says of it.
        control: how its solves step.
        adapter: the backend of the method.
    """

    keys: dict[str, float | None]
    control: StepControl
    adapter: SolverAdapter


def adaptive_settings(control: StepControl, adapter: SolverAdapter, step_size: float | None) -> list[Setting]:
    """Return the settings for a network trained with an adaptive method.

    Args:
        control: of the training; the ratio of its tolerances is kept.
        adapter: of the training.
        step_size: of the task's fixed-step methods; None for no rows with fixed steps.
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
    """The control of an adaptive method at the tight tolerance; nothing is compiled for it."""
    return replace(control, gradient=None, rtol=TIGHT, atol=TIGHT, compile=None)
