"""Train latent-variable models on many short series: base experiment of ``latent-spirals`` and ``ecg``."""

import math
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from nodebench.models.latent import log_likelihood
from nodebench.solvers import Solve
from nodebench.tasks.contract import Batch, Experiment, Setup
from nodebench.tasks.regularised import PenaltyOptions, regularised

PROBE = 16  # series


class SeriesOptions(PenaltyOptions):
    """Options of training on series."""

    epochs: int = Field(20, ge=1)
    steps_per_epoch: int = Field(100, ge=1)
    batch_size: int = Field(1000, ge=1)  # series; all of them if there are fewer
    learning_rate: float = Field(0.01, gt=0)
    schedule: Literal["cosine"] | None = None  # the learning rate falls to 0 along a cosine; None: it is constant
    latent: int = Field(4, ge=1)  # dimension of the latent state
    hidden: int = Field(20, ge=1)  # units per layer of field and decoder
    encoder_hidden: int = Field(25, ge=1)
    encoder_sees_gaps: bool = True  # False in the script, whose times are regular


class Series(NamedTuple):
    """Series on one time grid, each observed at its own points.

    Attributes:
        observed: observations ``(N, n, D)``.
        where: grid indices of the observations ``(N, n)``.
        times: the grid ``(T,)``.
    """

    observed: Tensor
    where: Tensor
    times: Tensor

    def to(self, device: torch.device, dtype: torch.dtype) -> "Series":
        """Return the series on a device, with the values and times in a dtype."""
        return Series(self.observed.to(device, dtype), self.where.to(device), self.times.to(device, dtype))


class SeriesTraining(Experiment):
    """Maximise the evidence lower bound (or, without a latent state, the likelihood) of series.

    Args:
        setup: setup of the trial, with ``SeriesOptions``.
        train: training series.
        noise: standard deviation of the likelihood.
        model: builds the model from its integrator; called after the seed is set.
    """

    def __init__(self, setup: Setup, train: Series, noise: float, model: Callable[[Solve], nn.Module]) -> None:
        options: SeriesOptions = setup.options
        self._trained_with = options
        self.epochs, self.steps_per_epoch = options.epochs, options.steps_per_epoch
        self._train = train.to(setup.device, setup.dtype)
        self._noise, self._size, self._latent = noise, options.batch_size, options.latent
        torch.manual_seed(setup.seed)
        self._solve = regularised(setup.solve, options)
        self.model = model(self._solve).to(setup.device, setup.dtype)
        parameters = list(self.model.parameters())
        self.optimizer = torch.optim.Adam(parameters, lr=options.learning_rate) if parameters else None
        self._order = torch.Generator().manual_seed(setup.seed)
        self.generators = {"order": self._order}
        self.probe = self._batch(torch.arange(min(PROBE, len(train.observed))), torch.Generator().manual_seed(0))

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield batches, each drawn without replacement from all training series."""
        for step in range(self.steps_per_epoch):
            self._set_rate((epoch + step / self.steps_per_epoch) / self.epochs)
            rows = torch.randperm(len(self._train.observed), generator=self._order)[: self._size]
            yield self._batch(rows, self._order)

    def _set_rate(self, done: float) -> None:
        """Set the learning rate after the fraction ``done`` of the training."""
        options = self._trained_with
        if self.optimizer and options.schedule == "cosine":
            for group in self.optimizer.param_groups:
                group["lr"] = options.learning_rate * (1 + math.cos(math.pi * done)) / 2

    def _batch(self, rows: Tensor, random: torch.Generator) -> Batch:
        """Return observations, their grid indices, the grid, and normal draws for the latent initial state."""
        observed, where, times = self._train
        draw = torch.randn(len(rows), self._latent, generator=random).to(observed)
        return observed[rows.to(where.device)], where[rows.to(where.device)], times, draw

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Negative evidence lower bound (without latent state: log-likelihood) per series in nats, plus penalties."""
        predicted, kl = model(*batch)
        bound = (kl - log_likelihood(batch[0], predicted, self._noise)).mean()
        return bound + self._solve.take_penalty()

    def bound(self, model: nn.Module, series: Series) -> dict[str, float | None]:
        """Evidence lower bound and KL divergence, mean over ``series``, with fixed draws."""
        observed, where, times = series
        random = torch.Generator().manual_seed(0)
        draw = torch.randn(len(observed), self._latent, generator=random).to(observed)
        predicted, kl = model(observed, where, times, draw)
        bound = log_likelihood(observed, predicted, self._noise) - kl
        return {"elbo": bound.mean().item(), "kl": kl.mean().item()}


def rmse(predicted: Tensor, true: Tensor) -> float:
    """Root of the mean squared error, over all series, times and components."""
    return (predicted - true).square().mean().sqrt().item()
