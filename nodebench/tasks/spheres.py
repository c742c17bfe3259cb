"""``toy/spheres``: classify points on concentric spheres, the synthetic set of Ott et al. 2021."""

from functools import partial

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from nodebench.models.fields import MlpField
from nodebench.models.ode_block import OdeBlock
from nodebench.solvers import Solve, StepControl
from nodebench.spec import Gradient, Preset
from nodebench.tasks.contract import Batch, Experiment, ModelInfo, Setup, Task
from nodebench.tasks.points import DUPONT, PointsFit
from nodebench.tasks.regularised import RegularisedOptions

_OTT = "Ott et al. 2021, arXiv 2007.15386, section 2.3"
_DUPONT = f"{DUPONT}, section 5"

# Inner and outer radius of each shell, and its class.
SHELLS = ((0.0, 0.5, 0), (1.0, 1.5, 1), (2.0, 2.5, 0))


class SpheresOptions(RegularisedOptions):
    """Options of ``toy/spheres``."""

    epochs: int = Field(50, ge=1)
    batch_size: int = Field(64, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    hidden: int = Field(32, ge=1)  # width of the two hidden layers
    dimension: int = Field(2, ge=1)
    train_points: int = Field(3000, ge=1)
    test_points: int = Field(1000, ge=1)


class Spheres(Task):
    """Classify three concentric shells; the inner and the outer shell form one class.

    A flow of the plane cannot map the classes to two half planes without crossing trajectories. A network that
    separates them perfectly therefore exploits the error of its solver. The ODE block acts on the points themselves,
    and only a linear layer follows, as in the source. The source's supplement has the widths; two hidden layers of 32
    with ReLU are those of Dupont et al.
    """

    name = "toy/spheres"
    about = "classify points on three concentric spheres, which no flow can separate without crossing trajectories"
    source = _OTT
    models = {
        "odenet": ModelInfo("an ODE block in the plane, then a linear layer", _OTT),
        "mlp": ModelInfo("two hidden layers, then a linear layer; no ODE", _DUPONT, frozenset()),
    }
    options = SpheresOptions
    presets = {
        Preset.SMOKE: SpheresOptions(epochs=1, train_points=128, test_points=64),
        Preset.QUICK: SpheresOptions(),
        Preset.PAPER: SpheresOptions(),
    }
    gradient = Gradient.DIRECT
    rtol = atol = 1e-3
    step_size = 0.25
    reference = StepControl(method="dopri8", rtol=1e-10, atol=1e-10, land_on_outputs=True)
    headlines = ("test_error",)
    brief = {"epochs": 1, "train_points": 640}

    def build(self, setup: Setup) -> Experiment:
        """Build the training."""
        return _Shells(setup)


def shells(points: int, dimension: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw points ``(N, D)`` in float64, uniform in radius and direction, with classes ``(N,)``."""
    which = torch.randint(len(SHELLS), (points,), generator=random)
    table = torch.tensor(SHELLS, dtype=torch.float64)
    inner, outer = table[which, 0], table[which, 1]
    radius = inner + (outer - inner) * torch.rand(points, generator=random, dtype=torch.float64)
    direction = torch.randn(points, dimension, generator=random, dtype=torch.float64)
    direction /= direction.norm(dim=1, keepdim=True)
    return radius.unsqueeze(1) * direction, table[which, 2].long()


class _Shells(PointsFit):
    def __init__(self, setup: Setup) -> None:
        options: SpheresOptions = setup.options
        train = shells(options.train_points, options.dimension, torch.Generator().manual_seed(setup.seed + 2**32))
        # One test set for all seeds, to separate its sampling error from the variation between trainings.
        test = shells(options.test_points, options.dimension, torch.Generator().manual_seed(2**33))
        super().__init__(setup, "spheres", train, test, partial(_network, setup.model, options), falling=True)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean cross-entropy and penalties."""
        points, classes = batch
        return functional.cross_entropy(model(points), classes) + self._solve.take_penalty()

    def metrics(self, model: nn.Module) -> dict[str, float | None]:
        """Error and loss on the test points."""
        points, classes = self.test
        logits = model(points)
        wrong = int((logits.argmax(1) != classes).sum())
        return {
            "test_error": 100 * wrong / len(classes),
            "test_loss": functional.cross_entropy(logits, classes).item(),
        }


def _network(name: str, options: SpheresOptions, solve: Solve) -> nn.Module:
    widths = (options.dimension, options.hidden, options.hidden)
    if name == "mlp":
        hidden = MlpField((*widths, options.hidden), nn.ReLU).net
        return nn.Sequential(hidden, nn.ReLU(), nn.Linear(options.hidden, 2))
    field = MlpField((*widths, options.dimension), nn.ReLU)
    return nn.Sequential(OdeBlock(field, solve), nn.Linear(options.dimension, 2))
