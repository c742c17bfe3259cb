"""``toy/spiral``: learn a linear spiral from short windows of one trajectory."""

from collections.abc import Iterator
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from nodebench.models.fields import LinearField, MlpField
from nodebench.solvers import Integrator, StepControl
from nodebench.spec import Preset
from nodebench.tasks.contract import Batch, Experiment, ModelInfo, Options, Setup, Task


class SpiralOptions(Options):
    """Options of ``toy/spiral``; the defaults are the article's."""

    epochs: int = Field(50, ge=1)
    steps_per_epoch: int = Field(100, ge=1)
    points: int = Field(200, ge=2)  # of the trajectory
    span: float = Field(25.0, gt=0)
    batch_size: int = Field(20, ge=1)  # windows
    window: int = Field(10, ge=2)  # points a window
    learning_rate: float = Field(1e-3, gt=0)

    @model_validator(mode="after")
    def _enough_points(self) -> Self:
        if self.points < self.window + self.batch_size:
            raise ValueError("points must be at least window + batch_size")
        return self


class Spiral(Task):
    """The Breakdown article's first experiment, which follows torchdiffeq's ``examples/ode_demo.py``."""

    name = "toy/spiral"
    about = "fit the linear spiral with a 2–50–2 tanh network on random windows of 10 points"
    source = "the Breakdown article; torchdiffeq examples/ode_demo.py, without its cube"
    models = {"small": ModelInfo("2–50–2 tanh network", "torchdiffeq examples/ode_demo.py")}
    options = SpiralOptions
    presets = {
        Preset.SMOKE: SpiralOptions(epochs=2, steps_per_epoch=10),
        Preset.QUICK: SpiralOptions(epochs=10, learning_rate=5e-3),
        Preset.PAPER: SpiralOptions(),
    }
    rtol, atol = 1e-7, 1e-9
    step_size = None
    reference = StepControl(method="dopri8", rtol=1e-11, atol=1e-11, land_on_outputs=True)
    headline = "trajectory_error"

    def build(self, setup: Setup) -> Experiment:
        """Build the training on random windows."""
        return _WindowTraining(setup)


class _Trajectories(nn.Module):
    """States at the given times from the given starts."""

    def __init__(self, solve: Integrator) -> None:
        super().__init__()
        self.field = MlpField((2, 50, 2))
        self.solve = solve

    def forward(self, y0: Tensor, times: Tensor) -> Tensor:
        return self.solve(self.field, y0, times)


class _WindowTraining(Experiment):
    MATRIX = ((-0.1, 2.0), (-2.0, -0.1))
    START = (2.0, 0.0)

    def __init__(self, setup: Setup) -> None:
        options: SpiralOptions = setup.options
        self._options = options
        self.epochs, self.steps_per_epoch = options.epochs, options.steps_per_epoch
        times = torch.linspace(0, options.span, options.points, dtype=torch.float64)
        truth = LinearField(self.MATRIX).solution(torch.tensor(self.START, dtype=torch.float64), times)
        self._times = times.to(setup.device, setup.dtype)
        self._truth = truth.to(setup.device, setup.dtype)
        torch.manual_seed(setup.seed)
        self.model = _Trajectories(setup.solve).to(setup.device, setup.dtype)
        self.optimizer = torch.optim.RMSprop(self.model.parameters(), lr=options.learning_rate)
        self._order = torch.Generator().manual_seed(setup.seed)
        probe_order = torch.Generator().manual_seed(0)
        self.probe = self._windows(probe_order)

    def batches(self, epoch: int) -> Iterator[Batch]:
        for _ in range(self.steps_per_epoch):
            yield self._windows(self._order)

    def _windows(self, order: torch.Generator) -> Batch:
        """Draw windows: starts ``(B, 2)``, times ``(W,)``, targets ``(W, B, 2)``.

        Every window is solved at the *first* times, as the demo does; the field is autonomous, so nothing
        is lost.
        """
        size, window = self._options.batch_size, self._options.window
        starts = torch.randperm(len(self._times) - window, generator=order)[:size].to(self._truth.device)
        targets = torch.stack([self._truth[starts + i] for i in range(window)])
        return targets[0], self._times[:window], targets

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean absolute error over the windows."""
        start, times, targets = batch
        return (model(start, times) - targets).abs().mean()

    def metrics(self, model: nn.Module) -> dict[str, float | None]:
        """Error of the whole trajectory from its start."""
        predicted = model(self._truth[0], self._times)
        spread = (self._truth - self._truth.mean(0)).abs().mean()
        return {"trajectory_error": ((predicted - self._truth).abs().mean() / spread).item()}
