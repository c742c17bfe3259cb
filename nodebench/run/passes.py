"""The three passes of a trial: timed training, memory of one step, numerics.

The last training step is the step that they share. The state before it is kept, and the memory and numerics passes
take it again. If loss or NFE differ, the meters have disturbed what they measure.
"""

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from nodebench.errors import first_line
from nodebench.instruments import Budget, MemoryMeter, NfeCounter, Stopwatch
from nodebench.run.metrics import numbers_of
from nodebench.run.probes import joint_over_single, residual_error, reverse_error
from nodebench.run.reference import Reference
from nodebench.run.step import Checkpoint, Step, next_batch, step_tensors, training_step
from nodebench.run.traits import Traits, batch_dependence, repeatability
from nodebench.solvers import Integrator, Observer, SolverAdapter, StepControl, Trace, find_solver
from nodebench.solvers.precision import NoCopy
from nodebench.spec import Batching, Gradient, Reason, ReasonCode, SolveFailed, Status, Trial
from nodebench.spec.trajectories import Film
from nodebench.tasks import Experiment, Task

Row = dict[str, float | None]
Figures = dict[str, int | float | None]

# The reference of the numerics pass gives up beyond this many evaluations: its direct gradient holds them all.
REFERENCE_MAX_NFE = 2_000

PROFILE_TOLERANCES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
PROFILE_REFINEMENTS = (1, 2, 4)
PROFILE_ADAPTIVE = StepControl("dopri5", rtol=1e-5, atol=1e-5)  # for what was trained with fixed steps

# Pictures of a training, at most: enough for an animation.
FRAMES = 20

# What the memory and numerics passes cost, in training steps: a guess for estimates alone.
STEPS_BESIDE_TRAINING = 15

NO_ODE = "the model has no ODE"
UNDEFINED = "the task does not define it for this trial"
COMPILED_BEFORE = "the evaluation before it has solved the same, and compiled what it needs"
UNCOUNTED = "the library does not tell the evaluations of its implicit method's inner iteration"
NO_TRAINING = "the task trains nothing"


@dataclass
class Draft:
    """What is known of a trial so far; a trial that fails keeps it."""

    metrics: Row = field(default_factory=dict)
    costs: Figures = field(default_factory=dict)
    reasons: dict[str, str | Reason] = field(default_factory=dict)
    history: list[Row] = field(default_factory=list)
    profile: list[Row] = field(default_factory=list)
    passes_agree: bool | None = None
    traits: Traits = field(default_factory=dict)

    def missing(self, names: Iterable[str], reason: str | Reason) -> None:
        """Say why figures were not measured."""
        for name in names:
            self.costs[name] = None
            self.reasons[name] = reason


