"""``toy/crossing``: the map x to −x on a line, for which the paths of a flow would have to cross."""

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from nodebench.models.point_networks import Leading
from nodebench.solvers import StepControl
from nodebench.spec import Gradient, Preset
from nodebench.spec.trajectories import Trajectories
from nodebench.tasks.contract import Batch, Experiment, Setup, Task
from nodebench.tasks.points import DUPONT, FAMILIES, Labelled, PointOptions, PointsFit, family

TEST_POINTS = 201


class CrossingOptions(PointOptions):
    """Options of ``toy/crossing``."""

    train_points: int = Field(1000, ge=1)


class Crossing(Task):
    """Learn to map each x of [−1, 1] to −x, with no layer after the flow.

    The flow of a field on a line preserves the order of points (Dupont et al. 2019, proposition 1, with the two points
    ±1). Among the maps that preserve the order, the constant 0 is the closest to −x: on symmetric test points, none of
    these maps has a ``map_error`` below 1. A residual network, whose steps are finite, represents the map exactly.
    """

    name = "toy/crossing"
    about = "the map x to −x on a line, where the paths of a flow would have to cross"
    source = f"{DUPONT}, section 3.1"
    models = FAMILIES
    options = CrossingOptions
    presets = {
        Preset.SMOKE: CrossingOptions(epochs=1, train_points=128),
        Preset.QUICK: CrossingOptions(epochs=30),
        Preset.PAPER: CrossingOptions(epochs=30),
    }
    gradient = Gradient.DIRECT
    rtol = atol = 1e-3
    step_size = 0.25
    reference = StepControl(method="dopri8", rtol=1e-10, atol=1e-10, land_on_outputs=True)
    headlines = ("map_error",)
    brief = {"epochs": 1}

    def build(self, setup: Setup) -> Experiment:
        """Build the training."""
        return _Fit(setup)


def _mapped(points: Tensor) -> Labelled:
    return points, -points


class _Fit(PointsFit):
    def __init__(self, setup: Setup) -> None:
        options: CrossingOptions = setup.options
        random = torch.Generator().manual_seed(setup.seed + 2**32)
        train = 2 * torch.rand(options.train_points, 1, generator=random, dtype=torch.float64) - 1
        test = torch.linspace(-1, 1, TEST_POINTS, dtype=torch.float64).unsqueeze(1)
        super().__init__(
            setup,
            "crossing",
            _mapped(train),
            _mapped(test),
            lambda solve: family(setup, solve, 1, lambda _: Leading(1)),
        )

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The smooth L1 loss of the authors' code, and penalties."""
        points, targets = batch
        return functional.smooth_l1_loss(model(points), targets) + self._solve.take_penalty()

    def metrics(self, model: nn.Module) -> dict[str, float | None]:
        """Relative error of the map, and the loss, on test points."""
        points, targets = self.test
        output = model(points)
        return {
            "map_error": ((output - targets).norm() / targets.norm()).item(),
            "test_loss": functional.smooth_l1_loss(output, targets).item(),
        }

    def picture(self, model: nn.Module) -> Trajectories:
        """The map: outputs over inputs."""
        points, targets = self.test

        def column(values: Tensor) -> Tensor:
            return values[None].double().cpu()

        return Trajectories(
            times=points[:, 0].double().cpu().numpy(),
            true=column(targets).numpy(),
            fitted=column(model(points)).numpy(),
            observed_times=column(self.points[:50])[..., 0].numpy(),
            observed=column(self.targets[:50]).numpy(),
            trained=(-1.0, 1.0),
            time_label="input x",
            labels=("output",),
        )
