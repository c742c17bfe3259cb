"""The passes of a trial: timed training, memory of one step, numerics, and two arms interleaved.

The last training step is shared by all passes but the interleaved one. The state before it is kept, and the memory and
numerics passes repeat this step. If loss or NFE differ, the instruments have changed what they measure.
"""

import math
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from statistics import fmean

import numpy as np
import torch
from torch import Tensor, nn

from nodebench.instruments import Budget, MemoryMeter, NfeCounter, Stopwatch
from nodebench.solvers import Integrator, Observer, StepControl, find_solver
from nodebench.solvers.random_state import RandomState
from nodebench.spec import DataSource, FieldTrait, Gradient, Pass, Reason, ReasonCode, SolveFailed, Trial
from nodebench.spec.trajectories import Snapshots
from nodebench.tasks import Experiment, Task
from nodebench.trial.draft import NO_ODE, NO_TRAINING, Draft, Row
from nodebench.trial.draft_state import draft_state, set_draft, snapshots_of, snapshots_state
from nodebench.trial.evaluation import evaluating
from nodebench.trial.interleaved import interleave
from nodebench.trial.metrics import numbers_of
from nodebench.trial.missing_reasons import failure_of, probe_failure
from nodebench.trial.numerics import Numerics
from nodebench.trial.profile import tight
from nodebench.trial.saver import Saver
from nodebench.trial.step import Checkpoint, Step, next_batch, step_tensors, training_step
from nodebench.trial.training import Training
from nodebench.trial.training_state import State
from nodebench.trial.traits import repeatability

# Maximum number of snapshots of a training: enough for an animation.
FRAMES = 20

# Assumed cost of the memory and numerics passes, in training steps; used only for estimates.
STEPS_BESIDE_TRAINING = 15

UNDEFINED = Reason(code=ReasonCode.UNDEFINED, message="the task does not define it for this trial")
_COMPILED_BEFORE = Reason(
    code=ReasonCode.NOT_APPLICABLE,
    message="the evaluation before it already ran the same solve, including compilation",
)
_UNCOUNTED = Reason(
    code=ReasonCode.NOT_OBSERVABLE,
    message="the library does not report the evaluations of its implicit method's inner iteration",
)
_NO_BACKWARD_SOLVE = Reason(code=ReasonCode.NOT_APPLICABLE, message="direct has no backward solve")

# Metrics of the optional passes.
METRICS_OF = {
    Pass.MEMORY: ("vjp_calls", "tensor_peak_bytes", "saved_bytes", "process_peak_bytes", "accelerator_peak_bytes"),
    Pass.NUMERICS: ("solution_error", "gradient_error", "gradient_cosine", "reverse_error", "joint_over_single"),
}


