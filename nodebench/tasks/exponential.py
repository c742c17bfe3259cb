"""``toy/exponential``: x' = 1 - x against its closed form. Nothing is trained."""

import math
from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor, nn

from nodebench.models.fields import RelaxationField
from nodebench.solvers import StepControl
from nodebench.spec import Preset
from nodebench.tasks.contract import Batch, Experiment, ModelInfo, Options, Setup, Task
from nodebench.tasks.solving import FinalState, SolvingExperiment

# Relative errors below this come from rounding, not from the method.
ROUNDING = 2e-13


class ExponentialOptions(Options):
    """Options of ``toy/exponential``."""

    solves: int = Field(20, ge=1)  # timed solves
    span: float = Field(4.0, gt=0)  # length of the time interval
    x0: float = 3.0


class Exponential(Task):
    """Accuracy and observed order of a solver on a problem with a known solution."""

    name = "toy/exponential"
    about = "solve x' = 1 - x, compare with the closed form; observed order of the method"
    source = "the Breakdown article's analytic example"
    models = {"exact": ModelInfo("the field itself; nothing is trained", "x(t) = 1 + (x0 - 1) exp(-t)")}
    options = ExponentialOptions
    presets = {
        Preset.SMOKE: ExponentialOptions(solves=5),
        Preset.QUICK: ExponentialOptions(),
    }
    rtol, atol = 1e-7, 1e-9
    step_size = 0.125
    reference = StepControl(method="dopri8", rtol=1e-12, atol=1e-12, land_on_outputs=True)
    headlines = ("observed_order",)
    trains = False

    def build(self, setup: Setup) -> Experiment:
        """Build the experiment, which only solves."""
        return _ExponentialExperiment(setup)


class _ExponentialExperiment(SolvingExperiment):
    def __init__(self, setup: Setup) -> None:
        options: ExponentialOptions = setup.options
        self._solve = setup.solve
        self._span = options.span
        model = FinalState(RelaxationField(), setup.solve)
        super().__init__(setup, model, torch.tensor([options.x0]), torch.tensor([0.0, options.span]))
        self._x0, self._times = self.probe

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        return self._relative_error(model(*batch))

    def metrics(self, model: nn.Module) -> dict[str, float | None]:
        return {"observed_order": self._observed_order(model)}

    def _relative_error(self, x_end: Tensor) -> Tensor:
        exact = RelaxationField().solution(self._x0.double(), self._times.double())[-1]
        return ((x_end.double() - exact) / exact).abs().max()

    def _observed_order(self, model: nn.Module) -> float | None:
        """Slope of log error over log step size, from the two smallest steps whose error exceeds rounding.

        The solves use float64 for every dtype of the trial, since the order belongs to the method. An adaptive method
        takes constant steps. The order is None for a method of variable order, and for an adaptive method that cannot
        take constant steps. ``dopri8`` shows order 10 here: on a linear field, its error term of order 9 is 0.13 % of
        the exponential's.
        """
        control, adapter = self._solve.control, self._solve.adapter
        method = adapter.methods()[control.method]
        if method.order is None or (method.adaptive and not adapter.holds_steps):
            return None
        x0 = self._x0.double()
        times = self._times.double()
        errors: list[float] = []
        for halvings in range(1, 12):
            step = self._span / 2**halvings
            with self._solve.using(self._solve.counter, replace(control, step_size=step)):
                errors.append(self._relative_error(model(x0, times)).item())
            if errors[-1] < ROUNDING:
                errors.pop()
                break
        if len(errors) < 2:
            return None
        return math.log2(errors[-2] / errors[-1])
