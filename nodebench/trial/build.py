"""Build the objects that run a trial."""

import torch

from nodebench.instruments import NfeCounter
from nodebench.solvers import Integrator, StepControl, find_solver, source_of_solver
from nodebench.spec import DataSource, Trial
from nodebench.spec.axes import Part, axis_names
from nodebench.tasks import Experiment, Setup, find_task, source_of_task
from nodebench.trial.options import options_of

# ``StepControl`` has a field for each.
_CONTROL = set(axis_names(Part.METHOD, without=("solver",)))


def integrator_of(trial: Trial, counter: NfeCounter) -> Integrator:
    """The integrator of a trial.

    A model without an ODE receives an integrator as well, but does not use it.
    """
    adapter, _, _ = find_solver(trial.solver or "dopri5")
    return Integrator(adapter, control_of(trial), counter)


def control_of(trial: Trial) -> StepControl:
    """Return the step control and the gradient settings of a trial's solves."""
    _, method, _ = find_solver(trial.solver or "dopri5")
    return StepControl(method, **trial.model_dump(include=_CONTROL))


def experiment_of(trial: Trial, solve: Integrator, source: DataSource) -> Experiment:
    """The task's experiment of a trial, whose model solves with ``solve``."""
    setup = Setup(
        model=trial.model,
        options=options_of(trial),
        solve=solve,
        seed=trial.seed,
        device=torch.device(trial.device),
        dtype=getattr(torch, trial.dtype),
        dataset=trial.dataset,
        source=source,
    )
    experiment = find_task(trial.task).build(setup)
    if trial.autocast:
        # As torch's guide says: around the forward computation, and not around backward.
        dtype = getattr(torch, trial.autocast.dtype)
        autocast = torch.autocast(setup.device.type, dtype, cache_enabled=trial.autocast.caches)
        experiment.loss, experiment.metrics = autocast(experiment.loss), autocast(experiment.metrics)  # type: ignore[method-assign]
    return experiment


def plugins_of(trial: Trial) -> dict[str, dict[str, str | None]]:
    """Version, commit and identity of each plug-in package that provides the task or the solver of a trial."""
    solver = [source_of_solver(trial.solver)] if trial.solver else []
    return {one.package: one.described() for one in (source_of_task(trial.task), *solver) if one}
