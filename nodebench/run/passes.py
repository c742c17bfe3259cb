"""The three passes of a trial: timed training, memory of one step, numerics.

The last training step is the step that they share. Its state is kept before it is taken, and the memory and
numerics passes take it again: loss and NFE must come out the same, or the meters have disturbed what they
measure.
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

from nodebench.instruments import Budget, MemoryMeter, NfeCounter, Stopwatch
from nodebench.run.probes import joint_over_single, residual_error, reverse_error
from nodebench.run.step import Checkpoint, Step, next_batch, step_tensors, training_step
from nodebench.solvers import Integrator, SolverAdapter, StepControl, Trace, find_solver
from nodebench.spec import Batching, Gradient, SolveFailed, Status, Trial
from nodebench.spec.trajectories import Film
from nodebench.tasks import Batch, Experiment, Task

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
    reasons: dict[str, str] = field(default_factory=dict)
    history: list[Row] = field(default_factory=list)
    profile: list[Row] = field(default_factory=list)
    passes_agree: bool | None = None

    def missing(self, names: Iterable[str], reason: str) -> None:
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
        self.draft = Draft()

    def timed(self) -> None:
        """Train, with nothing attached but the NFE counter and the stopwatch."""
        experiment, counter, draft = self._experiment, self._solve.counter, self.draft
        parameters = [p for p in experiment.model.parameters() if p.requires_grad]
        draft.metrics["parameters"] = sum(p.numel() for p in parameters)
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
        try:
            self._errors()
        except Exception as error:
            unknown = [name for name in names if name not in self.draft.costs]
            self.draft.missing(unknown, f"the probe or its float64 reference failed: {self._survivable(error)}")

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
        with self._evaluating() as counter:
            if self._has_ode:
                experiment.loss(experiment.model, experiment.probe)
                row["nfe_probe"] = None if counter.blind else counter.forward
            if metrics:
                row |= experiment.metrics(experiment.model)
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
        self, control: StepControl | None = None, adapter: SolverAdapter | None = None
    ) -> Iterator[NfeCounter]:
        """Evaluation mode, without gradients, under a counter of its own that is yielded."""
        model, counter = self._experiment.model, NfeCounter(self._budget)
        control = control or replace(self._solve.control, gradient=None)
        model.eval()
        try:
            with torch.no_grad(), self._solve.using(counter, control, adapter):
                yield counter
        finally:
            model.train()

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
                self.draft.missing([name], f"the probe failed: {self._survivable(error)}")
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
        experiment, solve, draft = self._experiment, self._solve, self.draft
        adapter, _, _ = find_solver(self._task.reference.method)
        budget = replace(self._budget, max_nfe=REFERENCE_MAX_NFE)
        control = replace(self._task.reference, gradient=Gradient.DIRECT)
        trace: Trace = []
        with solve.using(NfeCounter(self._budget), trace=trace):
            gradient = self._gradient(experiment.model, experiment.probe) if self._task.trains else None
            if gradient is None:
                with torch.no_grad():
                    experiment.loss(experiment.model, experiment.probe)
        differences, sizes = [], []
        with torch.no_grad(), solve.using(NfeCounter(budget), control, adapter):
            for vector_field, y0, times, states in trace:
                exact = solve(_double(vector_field), y0.double(), times.double())[-1]
                differences.append((states[-1].double() - exact).norm())
                sizes.append(exact.norm())
        draft.costs["solution_error"] = (torch.stack(differences).norm() / torch.stack(sizes).norm()).item()
        if gradient is None:
            return
        probe = tuple(part.double() if part.is_floating_point() else part for part in experiment.probe)
        with solve.using(NfeCounter(budget), control, adapter):
            exact = self._gradient(_double(experiment.model), probe)
        draft.costs["gradient_error"] = ((gradient - exact).norm() / exact.norm()).item()
        draft.costs["gradient_cosine"] = torch.nn.functional.cosine_similarity(gradient, exact, dim=0).item()

    def _gradient(self, model: nn.Module, batch: Batch) -> Tensor:
        """The full parameter gradient of the loss of a batch, flat, in float64."""
        model.zero_grad(set_to_none=True)
        loss = self._experiment.loss(model, batch)
        self._solve.counter.begin_backward()
        loss.backward()
        parameters = [p for p in model.parameters() if p.requires_grad]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        model.zero_grad(set_to_none=True)
        return torch.cat([gradient.double().reshape(-1) for gradient in gradients])

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
                metrics = self._experiment.metrics(self._experiment.model)
            except Exception as error:
                metrics = dict.fromkeys(self._metric_names)
                self.draft.reasons.setdefault("profile", f"{setting}: {self._survivable(error)}")
        nfe = None if counter.blind else counter.forward / max(counter.solves, 1)
        self.draft.profile.append({**setting, "nfe": nfe, **metrics})

    def _survivable(self, error: Exception) -> SolveFailed:
        """A failed solve beside the training leaves a gap; anything else, the time limit too, ends the trial."""
        failure = self._solve.failure(error)
        if failure is None or failure.status is Status.TIMEOUT:
            raise error
        return failure

    def _output_interval(self) -> float:
        """The step that a fixed-step method takes when none is given."""
        trace: Trace = []
        with torch.no_grad(), self._solve.using(NfeCounter(self._budget), trace=trace):
            self._experiment.loss(self._experiment.model, self._experiment.probe)
        times = trace[0][2]
        return float((times[1] - times[0]).abs())


_HISTORY_NAMES = {"epoch", "loss", "seconds", "nfe_forward", "nfe_backward", "nfe_probe"}


def _double(module: nn.Module) -> nn.Module:
    """A copy of a module in float64."""
    return copy.deepcopy(module).double()
