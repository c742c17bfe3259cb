"""The passes of a trial: timed training, memory of one step, numerics, and two arms interleaved.

The last training step is the step that they share. The state before it is kept, and the memory and numerics passes
take it again. If loss or NFE differ, the meters have disturbed what they measure.
"""

import copy
import math
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import fmean

import numpy as np
import torch
from torch import Tensor, nn

from nodebench.instruments import Budget, MemoryMeter, NfeCounter, Stopwatch
from nodebench.run.gaps import failed_probe, no_reference, survived
from nodebench.run.interleaved import interleave
from nodebench.run.metrics import numbers_of
from nodebench.run.probes import joint_over_single, residual_error, reverse_error
from nodebench.run.profile import Setting, adaptive_settings, fixed_settings, tight
from nodebench.run.random_state import RandomState
from nodebench.run.reference import Reference
from nodebench.run.step import Checkpoint, Step, next_batch, step_tensors, training_step
from nodebench.run.traits import Traits, batch_dependence, repeatability
from nodebench.solvers import Integrator, Observer, SolverAdapter, StepControl, Trace, find_solver
from nodebench.spec import Batching, DataSource, Gradient, Interleaved, Pass, Reason, ReasonCode, SolveFailed, Trial
from nodebench.spec.trajectories import Film
from nodebench.tasks import Experiment, Task

Row = dict[str, float | None]
Figures = dict[str, int | float | None]

# The reference of the numerics pass gives up beyond this many evaluations. Its direct gradient holds them all; where
# nothing is trained there is none, and a stiff batch takes many.
REFERENCE_MAX_NFE = 2_000
REFERENCE_MAX_NFE_UNTRAINED = 200_000

# Pictures of a training, at most: enough for an animation.
FRAMES = 20

# What the memory and numerics passes cost, in training steps: a guess for estimates alone.
STEPS_BESIDE_TRAINING = 15

NO_ODE = "the model has no ODE"
UNDEFINED = "the task does not define it for this trial"
COMPILED_BEFORE = "the evaluation before it has solved the same, and compiled what it needs"
UNCOUNTED = "the library does not tell the evaluations of its implicit method's inner iteration"
NO_TRAINING = "the task trains nothing"

