"""The numerics pass: probes of the solver, the profile of the trained network, errors against a reference."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial

import torch

from nodebench.instruments import Budget, NfeCounter
from nodebench.solvers import Integrator, SolverAdapter, StepControl, Trace, find_solver
from nodebench.spec import Batching, Gradient, Reason, ReasonCode, Trial
from nodebench.tasks import Experiment, Task
from nodebench.trial.draft import NO_ODE, NO_TRAINING, Draft, Row
from nodebench.trial.evaluation import evaluating
from nodebench.trial.metrics import numbers_of
from nodebench.trial.missing_reasons import failure_of, probe_failure, reference_failure
from nodebench.trial.probes import joint_over_single, residual_error, reverse_error
from nodebench.trial.profile import Setting, adaptive_settings, fixed_settings
from nodebench.trial.reference import Reference
from nodebench.trial.step import Checkpoint, Step
from nodebench.trial.traits import batch_dependence

# Maximum number of evaluations of the reference. Its direct gradient keeps all of them in memory. Without training
# there is no gradient, and a stiff batch needs many evaluations.
REFERENCE_MAX_NFE = 2_000
REFERENCE_MAX_NFE_UNTRAINED = 200_000

# Gradient methods that may evaluate the field once more if autograd records a graph.
_PREPARED = (Gradient.CHECKPOINT, Gradient.INTERPOLATED)

_OWN_STEPS = Reason(code=ReasonCode.NOT_APPLICABLE, message="each sample has its own steps")
_NO_BATCH = Reason(code=ReasonCode.NOT_APPLICABLE, message="the first solve has no batch of separable samples")


class Numerics:
    """The numerics pass of one trial.

    Args:
        trial, task, experiment, solve, budget: see ``nodebench.trial.passes.Passes``.
        draft: receives the results.
    """

    def __init__(
        self, trial: Trial, task: Task, experiment: Experiment, solve: Integrator, budget: Budget, draft: Draft
    ) -> None:
        self._trial = trial
        self._task = task
        self._experiment = experiment
        self._solve = solve
        self._budget = budget
        self._draft = draft
        self._device = torch.device(trial.device)
        self._has_ode = trial.solver is not None

    def run(self, shared: Checkpoint, step: Step) -> None:
        """Probe the solver, solve the trained network with other settings, and compare it with a float64 reference.

        Args:
            shared: the state before the last training step.
            step: result of that step.
        """
        names = ["solution_error", "gradient_error", "gradient_cosine"]
        if not self._has_ode:
            self._draft.missing([*names, "reverse_error"], NO_ODE)
            return
        self._probe_batch()
        self._probe()
        reference, reason = self._reference(), self._without_reference()
        if self._task.trains:
            self._profile(None if reason else reference)
        else:
            self._draft.missing(names[1:], NO_TRAINING)
        if self._device.type != "mps":
            self._check_shared_forward(shared, step)
        if reason is None and self._is_tight(self._solve.control.rtol):
            message = "the trial's tolerance is as tight as the reference's"
            reason = Reason(code=ReasonCode.NO_REFERENCE, message=message)
        if reason is not None:
            self._draft.missing(names, reason)
            return
        self._errors(reference)

    def _probe_batch(self) -> None:
        """Find out whether the field can be evaluated at a batch of another size."""
        trace: Trace = []
        try:
            with self._evaluating(), self._solve.using(NfeCounter(self._budget), trace=trace):
                self._experiment.loss(self._experiment.model, self._experiment.probe)
        except Exception as error:
            self._draft.reasons["traits"] = probe_failure(self._solve, error)
        if trace:
            vector_field, y0, times, _ = trace[0]
            self._draft.add_traits(partial(batch_dependence, vector_field, times[0], y0), self._solve)

    def _probe(self) -> None:
        """Measure properties of the solver on the probe batch."""
        experiment, solve, trial = self._experiment, self._solve, self._trial
        probes: dict[str, Callable[[Trace], float | None]] = {"reverse_error": partial(reverse_error, solve)}
        if trial.batching is Batching.EACH:
            self._draft.missing(["joint_over_single"], _OWN_STEPS)
        elif find_solver(trial.solver or "")[2].adaptive and not solve.counter.blind:
            probes["joint_over_single"] = lambda trace: joint_over_single(solve, trace, self._budget)
        if trial.solver == "euler" and trial.gradient is Gradient.DIRECT:
            probes["residual_error"] = lambda trace: residual_error(solve, trace)
        for name, probe in probes.items():
            trace: Trace = []
            try:
                with self._evaluating(), solve.using(NfeCounter(self._budget), trace=trace):
                    experiment.loss(experiment.model, experiment.probe)
                    found = probe(trace[:])
            except Exception as error:
                self._draft.missing([name], probe_failure(self._solve, error))
                continue
            self._draft.costs[name] = found
            if found is None:
                self._draft.reasons[name] = _NO_BATCH

    def _check_shared_forward(self, shared: Checkpoint, step: Step) -> None:
        """Repeat the forward pass of the shared step; loss and NFE must agree with the training."""
        experiment, counter = self._experiment, self._solve.counter
        trained = copy.deepcopy(experiment.model.state_dict())
        batch = shared.restore(experiment)
        counter.begin_forward()
        with torch.set_grad_enabled(self._trial.gradient in _PREPARED):
            loss = experiment.loss(experiment.model, batch).item()
        experiment.model.load_state_dict(trained)
        again = Step(loss, counter.forward, step.nfe_backward)
        # ``passes_agree`` is None if the memory pass was skipped.
        self._draft.passes_agree = self._draft.passes_agree is not False and step.agrees(again)

    def _reference(self) -> Reference:
        limit = REFERENCE_MAX_NFE if self._task.trains else REFERENCE_MAX_NFE_UNTRAINED
        budget = replace(self._budget, max_nfe=limit)
        task = self._task
        return Reference(self._experiment, self._solve, task.reference, self._budget, budget, task.second_reference)

    def _without_reference(self) -> Reason | None:
        """Return why this trial has no reference; None if it has one."""
        if self._device.type == "mps":
            message = "the device mps has no float64 for a reference"
            return Reason(code=ReasonCode.NOT_OBSERVABLE, message=message)
        for trait, observed in self._draft.traits.items():
            if not trait.is_repeatable:
                message = f"the field is {trait}, so it has no reference: {observed}"
                return Reason(code=ReasonCode.RANDOM_FIELD, message=message)
        return None

    def _is_tight(self, rtol: float | None) -> bool:
        """Whether a tolerance is as tight as the reference's, within a factor of ten."""
        return rtol is not None and rtol < 10 * (self._task.reference.rtol or 0)

    def _errors(self, reference: Reference) -> None:
        """Compare solution and gradient on the probe batch with the reference, at the trained weights.

        The two errors are independent: a field may have no float64 copy although the model that creates it has one.
        """
        compared: dict[tuple[str, ...], Callable[[], dict[str, int | float | None]]] = {
            ("solution_error",): lambda: {"solution_error": reference.solution_error(trained.trace)}
        }
        if self._task.trains:
            compared["gradient_error", "gradient_cosine"] = lambda: reference.gradient_errors(trained)
        try:
            trained = reference.solve_as_trained(differentiate=self._task.trains)
        except Exception as error:
            self._draft.missing([name for names in compared for name in names], reference_failure(self._solve, error))
            return
        for names, compare in compared.items():
            try:
                self._draft.costs |= compare()
            except Exception as error:
                self._draft.missing(list(names), reference_failure(self._solve, error))

    @property
    def _is_adaptive(self) -> bool:
        return find_solver(self._trial.solver or "")[2].adaptive

    def settings(self) -> list[Setting]:
        """Return the solver settings of the profile."""
        control, adapter = self._solve.control, self._solve.adapter
        if self._is_adaptive:
            return adaptive_settings(control, adapter, self._task.step_size)
        return fixed_settings(control, adapter, control.step_size or self._output_interval())

    def _profile(self, reference: Reference | None) -> None:
        """Solve the trained network with other settings; record metrics, NFE and error over tolerance or step size."""
        for setting in self.settings():
            row = self._profiled(setting)
            if reference is not None and not self._is_tight(setting.control.rtol):
                try:
                    row["solution_error"] = self._profiled_error(setting, reference)
                except Exception as error:  # there is no reference, for this row or for any other
                    self._draft.reasons.setdefault("profile", reference_failure(self._solve, error))
                    reference = None
            self._draft.profile.append(row)

    def _profiled(self, setting: Setting) -> Row:
        """One row of the profile, without its error."""
        with self._evaluating(setting.control, setting.adapter) as counter:
            try:
                metrics = numbers_of(self._experiment.metrics(self._experiment.model))
            except Exception as error:
                metrics = dict.fromkeys(self._draft.metric_names)
                message = f"{setting.keys}: {failure_of(self._solve, error)}"
                self._draft.reasons.setdefault("profile", Reason(code=ReasonCode.OTHER, message=message))
        nfe = None if counter.blind else counter.forward / max(counter.solves, 1)
        return {**setting.keys, "nfe": nfe, **metrics}

    def _profiled_error(self, setting: Setting, reference: Reference) -> float | None:
        """The error of the probe batch; None if its solve fails.

        Raises:
            Exception: the reference cannot be solved.
        """
        trace: Trace = []
        with self._evaluating(setting.control, setting.adapter, trace=trace):
            try:
                self._experiment.loss(self._experiment.model, self._experiment.probe)
            except Exception as error:
                self._draft.reasons.setdefault("profile", probe_failure(self._solve, error))
                return None
            return reference.solution_error(trace[:])

    def _output_interval(self) -> float:
        """The step that a fixed-step method takes when none is given."""
        trace: Trace = []
        with torch.no_grad(), self._solve.using(NfeCounter(self._budget), trace=trace):
            self._experiment.loss(self._experiment.model, self._experiment.probe)
        times = trace[0][2]
        return float((times[1] - times[0]).abs())

    def _evaluating(
        self, control: StepControl | None = None, adapter: SolverAdapter | None = None, trace: Trace | None = None
    ) -> AbstractContextManager[NfeCounter]:
        return evaluating(self._experiment.model, self._solve, self._budget, control, adapter, trace=trace)
