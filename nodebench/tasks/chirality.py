"""``toy/chirality``: classify spirals as clockwise or anticlockwise by a neural controlled differential equation."""

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from nodebench.models.controlled import ConstantClassifier, GruClassifier, NeuralCDE, spline_coefficients
from nodebench.solvers import Solve, StepControl
from nodebench.spec import Gradient, Preset
from nodebench.tasks.contract import Batch, Experiment, ModelInfo, Setup, Task
from nodebench.tasks.points import ACTIVATIONS, Labelled, PointsFit
from nodebench.tasks.regularised import RegularisedOptions

_KIDGER = "Kidger et al. 2020, arXiv 2005.08926"
_EXAMPLE = "the example of torchcde, the authors' library"
CHANNELS = 3  # time, x and y
TURNS = 4 * math.pi  # the angle of a spiral, and the span of its times


class ChiralityOptions(RegularisedOptions):
    """Options of ``toy/chirality``; the defaults are those of torchcde's example, with a larger test set."""

    epochs: int = Field(30, ge=1)
    batch_size: int = Field(32, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    hidden: int = Field(8, ge=1)  # components of the state
    width: int = Field(128, ge=1)  # of the field's hidden layer
    activation: Literal["relu", "softplus"] = "relu"  # of the hidden layer
    train_series: int = Field(128, ge=2)
    test_series: int = Field(512, ge=2)
    points: int = Field(100, ge=3)  # observations of a series
    irregular: bool = False  # random times instead of a regular grid; the same for all series
    noise: float = Field(0.01, ge=0)  # standard deviation


class Chirality(Task):
    """Classify spirals as clockwise or anticlockwise: the observations drive the state of a neural CDE.

    Data, network and batch size are those of torchcde's example. The path is a natural cubic spline, as in the paper;
    the example uses a Hermite spline. The field stores the paths of a batch and is created in each forward pass; the
    diffrax backend does not support this.

    The field of the example uses ReLU. ``quick`` uses softplus instead: with ReLU, the gradient converges so slowly
    with the step size that no reference gradient is available to measure its error.
    """

    name = "toy/chirality"
    about = "clockwise or anticlockwise spirals, classified by a neural controlled differential equation"
    source = f"{_KIDGER}; {_EXAMPLE}"
    models = {
        "cde": ModelInfo("neural CDE of 8 components, whose field has one hidden layer of 128", _EXAMPLE),
        "gru": ModelInfo("GRU of 8 units that reads time and position; no ODE", "a control", frozenset()),
        "constant": ModelInfo(
            "one learned number for all series; no ODE", "a baseline that ignores the input", frozenset()
        ),
    }
    options = ChiralityOptions
    presets = {
        Preset.SMOKE: ChiralityOptions(
            epochs=1, train_series=32, test_series=32, points=10, batch_size=16, activation="softplus"
        ),
        Preset.QUICK: ChiralityOptions(learning_rate=1e-2, points=30, activation="softplus"),
        Preset.PAPER: ChiralityOptions(),
    }
    gradient = Gradient.ADJOINT
    rtol, atol = 1e-3, 1e-6
    step_size = TURNS / 58
    # The second derivative of a path has kinks at its knots, at which methods of high order need very small steps.
    reference = StepControl(method="dopri5", rtol=1e-8, atol=1e-8, land_on_outputs=True)
    second_reference = StepControl(method="dopri5", rtol=1e-7, atol=1e-7, land_on_outputs=True)
    headlines = ("test_error", "test_loss")
    brief = {"epochs": 1}

    def build(self, setup: Setup) -> Experiment:
        """Build the training."""
        return _Fit(setup)


def observation_times(options: ChiralityOptions) -> Tensor:
    """Times ``(K,)`` in float64, from 0 to ``TURNS``, the same at every seed."""
    if not options.irregular:
        return torch.linspace(0, TURNS, options.points, dtype=torch.float64)
    random = torch.Generator().manual_seed(2**34)
    inner = torch.rand(options.points - 2, generator=random, dtype=torch.float64).sort().values * TURNS
    return torch.cat([inner.new_zeros(1), inner, inner.new_tensor([TURNS])])


def spirals(times: Tensor, series: int, noise: float, random: torch.Generator) -> Labelled:
    """Draw spirals ``(cos(a + t), sin(a + t)) / (1 + t/2)``, the first half of them mirrored.

    Args:
        times: times of the observations, ``(K,)``.
        series: number of spirals.
        noise: standard deviation of the noise added to each position.
        random: generator of the initial angles and the noise.

    Returns:
        tuple: time and position ``(N, K, 3)`` in float64, and 1 for a mirrored spiral, else 0, ``(N, 1)``.
    """
    angle = 2 * math.pi * torch.rand(series, 1, generator=random, dtype=torch.float64) + times
    position = torch.stack([angle.cos(), angle.sin()], -1) / (1 + times / 2).unsqueeze(1)
    mirrored = (torch.arange(series) < series // 2).unsqueeze(1)
    position[..., 0] *= torch.where(mirrored, -1.0, 1.0)
    position += noise * torch.randn(position.shape, generator=random, dtype=position.dtype)
    return torch.cat([times.expand(series, -1).unsqueeze(2), position], 2), mirrored.double()


class _Fit(PointsFit):
    def __init__(self, setup: Setup) -> None:
        options: ChiralityOptions = setup.options
        times = observation_times(options)

        def drawn(series: int, seed: int) -> Labelled:
            values, labels = spirals(times, series, options.noise, torch.Generator().manual_seed(seed))
            return spline_coefficients(times.numpy(), values.numpy()), labels

        def network(solve: Solve) -> nn.Module:
            if setup.model == "constant":
                return ConstantClassifier()
            if setup.model == "gru":
                return GruClassifier(times, CHANNELS, options.hidden)
            return NeuralCDE(times, CHANNELS, options.hidden, options.width, ACTIVATIONS[options.activation], solve)

        # One test set for all seeds, to separate its sampling error from the variation between trainings.
        train, test = drawn(options.train_series, setup.seed + 2**32), drawn(options.test_series, 2**33)
        super().__init__(setup, "chirality", train, test, network)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean cross-entropy, and penalties."""
        series, labels = batch
        return functional.binary_cross_entropy_with_logits(model(series), labels) + self._solve.take_penalty()

    def metrics(self, model: nn.Module) -> dict[str, float | None]:
        """Test error in per cent, and the mean cross-entropy on the test series."""
        series, labels = self.test
        logits = model(series)
        self.wrong = ((logits > 0) != (labels > 0.5))[:, 0]
        return {
            "test_error": 100 * self.wrong.double().mean().item(),
            "test_loss": functional.binary_cross_entropy_with_logits(logits, labels).item(),
        }