# The figures of the passes that a study may leave out.
FIGURES_OF = {
    Pass.MEMORY: ("vjp_calls", "tensor_peak_bytes", "saved_bytes", "process_peak_bytes", "accelerator_peak_bytes"),
    Pass.NUMERICS: ("solution_error", "gradient_error", "gradient_cosine", "reverse_error", "joint_over_single"),
}


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
    interleaved: Interleaved | None = None
    wrong: str | None = None

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
        if experiment.wrong is not None:
            packed = np.packbits(experiment.wrong.cpu().numpy())
            draft.wrong = b64encode(packed.tobytes()).decode()
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
        reference, reason = self._reference(), self._without_reference()
        if self._task.trains:
            self._profile(None if reason else reference)
        else:
            self.draft.missing(names[1:], NO_TRAINING)
        if self._device.type != "mps":
            self._check_shared_forward()
        if reason is None and self._is_tight(self._solve.control.rtol):
            message = "the trial's tolerance is as tight as the reference's"
            reason = Reason(code=ReasonCode.NO_REFERENCE, message=message)
        if reason is not None:
            self.draft.missing(names, reason)
            return
        try:
            self._errors(reference)
        except Exception as error:
            unknown = [name for name in names if name not in self.draft.costs]
            self.draft.missing(unknown, no_reference(self._solve, error))

    def interleaved(self, baseline: Trial, source: DataSource) -> None:
        """Train this trial and a baseline from their initial weights, in alternating blocks."""
        try:
            self.draft.interleaved = interleave(self._trial, baseline, source, self._budget)
        except Exception as error:
            failed = survived(self._solve, error)
            code = ReasonCode.PROBE_FAILED if isinstance(failed, SolveFailed) else ReasonCode.OTHER
            message = f"the interleaved pass failed: {failed}"
            self.draft.reasons["interleaved"] = Reason(code=code, message=message)

    def leave_out(self, one: Pass) -> None:
        """Say of the figures of a pass that it was not asked for."""
        unexplained = [name for name in FIGURES_OF[one] if name not in self.draft.reasons]
        message = f"the pass '{one}' was not asked for"
        self.draft.missing(unexplained, Reason(code=ReasonCode.NOT_REQUESTED, message=message))

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
        profiled = len(self._settings()) if self._has_ode and self._task.trains else 0
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
        if self._has_ode and self._task.trains and self._is_adaptive:
            row["nfe_probe_tight"] = self._tight_nfe()
        self.draft.history.append(row)
        self._report(row, self._pictures(epoch))

    def _tight_nfe(self) -> float | None:
        """Evaluations of the probe batch at a tight tolerance; None if its solve fails or is not counted.

        The random numbers of the training stay as they were.
        """
        state = RandomState.take(self._device)
        try:
            with self._evaluating(tight(self._solve.control)) as counter:
                self._experiment.loss(self._experiment.model, self._experiment.probe)
        except Exception as error:
            self.draft.reasons.setdefault("nfe_probe_tight", failed_probe(self._solve, error))
            return None
        finally:
            state.restore()
        return None if counter.blind else counter.forward

    def _pictures(self, epoch: int) -> Film:
        """What the model makes of the task's examples, for the figures; nothing between frames."""
        experiment = self._experiment
        if epoch % math.ceil(experiment.epochs / FRAMES) and epoch != experiment.epochs:
            return {}
        try:
            with self._evaluating():
                picture = experiment.picture(experiment.model)
        except Exception as error:
            self.draft.reasons.setdefault("figures", f"epoch {epoch}: {survived(self._solve, error)}")
            return {}
        return {} if picture is None else {epoch: picture}

    @contextmanager
    def _evaluating(
        self,
        control: StepControl | None = None,
        adapter: SolverAdapter | None = None,
        observe: Observer | None = None,
        trace: Trace | None = None,
    ) -> Iterator[NfeCounter]:
        """Evaluation mode, without gradients, under a counter of its own that is yielded."""
        model, counter = self._experiment.model, NfeCounter(self._budget)
        control = control or replace(self._solve.control, gradient=None)
        model.eval()
        try:
            with torch.no_grad(), self._solve.using(counter, control, adapter, trace, observe):
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
            self.draft.reasons["traits"] = f"an evaluation beside the training failed: {survived(self._solve, error)}"

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
            self.draft.reasons["traits"] = failed_probe(self._solve, error)
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
                self.draft.missing([name], failed_probe(self._solve, error))
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
        # Null where the memory pass was left out.
        self.draft.passes_agree = self.draft.passes_agree is not False and self._shared_step.agrees(again)

    def _reference(self) -> Reference:
        limit = REFERENCE_MAX_NFE if self._task.trains else REFERENCE_MAX_NFE_UNTRAINED
        budget = replace(self._budget, max_nfe=limit)
        return Reference(self._experiment, self._solve, self._task.reference, self._budget, budget)

    def _without_reference(self) -> Reason | None:
        """Why nothing can be compared with a reference here; None if it can."""
        if self._device.type == "mps":
            message = "the device mps has no float64 for a reference"
            return Reason(code=ReasonCode.NOT_OBSERVABLE, message=message)
        for trait, observed in self.draft.traits.items():
            if not trait.is_repeatable:
                message = f"the field is {trait}, so that it has no reference: {observed}"
                return Reason(code=ReasonCode.RANDOM_FIELD, message=message)
        return None

    def _is_tight(self, rtol: float | None) -> bool:
        """Whether a tolerance is as tight as the reference's, within a factor of ten."""
        return rtol is not None and rtol < 10 * (self._task.reference.rtol or 0)

    def _errors(self, reference: Reference) -> None:
        """Compare solution and gradient on the probe batch with the reference, at the trained weights."""
        trained = reference.solve_as_trained(differentiate=self._task.trains)
        self.draft.costs["solution_error"] = reference.solution_error(trained.trace)
        if self._task.trains:
            self.draft.costs |= reference.gradient_errors(trained)

    @property
    def _is_adaptive(self) -> bool:
        return find_solver(self._trial.solver or "")[2].adaptive

    def _settings(self) -> list[Setting]:
        """The ways in which the trained network is solved for the profile."""
        control, adapter = self._solve.control, self._solve.adapter
        if self._is_adaptive:
            return adaptive_settings(control, adapter, self._task.step_size)
        return fixed_settings(control, adapter, control.step_size or self._output_interval())

    def _profile(self, reference: Reference | None) -> None:
        """Solve the trained network otherwise than it was trained: metrics, NFE and error over tolerance or step."""
        for setting in self._settings():
            row = self._profiled(setting)
            if reference is not None and not self._is_tight(setting.control.rtol):
                try:
                    row["solution_error"] = self._profiled_error(setting, reference)
                except Exception as error:  # there is no reference, for this row or for any other
                    self.draft.reasons.setdefault("profile", no_reference(self._solve, error))
                    reference = None
            self.draft.profile.append(row)

    def _profiled(self, setting: Setting) -> Row:
        """One row of the profile, without its error."""
        with self._evaluating(setting.control, setting.adapter) as counter:
            try:
                metrics = numbers_of(self._experiment.metrics(self._experiment.model))
            except Exception as error:
                metrics = dict.fromkeys(self._metric_names)
                self.draft.reasons.setdefault("profile", f"{setting.keys}: {survived(self._solve, error)}")
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
                self.draft.reasons.setdefault("profile", failed_probe(self._solve, error))
                return None
            return reference.solution_error(trace[:])

    def _output_interval(self) -> float:
        """The step that a fixed-step method takes when none is given."""
        trace: Trace = []
        with torch.no_grad(), self._solve.using(NfeCounter(self._budget), trace=trace):
            self._experiment.loss(self._experiment.model, self._experiment.probe)
        times = trace[0][2]
        return float((times[1] - times[0]).abs())


_HISTORY_NAMES = {"epoch", "loss", "seconds", "nfe_forward", "nfe_backward", "nfe_probe", "nfe_probe_tight"}