class Passes:
    """One trial's experiment and the passes over it.

    Args:
        trial: the trial.
        task: task of the trial.
        experiment: experiment of the trial.
        solve: integrator of the experiment's model.
        budget: limits of each solve.
        report: called with each finished row of the history and the snapshots taken after it.
        saver: stores the state of the training at intervals; None if that is not wanted or not possible.

    Attributes:
        draft: results of the trial so far.
        snapshots: snapshots of the training.
    """

    def __init__(
        self,
        trial: Trial,
        task: Task,
        experiment: Experiment,
        solve: Integrator,
        budget: Budget,
        report: Callable[[Row, Snapshots], None],
        saver: Saver | None = None,
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
        self._saver = saver
        self._resumed: Training | None = None
        self.draft = Draft()
        self.snapshots: Snapshots = {}
        self._numerics = Numerics(trial, task, experiment, solve, budget, self.draft)

    def timed(self) -> None:
        """Train, with nothing attached but the NFE counter and the stopwatch."""
        experiment, draft = self._experiment, self.draft
        draft.metrics["parameters"] = sum(p.numel() for p in experiment.counted())
        training, self._resumed = self._resumed or self._new_training(), None
        for epoch in range(max(training.epoch, 0), experiment.epochs):
            self._train_epoch(training, epoch)
            of_epoch = training.steps[-experiment.steps_per_epoch :]
            seconds = training.watch.seconds_of(len(of_epoch))
            known: Row = {"loss": fmean(s.loss for s in of_epoch), "seconds": seconds}
            self._close_epoch(epoch + 1, known | self._mean_nfe(of_epoch), metrics=True)
        self._shared_step = training.steps[-1]
        draft.metrics |= {k: v for k, v in draft.history[-1].items() if k in draft.metric_names}
        draft.reasons |= {name: UNDEFINED for name, value in draft.metrics.items() if value is None}
        if experiment.wrong is not None:
            packed = np.packbits(experiment.wrong.cpu().numpy())
            draft.wrong = b64encode(packed.tobytes()).decode()
        draft.costs |= training.watch.summary()
        if not self._task.trains:
            draft.missing(["first_step_seconds"], _COMPILED_BEFORE)
        self._record_nfe(training.steps)

    def memory(self) -> None:
        """Take the shared step again under the memory meter."""
        experiment = self._experiment
        batch = self._shared.restore(experiment)
        counter = NfeCounter(self._budget, count_vjps=True)
        unseen = self._unseen()
        with self._solve.using(counter), MemoryMeter(step_tensors(experiment, batch), self._device, unseen) as meter:
            again = training_step(experiment, batch, counter, meter.mark)
        costs, reasons = meter.metrics()
        if self._has_ode and self._task.trains:
            self.draft.costs["vjp_calls"] = counter.vjp
            if "vjp_calls" in unseen:
                self.draft.missing(["vjp_calls"], _not_observable(unseen["vjp_calls"]))
        self.draft.costs |= costs
        self.draft.reasons |= {name: _not_observable(message) for name, message in reasons.items()}
        if experiment.optimizer is None:
            self.draft.missing(["saved_bytes"], NO_TRAINING)
        self.draft.passes_agree = self._shared_step.agrees(again)

    def numerics(self) -> None:
        """Probe the solver, solve the trained network with other settings, and compare it with a float64 reference."""
        self._numerics.run(self._shared, self._shared_step)

    def interleaved(self, baseline: Trial, source: DataSource) -> None:
        """Train this trial and a baseline from their initial weights, in alternating blocks."""
        try:
            self.draft.interleaved = interleave(self._trial, baseline, source, self._budget)
        except Exception as error:
            failed = failure_of(self._solve, error)
            code = ReasonCode.PROBE_FAILED if isinstance(failed, SolveFailed) else ReasonCode.OTHER
            message = f"the interleaved pass failed: {failed}"
            self.draft.reasons["interleaved"] = Reason(code=code, message=message)

    def leave_out(self, one: Pass) -> None:
        """Mark the metrics of a pass as not requested."""
        unexplained = [name for name in METRICS_OF[one] if name not in self.draft.reasons]
        message = f"the pass '{one}' was not asked for"
        self.draft.missing(unexplained, Reason(code=ReasonCode.NOT_REQUESTED, message=message))

    def foresee(self) -> float:
        """Estimate the seconds of all passes from the last of at most three training steps and one evaluation.

        The cost of a step may change during training.
        """
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
        profiled = len(self._numerics.settings()) if self._has_ode and self._task.trains else 0
        taken = experiment.epochs * experiment.steps_per_epoch + STEPS_BESIDE_TRAINING
        return taken * watch.last_step + (experiment.epochs + profiled) * evaluation

    def resume(self, state: State) -> None:
        """Continue the timed pass from a state that an earlier process of the trial has stored.

        Raises:
            Exception: the state is damaged, or does not fit the experiment; discard the experiment then.
        """
        training = Training(self._experiment, self._device, resumable=True)
        training.resume(state["training"])
        set_draft(self.draft, state["draft"])
        self.snapshots = snapshots_of(state["snapshots"])
        self._observed = True
        self._resumed = training

    # --- parts of the timed pass

    def _new_training(self) -> Training:
        self._close_epoch(0, {}, metrics=False)
        return Training(self._experiment, self._device, resumable=self._saver is not None)

    def _train_epoch(self, training: Training, epoch: int) -> None:
        """Take the steps of an epoch, or what is left of them in a training that was resumed."""
        experiment, watch = self._experiment, training.watch
        training.begin_epoch(epoch)
        while training.taken < experiment.steps_per_epoch:
            if self._saver is not None and self._saver.is_due():
                self._save(self._saver, training)
            watch.start()
            batch = training.draw()
            watch.mark("data")
            if epoch == experiment.epochs - 1 and training.taken == experiment.steps_per_epoch:
                self._shared = Checkpoint.take(experiment, batch)
                watch.resume()
            training.steps.append(training_step(experiment, batch, self._solve.counter, watch.mark))

    def _save(self, saver: Saver, training: Training) -> None:
        """Store the training, unless the field keeps its own state, which cannot be stored."""
        if FieldTrait.STATEFUL not in self.draft.traits:
            draft, snapshots = draft_state(self.draft), snapshots_state(self.snapshots)
            saver.save(lambda: {"training": training.state(), "draft": draft, "snapshots": snapshots})

    def _close_epoch(self, epoch: int, known: Row, metrics: bool) -> None:
        """Evaluate the model after an epoch, with a separate counter, and add the results to the epoch's row."""
        experiment = self._experiment
        row: Row = {"epoch": epoch, **known}
        with self._evaluating(observe=self._observe_field if epoch == 0 else None) as counter:
            if self._has_ode:
                experiment.loss(experiment.model, experiment.probe)
                row["nfe_probe"] = None if counter.blind else counter.forward
            if metrics:
                row |= numbers_of(experiment.metrics(experiment.model))
        if self._has_ode and self._task.trains and find_solver(self._trial.solver or "")[2].adaptive:
            row["nfe_probe_tight"] = self._tight_nfe()
        self.draft.history.append(row)
        pictures = self._pictures(epoch)
        self.snapshots |= pictures
        self._report(row, pictures)

    def _tight_nfe(self) -> float | None:
        """Evaluations of the probe batch at a tight tolerance; None if its solve fails or is not counted.

        The random numbers of the training stay as they were.
        """
        state = RandomState.take(self._device)
        try:
            with self._evaluating(tight(self._solve.control)) as counter:
                self._experiment.loss(self._experiment.model, self._experiment.probe)
        except Exception as error:
            self.draft.reasons.setdefault("nfe_probe_tight", probe_failure(self._solve, error))
            return None
        finally:
            state.restore()
        return None if counter.blind else counter.forward

    def _pictures(self, epoch: int) -> Snapshots:
        """Return a snapshot of the model's predictions on the task's examples; empty for epochs between frames."""
        experiment = self._experiment
        if epoch % math.ceil(experiment.epochs / FRAMES) and epoch != experiment.epochs:
            return {}
        try:
            with self._evaluating():
                picture = experiment.picture(experiment.model)
        except Exception as error:
            message = f"epoch {epoch}: {failure_of(self._solve, error)}"
            self.draft.reasons.setdefault("figures", Reason(code=ReasonCode.OTHER, message=message))
            return {}
        return {} if picture is None else {epoch: picture}

    def _evaluating(
        self, control: StepControl | None = None, observe: Observer | None = None
    ) -> AbstractContextManager[NfeCounter]:
        return evaluating(self._experiment.model, self._solve, self._budget, control, observe=observe)

    def _observe_field(self, vector_field: nn.Module, y0: Tensor, times: Tensor) -> None:
        """Check, before the first solve, whether two evaluations of the field at one point agree."""
        if not self._observed:
            self._observed = True
            self.draft.add_traits(partial(repeatability, vector_field, times[0], y0), self._solve)

    def _record_nfe(self, steps: list[Step]) -> None:
        draft = self.draft
        if not self._has_ode:
            draft.missing(["nfe_forward", "sample_evaluations", "nfe_backward", "vjp_calls"], NO_ODE)
            return
        draft.costs |= self._mean_nfe(steps)
        draft.costs["sample_evaluations"] = fmean(step.samples for step in steps)
        unseen = self._unseen()
        if self._solve.counter.blind:
            draft.missing(["nfe_forward", "sample_evaluations"], _UNCOUNTED)
        if self._trial.gradient is None:
            draft.missing(["nfe_backward", "vjp_calls"], NO_TRAINING)
        elif self._trial.gradient is Gradient.DIRECT:
            draft.missing(["nfe_backward"], _NO_BACKWARD_SOLVE)
        elif "nfe_backward" in unseen:
            draft.missing(["nfe_backward"], _not_observable(unseen["nfe_backward"]))

    def _mean_nfe(self, steps: list[Step]) -> Row:
        """Return the mean evaluations per step of the forward and the backward solve, if these exist."""
        if not self._has_ode:
            return {}
        solves_backward = self._trial.gradient not in (None, Gradient.DIRECT)
        seen_backward = solves_backward and "nfe_backward" not in self._unseen()
        return {
            "nfe_forward": None if self._solve.counter.blind else fmean(step.nfe_forward for step in steps),
            "nfe_backward": fmean(step.nfe_backward for step in steps) if seen_backward else None,
        }

    def _unseen(self) -> Mapping[str, str]:
        """Return the metrics that cannot be measured here, with the reasons."""
        return self._solve.adapter.unseen(self._solve.control) if self._has_ode else {}


def _not_observable(message: str) -> Reason:
    return Reason(code=ReasonCode.NOT_OBSERVABLE, message=message)
