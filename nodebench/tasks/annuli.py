"""``toy/annuli``: separate a disc from the ring around it, which no flow of the plane can do exactly."""

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from nodebench.solvers import StepControl
from nodebench.spec import Gradient, Preset
from nodebench.spec.trajectories import Trajectories
from nodebench.tasks.contract import Batch, Experiment, Setup, Task
from nodebench.tasks.points import DUPONT, FAMILIES, Labelled, PointOptions, PointsFit, family

# Smallest and largest distance from the origin, for points with target −1 (inner) and 1 (outer).
INNER, OUTER = (0.0, 0.5), (1.0, 1.5)


class AnnuliOptions(PointOptions):
    """Options of ``toy/annuli``."""

    dimension: int = Field(2, ge=1)
    inner_points: int = Field(1000, ge=1)
    outer_points: int = Field(2000, ge=1)
    test_points: int = Field(999, ge=3)  # a third of them inner ones


class Annuli(Task):
    """``g(x) = −1`` for ``‖x‖ ≤ r₁`` and ``1`` for ``r₂ ≤ ‖x‖ ≤ r₃``: Dupont et al. 2019, section 4.

    A flow of the plane followed by a linear layer cannot represent g, since the image of the disc stays enclosed by
    the image of the ring. In practice, the flow approximates g with a field that is expensive to solve. The data, the
    network and the training are those of the authors' notebook, which trains the plain flow for 12 epochs and the
    augmented flow for 6.
    """

    name = "toy/annuli"
    about = "separate a disc from the ring around it: plain, augmented and second-order flows, and residual networks"
    source = f"{DUPONT}, section 4; the authors' notebook"
    models = FAMILIES
    options = AnnuliOptions
    presets = {
        Preset.SMOKE: AnnuliOptions(epochs=1, inner_points=64, outer_points=128, test_points=99),
        Preset.QUICK: AnnuliOptions(),
        Preset.PAPER: AnnuliOptions(),
    }
    gradient = Gradient.DIRECT
    rtol = atol = 1e-3
    step_size = 0.25
    reference = StepControl(method="dopri8", rtol=1e-10, atol=1e-10, land_on_outputs=True)
    headlines = ("test_error", "test_loss")
    brief = {"epochs": 1}

    def build(self, setup: Setup) -> Experiment:
        """Build the training."""
        return _Fit(setup)


def annulus(points: int, dimension: int, radii: tuple[float, float], random: torch.Generator) -> Tensor:
    """Draw points ``(N, D)`` in float64 between two distances from the origin, as the authors' code does.

    The distance is ``r₁ + (r₂ − r₁) u^(1/D)`` with u uniform on [0, 1): uniform over a disc, and only nearly so over a
    ring. Source: ``random_point_in_sphere``.
    """
    least, greatest = radii
    uniform = torch.rand(points, 1, generator=random, dtype=torch.float64)
    direction = torch.randn(points, dimension, generator=random, dtype=torch.float64)
    return (least + (greatest - least) * uniform ** (1 / dimension)) * direction / direction.norm(dim=1, keepdim=True)


def annuli(inner: int, outer: int, dimension: int, random: torch.Generator) -> Labelled:
    """Draw inner and outer points ``(N, D)`` with targets ``(N, 1)`` of −1 and 1."""
    points = [annulus(inner, dimension, INNER, random), annulus(outer, dimension, OUTER, random)]
    targets = torch.cat([-torch.ones(inner, 1), torch.ones(outer, 1)]).double()
    return torch.cat(points), targets


class _Fit(PointsFit):
    GRID: ClassVar[int] = 60  # points per axis of the plot
    SIDE: ClassVar[float] = 2.0

    def __init__(self, setup: Setup) -> None:
        options: AnnuliOptions = setup.options
        self._dimension = options.dimension
        inner, outer = options.test_points // 3, options.test_points - options.test_points // 3
        train = torch.Generator().manual_seed(setup.seed + 2**32)
        test = torch.Generator().manual_seed(2**33)  # one test set for all seeds
        super().__init__(
            setup,
            "annuli",
            annuli(options.inner_points, options.outer_points, options.dimension, train),
            annuli(inner, outer, options.dimension, test),
            lambda solve: family(setup, solve, options.dimension, lambda width: nn.Linear(width, 1)),
        )

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The smooth L1 loss of the authors' code, and penalties."""
        points, targets = batch
        return functional.smooth_l1_loss(model(points), targets) + self._solve.take_penalty()

    def metrics(self, model: nn.Module) -> dict[str, float | None]:
        """Percentage of test points whose output has the wrong sign, and the loss on the test points."""
        points, targets = self.test
        output = model(points)
        self.wrong = (output.sign() != targets)[:, 0]
        return {
            "test_error": 100 * self.wrong.double().mean().item(),
            "test_loss": functional.smooth_l1_loss(output, targets).item(),
        }

    def picture(self, model: nn.Module) -> Trajectories | None:
        """The output over the plane, and the test points; None if the points are not two-dimensional."""
        if self._dimension != 2:
            return None
        axis = torch.linspace(-self.SIDE, self.SIDE, self.GRID, dtype=torch.float64)
        x, y = torch.meshgrid(axis, axis, indexing="xy")
        points = self.test[0]
        grid = torch.stack([x, y], -1).reshape(-1, 2).to(points)
        nothing = np.full((1, 1, 2), np.nan)
        return Trajectories(
            times=np.zeros(1),
            true=nothing,
            fitted=nothing,
            observed_times=np.zeros((1, len(points))),
            observed=points[None].double().cpu().numpy(),
            trained=(0.0, 0.0),
            time_label="time",
            labels=("x₁", "x₂"),
            axes=torch.stack([axis, axis]).numpy(),
            surface=model(grid).reshape(self.GRID, self.GRID).double().cpu().numpy(),
        )
