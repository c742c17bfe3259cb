"""Learn a function of points: base experiment of ``toy/spheres``, ``toy/annuli`` and ``toy/crossing``."""

from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from nodebench.models.point_networks import augmented, point_flow, residual_chain, second_order_flow
from nodebench.solvers import Solve
from nodebench.spec import Gradient
from nodebench.spec.record import DataCard
from nodebench.tasks.contract import Batch, Experiment, ModelInfo, Setup
from nodebench.tasks.regularised import RegularisedOptions, regularised

DUPONT = "Dupont et al. 2019, arXiv 1904.01681"
_CODE = f"{DUPONT}, the authors' notebook"
_NO_ODE: frozenset[Gradient] = frozenset()

FAMILIES = {
    "odenet": ModelInfo("the flow of a field on the points themselves", _CODE),
    "augmented": ModelInfo("the same with extra dimensions that start at 0", _CODE),
    "resnet": ModelInfo("four residual blocks; no ODE", f"{DUPONT}, section 3", _NO_ODE),
    "resnet-augmented": ModelInfo("four residual blocks with the same extra dimensions; no ODE", "a control", _NO_ODE),
    "second-order": ModelInfo(
        "a second-order field; the initial velocity is learned",
        "Norcliffe et al. 2020, arXiv 2006.07220, section 5; the authors' code",
    ),
    "heavy-ball": ModelInfo(
        "a damped second-order field; the initial velocity is learned", "Xia et al. 2021, arXiv 2110.04840, section 3"
    ),
}
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "softplus": nn.Softplus}

Labelled = tuple[Tensor, Tensor]  # points (N, D) in float64, and their targets (N, ...)


class PointOptions(RegularisedOptions):
    """Options of the tasks that compare families of flows; the defaults are those of the authors' notebook."""

    epochs: int = Field(12, ge=1)
    batch_size: int = Field(64, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    hidden: int = Field(32, ge=1)  # width of the two hidden layers
    activation: Literal["relu", "softplus"] = "relu"
    extra: int = Field(1, ge=0)  # dimensions of the augmented models


def family(setup: Setup, solve: Solve, dimension: int, read: Callable[[int], nn.Module]) -> nn.Module:
    """Build a model of ``FAMILIES`` for points of a given dimension.

    Args:
        setup: setup of the trial, with ``PointOptions``.
        solve: integrator of the flow.
        dimension: dimension of the points.
        read: builds the readout layer for a state of a given dimension.
    """
    options: PointOptions = setup.options
    rest = options.hidden, ACTIVATIONS[options.activation]
    if setup.model in ("second-order", "heavy-ball"):
        flow = second_order_flow(dimension, *rest, solve, heavy_ball=setup.model == "heavy-ball")
        return nn.Sequential(flow, read(dimension))
    extra = options.extra if "augmented" in setup.model else 0
    width = dimension + extra
    inner = residual_chain(width, *rest) if "resnet" in setup.model else point_flow(width, *rest, solve)
    return nn.Sequential(augmented(extra, inner), read(width))


class PointsFit(Experiment):
    """Learn the targets of points with Adam, in whole batches.

    Args:
        setup: setup of the trial; its options include ``epochs``, ``batch_size``, ``learning_rate`` and the penalties.
        name: name of the data.
        train: training points and targets.
        test: test points and targets.
        network: builds the model from its integrator; called after the seed is set.
        falling: whether the learning rate falls linearly to 0 over the training.
    """

    def __init__(
        self,
        setup: Setup,
        name: str,
        train: Labelled,
        test: Labelled,
        network: Callable[[Solve], nn.Module],
        falling: bool = False,
    ) -> None:
        options = setup.options
        self._batch_size, self._rate, self._falling = options.batch_size, options.learning_rate, falling
        self.points, self.targets = self._placed(setup, train)
        self.test = self._placed(setup, test)
        digest = sha256(b"".join(part.numpy().tobytes() for part in (*train, *test)))
        self.data = DataCard(name=name, train=len(train[1]), test=len(test[1]), sha256=digest.hexdigest())
        torch.manual_seed(setup.seed)
        self._solve = regularised(setup.solve, options)
        self.model = network(self._solve).to(setup.device, setup.dtype)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=options.learning_rate)
        self._order = torch.Generator().manual_seed(setup.seed)
        self.generators = {"order": self._order}
        self.epochs = options.epochs
        self.steps_per_epoch = max(1, len(self.targets) // options.batch_size)
        self.probe = self.points[:32], self.targets[:32]

    @staticmethod
    def _placed(setup: Setup, data: Labelled) -> Labelled:
        points, targets = data
        placed = targets.to(setup.device)
        return points.to(setup.device, setup.dtype), placed.to(setup.dtype) if targets.is_floating_point() else placed

    def begin_epoch(self, epoch: int) -> None:
        """Set the learning rate."""
        assert self.optimizer is not None
        share = 1 - epoch / self.epochs if self._falling else 1.0
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate * share

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield whole batches only."""
        order = torch.randperm(len(self.targets), generator=self._order)
        for i in range(self.steps_per_epoch):
            rows = order[i * self._batch_size : (i + 1) * self._batch_size].to(self.targets.device)
            yield self.points[rows], self.targets[rows]
