"""Fit one observed trajectory of a known system: base experiment of the toys."""

from collections.abc import Callable, Iterator
from typing import ClassVar, Literal, NamedTuple, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from nodebench.models.systems import exact_states
from nodebench.models.trajectories import OwnTimes
from nodebench.solvers import Solve
from nodebench.solvers.precision import time_dtype
from nodebench.spec.trajectories import Trajectories
from nodebench.tasks.contract import Batch, Experiment, Setup
from nodebench.tasks.regularised import PenaltyOptions, regularised

HELD_OUT_STARTS = 8
FIELD_GRID = 20  # points per axis
FIELD_TIMES = 5


class FitOptions(PenaltyOptions):
    """Options of a toy; the defaults are the Breakdown article's."""

    epochs: int = Field(50, ge=1)
    steps_per_epoch: int = Field(100, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    # ``linear``: falls towards 0 with each epoch. At a constant rate, the noise of RMSprop limits the fit.
    schedule: Literal["constant", "linear"] = "constant"
    # Factor of the loss. RMSprop's steps do not depend on it; the effect of an adjoint's absolute tolerance does.
    loss_scale: float = Field(1.0, gt=0)
    span: float = Field(25.0, gt=0)  # of the trajectory
    points: int = Field(200, ge=2)  # of the trajectory, before any are dropped
    noise: float = Field(0.0, ge=0)  # standard deviation, relative to that of each component
    missing: float = Field(0.0, ge=0, lt=1)  # share of points dropped, at random
    irregular: bool = False  # random times instead of a regular grid
    training: Literal["windows", "trajectory"] = "windows"
    batch_size: int = Field(20, ge=1)  # windows
    window: int = Field(10, ge=2)  # consecutive observations per window
    # ``first``: each window is solved at the first times of the trajectory, as in the article and the demo.
    # A field that depends on time then receives wrong times.
    window_times: Literal["own", "first"] = "own"
    own_times: OwnTimes = "union"  # how windows with different times are solved in one batch

    def observations(self) -> int:
        """Return the number of points that are not dropped."""
        return max(2, round(self.points * (1 - self.missing)))

    @model_validator(mode="after")
    def _enough_points(self) -> Self:
        if self.training == "windows" and self.observations() <= self.window:
            raise ValueError(f"{self.observations()} observations are too few for a window of {self.window}")
        return self

    @model_validator(mode="after")
    def _penalties_need_one_solve(self) -> Self:
        if self.own_times != "union" and any(getattr(self, name) for name in PenaltyOptions.model_fields):
            raise ValueError("penalties need own_times=union: they are averaged along one solve of the whole batch")
        return self


class Observations(NamedTuple):
    """An observed trajectory: times ``(N,)`` and states ``(N, D)``, in float64."""

    times: Tensor
    states: Tensor


def observation_times(options: FitOptions, start: float, random: torch.Generator) -> Tensor:
    """Return observation times ``(N,)`` that begin with ``start``; irregular or with gaps if the options say so."""
    if options.irregular:
        times = start + options.span * torch.rand(options.points, generator=random, dtype=torch.float64).sort().values
        times[0] = start
    else:
        times = torch.linspace(start, start + options.span, options.points, dtype=torch.float64)
    kept = torch.randperm(options.points - 1, generator=random)[: options.observations() - 1].sort().values + 1
    return torch.cat([times[:1], times[kept]])


def observe(truth: Tensor, noise: float, random: torch.Generator) -> Tensor:
    """Add Gaussian noise to states ``(N, D)``, relative to the standard deviation of each component."""
    return truth + noise * truth.std(0) * torch.randn(truth.shape, generator=random, dtype=truth.dtype)


class TrajectoryFit(Experiment):
    """Fit a model to windows of one trajectory, or to the whole of it.

    Args:
        setup: setup of the trial.
        system: the true field, a module in float64.
        y0: the initial state ``(D,)``.
        start: the initial time.
        model: builds the model from the observations and the integrator; called after the seed is set.
    """

    beyond: ClassVar[float] = 0.5  # length of the tested extrapolation, in spans

    def __init__(
        self,
        setup: Setup,
        system: nn.Module,
        y0: Tensor,
        start: float,
        model: Callable[[Observations, Solve], nn.Module],
    ) -> None:
        options: FitOptions = setup.options
        self._options, self._system, self._start = options, system, start
        self._device, self._dtype = setup.device, setup.dtype
        self._time_dtype = time_dtype(setup.dtype)
        self.epochs, self.steps_per_epoch = options.epochs, options.steps_per_epoch
        random = torch.Generator().manual_seed(setup.seed + 2**32)  # the data do not depend on the training
        times = observation_times(options, start, random)
        truth = exact_states(system, y0, times)
        self.observations = Observations(times, observe(truth, options.noise, random))
        torch.manual_seed(setup.seed)
        self._solve = regularised(setup.solve, options)
        self.model = model(self.observations, self._solve).to(setup.device, setup.dtype)
        self.optimizer = torch.optim.RMSprop(self.model.parameters(), lr=options.learning_rate)
        self._order = torch.Generator().manual_seed(setup.seed)
        self.generators = {"order": self._order}
        self._evaluation = _Evaluation.of(system, y0, start, options, self.beyond)
        self.probe = self._batch(torch.Generator().manual_seed(0))

    def begin_epoch(self, epoch: int) -> None:
        """Set the learning rate."""
        assert self.optimizer is not None
        share = 1 - epoch / self.epochs if self._options.schedule == "linear" else 1.0
        for group in self.optimizer.param_groups:
            group["lr"] = self._options.learning_rate * share

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield batches of windows, drawn anew each time."""
        for _ in range(self.steps_per_epoch):
            yield self._batch(self._order)

    def _batch(self, order: torch.Generator) -> Batch:
        """Draw windows: initial states ``(B, D)`` and times ``(B, 1)``, elapsed times, and targets ``(B, W, D)``."""
        options, (times, states) = self._options, self.observations
        if options.training == "trajectory":
            starts, length = torch.zeros(1, dtype=torch.long), len(times)
        else:
            length = options.window
            starts = torch.randperm(len(times) - length, generator=order)[: options.batch_size]
        rows = starts.unsqueeze(1) + torch.arange(length)
        elapsed = times[rows] - times[starts].unsqueeze(1)
        begun = times[starts] if options.window_times == "own" else times[:1].expand(len(starts))
        start = self._placed_times(begun.unsqueeze(1))
        return self._placed(states[starts]), start, self._placed_times(elapsed), self._placed(states[rows])

    def _placed(self, states: Tensor) -> Tensor:
        return states.to(self._device, self._dtype)

    def _placed_times(self, times: Tensor) -> Tensor:
        return times.to(self._device, self._time_dtype)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean absolute error over the windows, and penalties, scaled."""
        y0, start, elapsed, targets = batch
        error = (model(y0, start, elapsed) - targets).abs().mean()
        return self._options.loss_scale * (error + self._solve.take_penalty())

    def metrics(self, model: nn.Module) -> dict[str, float | None]:
        """Errors against exact trajectories: over the span, beyond it, and from held-out initial states."""
        truth = self._evaluation
        predicted = self._predict(model, truth.states[:1], truth.times)
        inside = len(truth.times) - truth.beyond
        held_out = self._predict(model, truth.states[1:], truth.times[:inside])
        return {
            "trajectory_error": trajectory_error(predicted[:, :inside], truth.states[:1, :inside]),
            "extrapolation_error": trajectory_error(predicted[:, inside:], truth.states[:1, inside:]),
            "held_out_error": trajectory_error(held_out, truth.states[1:, :inside]),
            "field_error": self._field_error(model),
            "growth": float(truth.states[0, :inside].norm(dim=-1).max() / truth.states[0, 0].norm()),
            **self.metrics_of(predicted[0]),
        }

    def metrics_of(self, predicted: Tensor) -> dict[str, float | None]:
        """Further metrics of the predicted trajectory ``(T, D)``, in float64; none by default."""
        return {}

    @property
    def true_states(self) -> Tensor:
        """Exact states ``(T, D)`` of the observed trajectory over its span, in float64."""
        return self._evaluation.states[0, : len(self._evaluation.times) - self._evaluation.beyond]

    def _predict(self, model: nn.Module, states: Tensor, times: Tensor) -> Tensor:
        """Predict trajectories ``(N, T, D)`` in float64 from ``states`` at the first time."""
        start = torch.full((len(states), 1), self._start, dtype=torch.float64)
        elapsed = (times - self._start).expand(len(states), -1)
        return model(self._placed(states[:, 0]), self._placed_times(start), self._placed_times(elapsed)).double().cpu()

    def _field_error(self, model: nn.Module) -> float | None:
        """Relative L2 error of the learned field over the box of the true trajectory, and over the span's times."""
        learned = getattr(model, "field", None)
        if learned is None:
            return None
        _, points = self._grid()
        times = torch.linspace(self._start, self._start + self._options.span, FIELD_TIMES, dtype=torch.float64)
        errors, sizes = [], []
        for t in times:
            exact = self._system(t, points)
            found = learned(self._placed_times(t), self._placed(points)).double().cpu()
            errors.append((found - exact).norm())
            sizes.append(exact.norm())
        return float(torch.stack(errors).norm() / torch.stack(sizes).norm())

    def _grid(self, margin: float = 0.0) -> tuple[Tensor, Tensor]:
        """Axes ``(2, G)`` and points ``(G, G, 2)`` over the box of the true trajectory, x varying fastest."""
        low, high = self._evaluation.box(margin)
        steps = torch.linspace(0, 1, FIELD_GRID, dtype=torch.float64)
        axes = low.unsqueeze(1) + (high - low).unsqueeze(1) * steps
        x, y = torch.meshgrid(axes[0], axes[1], indexing="xy")
        return axes, torch.stack([x, y], -1)

    def picture(self, model: nn.Module) -> Trajectories:
        """The trajectory and its fit, over the span and beyond, and the learned field in the middle of the span."""
        truth, options = self._evaluation, self._options
        axes, points = self._grid(margin=0.15)
        learned, field = getattr(model, "field", None), np.empty((0, 0, 2))
        if learned is not None:
            middle = torch.tensor(self._start + options.span / 2)
            field = learned(self._placed_times(middle), self._placed(points)).double().cpu().numpy()
        return Trajectories(
            times=truth.times.numpy(),
            true=truth.states[:1].numpy(),
            fitted=self._predict(model, truth.states[:1], truth.times).numpy(),
            observed_times=self.observations.times[None].numpy(),
            observed=self.observations.states[None].numpy(),
            trained=(self._start, self._start + options.span),
            time_label="time",
            labels=("y₁", "y₂"),
            axes=axes.numpy(),
            field=field,
        )


def trajectory_error(predicted: Tensor, true: Tensor) -> float:
    """``mean|ŷ − y| / mean|y − ȳ|`` of ``(N, T, D)``, with ``ȳ`` the mean over time of each trajectory."""
    spread = (true - true.mean(1, keepdim=True)).abs().mean()
    return float((predicted - true).abs().mean() / spread)


class _Evaluation(NamedTuple):
    """Exact trajectories to test against.

    ``states`` ``(1 + HELD_OUT_STARTS, T, D)``: the first is the observed trajectory, continued beyond its
    span; the others have random initial states in its bounding box. The last ``beyond`` times lie outside the span.
    """

    times: Tensor
    states: Tensor
    beyond: int

    @classmethod
    def of(cls, system: nn.Module, y0: Tensor, start: float, options: FitOptions, spans: float) -> "_Evaluation":
        steps = options.points - 1
        beyond = int(spans * steps)
        times = start + options.span * torch.arange(steps + beyond + 1, dtype=torch.float64) / steps
        main = exact_states(system, y0, times).unsqueeze(0)
        low, high = _box(main[0, : steps + 1])
        uniform = torch.rand(HELD_OUT_STARTS, len(y0), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        others = exact_states(system, low + (high - low) * uniform, times[: steps + 1]).transpose(0, 1)
        unknown = torch.full((HELD_OUT_STARTS, beyond, len(y0)), torch.nan, dtype=torch.float64)
        return cls(times, torch.cat([main, torch.cat([others, unknown], 1)]), beyond)

    def box(self, margin: float) -> tuple[Tensor, Tensor]:
        """Low and high corner of the box around the observed trajectory, widened by ``margin`` times its size."""
        low, high = _box(self.states[0, : len(self.times) - self.beyond])
        return low - margin * (high - low), high + margin * (high - low)


def _box(states: Tensor) -> tuple[Tensor, Tensor]:
    return states.amin(0), states.amax(0)