class Passes:
    """One trial's experiment and the passes over it.

    Args:
        trial: what is run.
        task: its task.
        experiment: built from it.
        solve: the integrator that the experiment's model solves with.
        budget: limits of each solve.
        report: called with each finished row of the history, and with the pictures taken after it.
    """

    def __init__(
        self,
        trial: Trial,
        task: Task,
        experiment: Experiment,
        solve: Integrator,
        budget: Budget,
        report: Callable[[Row, Film], None],
    ) -> None:
        self._trial = trial
        self._task = task
        self._experiment = experiment
        self._solve = solve
        self._budget = budget
        self._report = report
        self._device = torch.device(trial.device)
        self._has_ode = trial.solver is not None
        self._observed = False
        self.draft = Draft()

    def timed(self) -> None:
        """Train, with nothing attached but the NFE counter and the stopwatch."""
        experiment, counter, draft = self._experiment, self._solve.counter, self.draft
        draft.metrics["parameters"] = sum(p.numel() for p in experiment.counted())
        watch = Stopwatch(self._device, warm_up=min(2, experiment.epochs * experiment.steps_per_epoch - 1))
        steps: list[Step] = []
        self._close_epoch(0, {}, metrics=False)
        for epoch in range(experiment.epochs):
            experiment.begin_epoch(epoch)
            batches = experiment.batches(epoch)
            seconds = 0.0
            for i in range(experiment.steps_per_epoch):
                watch.start()
                batch = next_batch(batches, i, experiment)
                watch.mark("data")
                if epoch == experiment.epochs - 1 and i == experiment.steps_per_epoch - 1:
                    self._shared = Checkpoint.take(experiment, batch)
                    watch.resume()
                steps.append(training_step(experiment, batch, counter, watch.mark))
                seconds += watch.last_step
            of_epoch = steps[-experiment.steps_per_epoch :]
            training: Row = {"loss": fmean(s.loss for s in of_epoch), "seconds": seconds}
            self._close_epoch(epoch + 1, training | self._mean_nfe(of_epoch), metrics=True)
        self._shared_step = steps[-1]
        draft.metrics |= {k: v for k, v in draft.history[-1].items() if k in self._metric_names}
        draft.reasons |= {name: UNDEFINED for name, value in draft.metrics.items() if value is None}
        draft.costs |= watch.summary()
        if not self._task.trains:
            draft.missing(["first_step_seconds"], COMPILED_BEFORE)
        self._record_nfe(steps)

    def memory(self) -> None:
        """Take the shared step again under the memory meter."""
        experiment = self._experiment
        batch = self._shared.restore(experiment)
        counter = NfeCounter(self._budget, count_vjps=True)
        unseen = self._unseen()
        with self._solve.using(counter), MemoryMeter(step_tensors(experiment, batch), self._device, unseen) as meter:
            again = training_step(experiment, batch, counter, meter.mark)
        figures, reasons = meter.figures()
        if self._has_ode and self._task.trains:
            self.draft.costs["vjp_calls"] = counter.vjp
            if "vjp_calls" in unseen:
                self.draft.missing(["vjp_calls"], unseen["vjp_calls"])
        self.draft.costs |= figures
        self.draft.reasons |= reasons
        if experiment.optimizer is None:
            self.draft.missing(["saved_bytes"], NO_TRAINING)
        self.draft.passes_agree = self._shared_step.agrees(again)

    def numerics(self) -> None:
        """Errors of solution and gradient against float64; then metrics over tolerances."""
        names = ["solution_error", "gradient_error", "gradient_cosine"]
        if not self._has_ode:
            self.draft.missing([*names, "reverse_error"], NO_ODE)
            return
        self._probe_batch()
        self._probe()
        if self._task.trains:
            self._profile()
        else:
            self.draft.missing(names[1:], NO_TRAINING)
        if self._device.type == "mps":
            self.draft.missing(names, "the device mps has no float64 for a reference")
            return
        self._check_shared_forward()
        rtol = self._solve.control.rtol
        if rtol is not None and rtol < 10 * (self._task.reference.rtol or 0):
            self.draft.missing(names, "the trial's tolerance is as tight as the reference's")
            return
        for trait, observed in self.draft.traits.items():
            if not trait.is_repeatable:
                message = f"the field is {trait}, so that it has no reference: {observed}"
                self.draft.missing(names, Reason(code=ReasonCode.RANDOM_FIELD, message=message))
                return
        try:
            self._errors()
        except Exception as error:
            unknown = [name for name in names if name not in self.draft.costs]
            self.draft.missing(unknown, self._no_reference(error))

    def foresee(self) -> float:
        """Seconds that all the passes would take, from two steps and one evaluation; training may change them."""
        experiment, watch = self._experiment, Stopwatch(self._device, warm_up=1)
        batches = experiment.batches(0)
        steps = min(3, experiment.steps_per_epoch)
        for i in range(steps):
            watch.start()
            batch = next_batch(batches, i, experiment)
            watch.mark("data")
            training_step(experiment, batch, self._solve.counter, watch.mark)
        began = time.perf_counter()
        self._close_epoch(0, {}, metrics=True)
        evaluation = time.perf_counter() - began
        profiled = max(len(PROFILE_TOLERANCES), len(PROFILE_REFINEMENTS)) if self._has_ode else 0
        taken = experiment.epochs * experiment.steps_per_epoch + STEPS_BESIDE_TRAINING
        return taken * watch.last_step + (experiment.epochs + profiled) * evaluation

    # --- parts of the timed pass

    @property
    def _metric_names(self) -> set[str]:
        return set(self.draft.history[-1]) - _HISTORY_NAMES

    def _close_epoch(self, epoch: int, figures: Row, metrics: bool) -> None:
        """Add to the figures of an epoch what is evaluated between epochs, under a counter of its own."""
        experiment = self._experiment
        row: Row = {"epoch": epoch, **figures}
        with self._evaluating(observe=self._observe_field if epoch == 0 else None) as counter:
            if self._has_ode:
                experiment.loss(experiment.model, experiment.probe)
                row["nfe_probe"] = None if counter.blind else counter.forward
            if metrics:
                row |= numbers_of(experiment.metrics(experiment.model))
        self.draft.history.append(row)
        self._report(row, self._pictures(epoch))

    def _pictures(self, epoch: int) -> Film:
        """What the model makes of the task's examples, for the figures; nothing between frames."""
        experiment = self._experiment
        if epoch % math.ceil(experiment.epochs / FRAMES) and epoch != experiment.epochs:
            return {}
        try:
            with self._evaluating():
                picture = experiment.picture(experiment.model)
        except Exception as error:
            self.draft.reasons.setdefault("figures", f"epoch {epoch}: {self._survivable(error)}")
            return {}
        return {} if picture is None else {epoch: picture}

    @contextmanager
    def _evaluating(
        self,
        control: StepControl | None = None,
        adapter: SolverAdapter | None = None,
        observe: Observer | None = None,
    ) -> Iterator[NfeCounter]:
        """Evaluation mode, without gradients, under a counter of its own that is yielded."""
        model, counter = self._experiment.model, NfeCounter(self._budget)
        control = control or replace(self._solve.control, gradient=None)
        model.eval()
        try:
            with torch.no_grad(), self._solve.using(counter, control, adapter, observe=observe):
                yield counter
        finally:
            model.train()

    def _observe_field(self, vector_field: nn.Module, y0: Tensor, times: Tensor) -> None:
        """Find out, before the first solve, whether the field can be evaluated twice at one point."""
        if not self._observed:
            self._observed = True
            self._find_traits(repeatability, vector_field, times[0], y0)

    def _find_traits(
        self, find: Callable[[nn.Module, Tensor, Tensor], Traits], vector_field: nn.Module, t: Tensor, y: Tensor
    ) -> None:
        """Add the traits that evaluations beside the training show; where these fail the traits stay unknown."""
        try:
            self.draft.traits |= find(vector_field, t, y)
        except Exception as error:
            self.draft.reasons["traits"] = f"an evaluation beside the training failed: {self._survivable(error)}"

    def _record_nfe(self, steps: list[Step]) -> None:
        draft = self.draft
        if not self._has_ode:
            draft.missing(["nfe_forward", "sample_evaluations", "nfe_backward", "vjp_calls"], NO_ODE)
            return
        draft.costs |= self._mean_nfe(steps)
        draft.costs["sample_evaluations"] = fmean(step.samples for step in steps)
        unseen = self._unseen()
        if self._solve.counter.blind:
            draft.missing(["nfe_forward", "sample_evaluations"], UNCOUNTED)
        if self._trial.gradient is None:
            draft.missing(["nfe_backward", "vjp_calls"], NO_TRAINING)
        elif self._trial.gradient is Gradient.DIRECT:
            draft.missing(["nfe_backward"], "direct solves nothing backwards")
        elif "nfe_backward" in unseen:
            draft.missing(["nfe_backward"], unseen["nfe_backward"])

    def _mean_nfe(self, steps: list[Step]) -> Row:
        """Mean evaluations of a step, in the directions that are solved."""
        if not self._has_ode:
            return {}
        solves_backward = self._trial.gradient not in (None, Gradient.DIRECT)
        seen_backward = solves_backward and "nfe_backward" not in self._unseen()
        return {
            "nfe_forward": None if self._solve.counter.blind else fmean(step.nfe_forward for step in steps),
            "nfe_backward": fmean(step.nfe_backward for step in steps) if seen_backward else None,
        }

    def _unseen(self) -> Mapping[str, str]:
        """Figures that no meter can see, with the reasons."""
        return self._solve.adapter.unseen(self._solve.control) if self._has_ode else {}

    # --- parts of the numerics pass

    def _probe_batch(self) -> None:
        """Find out whether the field can be evaluated at a batch of another size."""
        trace: Trace = []
        try:
            with self._evaluating(), self._solve.using(NfeCounter(self._budget), trace=trace):
                self._experiment.loss(self._experiment.model, self._experiment.probe)
        except Exception as error:
            self.draft.reasons["traits"] = self._failed_probe(error)
        if trace:
            vector_field, y0, times, _ = trace[0]
            self._find_traits(batch_dependence, vector_field, times[0], y0)

    def _probe(self) -> None:
        """What the solves of the probe batch say about the solver."""
        experiment, solve, trial = self._experiment, self._solve, self._trial
        probes: dict[str, Callable[[Trace], float | None]] = {"reverse_error": partial(reverse_error, solve)}
        if trial.batching is Batching.EACH:
            self.draft.missing(["joint_over_single"], "each sample steps on its own")
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
                self.draft.missing([name], self._failed_probe(error))
                continue
            self.draft.costs[name] = found
            if found is None:
                self.draft.reasons[name] = "no batch that could be solved one by one"

    def _check_shared_forward(self) -> None:
        """Take the forward half of the shared step again; loss and NFE must agree with the training."""
        experiment, counter = self._experiment, self._solve.counter
        trained = copy.deepcopy(experiment.model.state_dict())
        batch = self._shared.restore(experiment)
        counter.begin_forward()
        with torch.no_grad():
            loss = experiment.loss(experiment.model, batch).item()
        experiment.model.load_state_dict(trained)
        again = Step(loss, counter.forward, self._shared_step.nfe_backward)
        self.draft.passes_agree = bool(self.draft.passes_agree) and self._shared_step.agrees(again)

    def _errors(self) -> None:
        """Compare solution and gradient on the probe batch with the reference, at the trained weights."""
        budget = replace(self._budget, max_nfe=REFERENCE_MAX_NFE)
        reference = Reference(self._experiment, self._solve, self._task.reference, self._budget, budget)
        trained = reference.solve_as_trained(differentiate=self._task.trains)
        self.draft.costs["solution_error"] = reference.solution_error(trained)
        if self._task.trains:
            self.draft.costs |= reference.gradient_errors(trained)

    def _profile(self) -> None:
        """The trained network solved otherwise than it was trained: metrics and NFE over tolerance or step.

        What was trained with fixed steps is solved by an adaptive method too, whose row has a tolerance.
        """
        control, method = self._solve.control, find_solver(self._trial.solver or "")[2]
        if method.adaptive:
            assert control.rtol is not None
            assert control.atol is not None
            ratio = control.atol / control.rtol
            settings: list[dict[str, Any]] = [{"rtol": tol, "atol": tol * ratio} for tol in PROFILE_TOLERANCES]
        else:
            step = control.step_size or self._output_interval()
            settings = [{"step_size": step / finer} for finer in PROFILE_REFINEMENTS]
        for changes in settings:
            self._profiled(changes, replace(control, gradient=None, **changes), self._solve.adapter)
        if not method.adaptive:
            adapter, _, _ = find_solver(PROFILE_ADAPTIVE.method)
            tolerance = {"rtol": PROFILE_ADAPTIVE.rtol, "atol": PROFILE_ADAPTIVE.atol}
            self._profiled(tolerance, PROFILE_ADAPTIVE, adapter)

    def _profiled(self, setting: Mapping[str, float | None], control: StepControl, adapter: SolverAdapter) -> None:
        """Add a row to the profile."""
        with self._evaluating(control, adapter) as counter:
            try:
                metrics = numbers_of(self._experiment.metrics(self._experiment.model))
            except Exception as error:
                metrics = dict.fromkeys(self._metric_names)
                self.draft.reasons.setdefault("profile", f"{setting}: {self._survivable(error)}")
        nfe = None if counter.blind else counter.forward / max(counter.solves, 1)
        self.draft.profile.append({**setting, "nfe": nfe, **metrics})

    def _failed_probe(self, error: Exception) -> Reason:
        """Why a probe gave nothing: its solve failed, which says something of the solver, or something else did."""
        failed = self._survivable(error)
        if isinstance(failed, SolveFailed):
            return Reason(code=ReasonCode.PROBE_FAILED, message=f"the probe failed: {failed}")
        return Reason(code=ReasonCode.OTHER, message=f"an exception ended the probe: {failed}")

    def _no_reference(self, error: Exception) -> Reason:
        """Why there are no errors."""
        if isinstance(error, NoCopy):
            return Reason(code=ReasonCode.NO_REFERENCE, message=f"the field has no float64 copy: {error}")
        message = f"the probe or its float64 reference failed: {self._survivable(error)}"
        return Reason(code=ReasonCode.NO_REFERENCE, message=message)

    def _survivable(self, error: Exception) -> SolveFailed | str:
        """What ended something optional, which leaves a gap; only the time limit ends the trial.

        A failed solve, or else the type and the first line of the exception.
        """
        failure = self._solve.failure(error)
        if failure is not None and failure.status is Status.TIMEOUT:
            raise error
        return failure or f"{type(error).__name__}: {first_line(error)}"

    def _output_interval(self) -> float:
        """The step that a fixed-step method takes when none is given."""
        trace: Trace = []
        with torch.no_grad(), self._solve.using(NfeCounter(self._budget), trace=trace):
            self._experiment.loss(self._experiment.model, self._experiment.probe)
        times = trace[0][2]
        return float((times[1] - times[0]).abs())


_HISTORY_NAMES = {"epoch", "loss", "seconds", "nfe_forward", "nfe_backward", "nfe_probe"}
