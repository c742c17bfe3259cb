"""Train on irregular series of which the model receives a part: base experiment of ``series`` and ``periodic``."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from nodebench.models.fields import MlpField
from nodebench.models.latent import log_likelihood
from nodebench.models.observed import Constant, GruDt, LastValue, LatentOde, Linear, Recurrent, Zero
from nodebench.models.stepped import GruD, OdeRnn
from nodebench.solvers import Solve
from nodebench.tasks.contract import Batch, Experiment, ModelInfo, Setup
from nodebench.tasks.regularised import PenaltyOptions, regularised

PROBE = 16  # series
RUBANOVA = "Rubanova et al. 2019, arXiv 1907.03907"
GRU_D = "Che et al. 2018, Scientific Reports 8, 6085"
ROLLING = "Hyndman and Athanasopoulos, Forecasting: Principles and Practice, section 5.2"

MODELS: Mapping[str, ModelInfo] = {
    "latent-ode": ModelInfo("variational autoencoder: GRU encoder, ODE decoder", RUBANOVA),
    "ode-rnn": ModelInfo("ODE between the times, a GRU cell at each", RUBANOVA),
    "gru-dt": ModelInfo("GRU with the time since the last point as an input; no ODE", RUBANOVA, frozenset()),
    "gru-d": ModelInfo("GRU whose state and missing inputs decay over time; no ODE", GRU_D, frozenset()),
    "mean": ModelInfo("mean of the training series; nothing else is learned", ROLLING, frozenset()),
    "constant": ModelInfo("mean of the given points of a series; nothing is learned", ROLLING, frozenset()),
    "last-value": ModelInfo("last given value; nothing is learned", ROLLING, frozenset()),
    "linear": ModelInfo("straight lines between given points; nothing is learned", ROLLING, frozenset()),
}


class ObservedOptions(PenaltyOptions):
    """Options of training on irregular series."""

    epochs: int = Field(20, ge=1)
    steps_per_epoch: int = Field(50, ge=1)
    batch_size: int = Field(50, ge=1)  # series; all of them if there are fewer
    learning_rate: float = Field(0.01, gt=0)
    latent: int = Field(8, ge=1)  # dimension of the latent state
    hidden: int = Field(32, ge=1)  # units of recurrent layers and of fields
    noise: float = Field(0.1, gt=0)  # standard deviation of the likelihood, in the unit of the values


class Observed(NamedTuple):
    """Series of different lengths as tensors, on the CPU in float64.

    Attributes:
        values: ``(N, n, D)``, 0 where nothing was observed.
        known: mask of the observed values, ``(N, n, D)``, bool.
        given: mask of the times that the model receives, ``(N, n)``, bool.
        times: ``(N, n)``; a series with fewer times repeats its last one.
    """

    values: Tensor
    known: Tensor
    given: Tensor
    times: Tensor

    @property
    def seen(self) -> Tensor:
        """Mask of the values that the model receives, ``(N, n, D)``."""
        return self.known & self.given.unsqueeze(-1)

    @property
    def hidden(self) -> Tensor:
        """Mask of the observed values that the model does not receive, ``(N, n, D)``."""
        return self.known & ~self.given.unsqueeze(-1)

    def of(self, rows: Tensor) -> "Observed":
        """Return the series of some rows."""
        return Observed(*(part[rows] for part in self))


Build = Callable[[int, ObservedOptions, Solve], nn.Module]


class ObservedTraining(Experiment):
    """Maximise the evidence lower bound (or, without a latent state, the likelihood) of all observed values.

    Args:
        setup: setup of the trial, with ``ObservedOptions``.
        train: training series; GRU-D assumes that their mean is 0.
        test: held-out series.
        build: builds the model from the number of components, the options and the integrator.
    """

    def __init__(self, setup: Setup, train: Observed, test: Observed, build: Build) -> None:
        options: ObservedOptions = setup.options
        self._bound, self._place = options, (setup.device, setup.dtype)
        self.epochs, self.steps_per_epoch = options.epochs, options.steps_per_epoch
        self._train, self._test = train, test
        torch.manual_seed(setup.seed)
        self._solve = regularised(setup.solve, options)
        self.model = build(train.values.shape[-1], options, self._solve).to(setup.device, setup.dtype)
        parameters = list(self.model.parameters())
        self.optimizer = self._optimiser(parameters, options.learning_rate) if parameters else None
        self._order = torch.Generator().manual_seed(setup.seed)
        self.generators = {"order": self._order}
        rows = torch.arange(min(PROBE, len(train.values)))
        self.probe = self._batch(train.of(rows), torch.Generator().manual_seed(0))

    def _optimiser(self, parameters: list[nn.Parameter], rate: float) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=rate)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield batches, each drawn without replacement from all training series."""
        for _ in range(self.steps_per_epoch):
            rows = torch.randperm(len(self._train.values), generator=self._order)[: self._bound.batch_size]
            yield self._batch(self._train.of(rows), self._order)

    def _batch(self, some: Observed, random: torch.Generator) -> Batch:
        """Return values, masks of observed and of received values, times, and draws for the latent initial state."""
        draw = torch.randn(len(some.values), self._bound.latent, generator=random)
        device, dtype = self._place
        values, times, draw = (part.to(device, dtype) for part in (some.values, some.times, draw))
        return values, some.known.to(device), some.seen.to(device), times, draw

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Negative evidence lower bound or log-likelihood of all observed values, mean over series, plus penalties."""
        values, known, seen, times, draw = batch
        predicted, kl = model(values * seen, seen, times, draw)
        bound = kl - log_likelihood(values, torch.where(known, predicted, values), self._bound.noise)
        return bound.mean() + self._solve.take_penalty()

    def _predict(self, model: nn.Module, some: Observed) -> Tensor:
        """Predict series ``(N, n, D)`` in float64 from the most likely latent initial state."""
        values, _, seen, times, draw = self._batch(some, torch.Generator())
        return model(values * seen, seen, times, torch.zeros_like(draw))[0].double().cpu()


def rms(error: Tensor, where: Tensor) -> float | None:
    """Root mean square of the errors that the mask ``where`` selects; None if it selects none."""
    return error[where].square().mean().sqrt().item() if where.any() else None


def builders(both_ways: bool) -> dict[str, Build]:
    """Return the builder of each of ``MODELS``.

    Args:
        both_ways: whether recurrent models also read later observations.
    """

    def recurrent(make: Build) -> Build:
        def build(dimension: int, options: ObservedOptions, solve: Solve) -> nn.Module:
            before = make(dimension, options, solve)
            after = make(dimension, options, solve) if both_ways else None
            return Recurrent(dimension, options.hidden, before, after)

        return build

    return {
        "latent-ode": _latent_ode,
        "ode-rnn": recurrent(ode_rnn),
        "gru-dt": recurrent(lambda dimension, options, _: GruDt(dimension, options.hidden)),
        "gru-d": recurrent(lambda dimension, options, _: GruD(dimension, options.hidden, torch.zeros(dimension))),
        "mean": lambda *_: Zero(),
        "constant": lambda *_: Constant(),
        "last-value": lambda *_: LastValue(),
        "linear": lambda *_: Linear(),
    }


def _latent_ode(dimension: int, options: ObservedOptions, solve: Solve) -> nn.Module:
    field = MlpField((options.latent, options.hidden, options.hidden, options.latent))
    return LatentOde(dimension, options.hidden, field, options.latent, solve)


def ode_rnn(dimension: int, options: ObservedOptions, solve: Solve) -> OdeRnn:
    """An ODE-RNN whose field has one hidden layer."""
    field = MlpField((options.hidden, options.hidden, options.hidden))
    return OdeRnn(dimension, options.hidden, field, solve)
