"""``series``: irregular series of the user's own, from a CSV or Parquet file."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from nodebench.errors import BadInput
from nodebench.models.fields import MlpField
from nodebench.models.latent import log_likelihood
from nodebench.models.observed import Constant, GruDt, LastValue, LatentOde, Linear, OdeRnn, Recurrent, Zero
from nodebench.solvers import Solve, StepControl
from nodebench.spec import DataSource, Gradient, Preset
from nodebench.spec.record import DataCard
from nodebench.spec.trajectories import Trajectories
from nodebench.tasks.contract import Batch, DatasetInfo, Experiment, ModelInfo, Setup, Task
from nodebench.tasks.regularised import PenaltyOptions, regularised

if TYPE_CHECKING:
    from nodebench.tasks.series_file import SeriesFile

DATASET = "own"
SUFFIXES = (".csv", ".parquet")
PROBE = 16  # series
EXAMPLES = 4  # in figures
_RUBANOVA = "Rubanova et al. 2019, arXiv 1907.03907"
_ROLLING = "Hyndman and Athanasopoulos, Forecasting: Principles and Practice, section 5.2"


class OwnSeriesOptions(PenaltyOptions):
    """Options of ``series``."""

    time: str = "time"  # column of the times: numbers or dates
    id: str = ""  # column that tells the series apart; empty: the file is one series
    columns: str = ""  # columns of the values, by comma; empty: every other column of numbers
    objective: Literal["forecast", "interpolate"] = "forecast"
    given: float = Field(0.5, gt=0, lt=1)  # forecast: share of the time of a series that is given, its beginning
    missing: float = Field(0.5, gt=0, lt=1)  # interpolate: share of the times of a series that is hidden, at random
    window: int = Field(0, ge=0)  # times of a piece into which series are cut; 0: they stay whole
    rounding: float = Field(0.0, ge=0)  # times are rounded to multiples of it, in the unit of the file; 0: not
    test: float = Field(0.2, gt=0, lt=1)  # share of the series that is held out
    epochs: int = Field(20, ge=1)
    steps_per_epoch: int = Field(50, ge=1)
    batch_size: int = Field(50, ge=1)  # series; all of them where there are no more
    learning_rate: float = Field(0.01, gt=0)
    latent: int = Field(8, ge=1)  # dimension of the latent state
    hidden: int = Field(32, ge=1)  # units of recurrent layers and of fields
    noise: float = Field(0.1, gt=0)  # standard deviation of the likelihood, in those of the training data


class OwnSeries(Task):
    """Forecast or interpolate series of the user's own.

    Times count from the start of each series, and the longest one lasts from 0 to 1. Values are in standard deviations
    of the training series.
    """

    name = "series"
    about = "irregular series of your own: --data FILE.csv --set time=COLUMN --set id=COLUMN"
    source = "yours"
    models = {
        "latent-ode": ModelInfo("variational autoencoder: GRU encoder, ODE decoder", _RUBANOVA),
        "ode-rnn": ModelInfo("ODE between the times, a GRU cell at each", _RUBANOVA),
        "gru-dt": ModelInfo("GRU that is told the time since the last point; no ODE", _RUBANOVA, frozenset()),
        "mean": ModelInfo("mean of the training series; nothing else is learned", _ROLLING, frozenset()),
        "constant": ModelInfo("mean of what is given of a series; nothing is learned", _ROLLING, frozenset()),
        "last": ModelInfo("last value that is given; nothing is learned", _ROLLING, frozenset()),
        "linear": ModelInfo("straight lines between what is given; nothing is learned", _ROLLING, frozenset()),
    }
    options = OwnSeriesOptions
    presets = {
        Preset.SMOKE: OwnSeriesOptions(epochs=1, steps_per_epoch=2, batch_size=8),
        Preset.QUICK: OwnSeriesOptions(),
    }
    datasets = {DATASET: DatasetInfo(f"the file that --data names ({', '.join(SUFFIXES)})", "yours")}
    gradient = Gradient.DIRECT
    rtol = atol = 1e-3
    step_size = 0.05
    reference = StepControl(method="dopri5", rtol=1e-8, atol=1e-8, land_on_outputs=True)
    headlines = ("rmse", "rmse_given")
    brief = {"epochs": 1, "steps_per_epoch": 5}

    def dataset(self, wanted: str | None, source: DataSource, preset: Preset) -> str:
        """There is one: the file."""
        path = _file(source)
        if not path.is_file():
            what = "it is a folder" if path.is_dir() else "there is no such file"
            raise BadInput(f"--data {path}: {what}; task series reads a file, {' or '.join(SUFFIXES)}")
        if path.suffix not in SUFFIXES:
            raise BadInput(f"--data {path}: its name must end in {' or '.join(SUFFIXES)}")
        return DATASET

    def data_card(self, dataset: str | None, options: OwnSeriesOptions, source: DataSource) -> DataCard:
        """Read the file and split its series."""
        return _card(_read(source, options), options, source)

    def data_summary(self, dataset: str | None, options: OwnSeriesOptions, source: DataSource) -> str:
        """Say what the file holds, and what of it is used."""
        return f"{_file(source).name}: {_read(source, options).about}"

    def build(self, setup: Setup) -> Experiment:
        """Build the training of one of the models."""
        return _Series(setup)


def _file(source: DataSource) -> Path:
    if source.folder is None:
        raise BadInput("task series reads a file of yours: add --data FILE.csv --set time=COLUMN --set id=COLUMN")
    return source.folder


def _read(source: DataSource, options: OwnSeriesOptions) -> "SeriesFile":
    from nodebench.tasks.series_file import read_series  # with pandas, which no other task needs

    columns = [part.strip() for part in options.columns.split(",") if part.strip()]
    return read_series(_file(source), options.time, options.id, columns, options.window, options.rounding)


def _card(file: "SeriesFile", options: OwnSeriesOptions, source: DataSource) -> DataCard:
    train, test = _split(file, options, seed=0)
    return DataCard(name=_file(source).name, train=len(train), test=len(test), sha256=file.sha256())


class Observed(NamedTuple):
    """Series of different lengths as tensors, on the CPU in float64.

    Attributes:
        values: ``(N, n, D)``, 0 where nothing was observed.
        known: where something was observed, ``(N, n, D)``, bool.
        given: which times a model is given, ``(N, n)``, bool.
        times: ``(N, n)``; a series with fewer times repeats its last one.
    """

    values: Tensor
    known: Tensor
    given: Tensor
    times: Tensor

    @property
    def seen(self) -> Tensor:
        """What a model sees, ``(N, n, D)``."""
        return self.known & self.given.unsqueeze(-1)

    def of(self, rows: Tensor) -> "Observed":
        """Some of the series."""
        return Observed(*(part[rows] for part in self))


def _split(file: "SeriesFile", options: OwnSeriesOptions, seed: int) -> tuple[Tensor, Tensor]:
    """The places of the series to learn from and of those to test on, drawn by the seed.

    Raises:
        BadInput: there is one series only.
    """
    count = len(file.series)
    if count < 2:
        raise BadInput(
            "there is one series, and none to test on: name the column that tells series apart (--set id=COLUMN), or"
            " cut it into pieces (--set window=50)"
        )
    random = torch.Generator().manual_seed(seed + 2**32)
    order = torch.randperm(count, generator=random)
    held_out = min(max(1, round(options.test * count)), count - 1)
    return order[held_out:].sort().values, order[:held_out].sort().values


def observed(file: "SeriesFile", options: OwnSeriesOptions, random: torch.Generator) -> Observed:
    """All series of a file as tensors; ``random`` draws what is hidden."""
    most = max(len(one.times) for one in file.series)
    longest = max(float(one.times[-1]) for one in file.series) or 1.0
    values = torch.zeros(len(file.series), most, len(file.columns), dtype=torch.float64)
    known, times = torch.zeros_like(values, dtype=torch.bool), torch.zeros(len(file.series), most, dtype=torch.float64)
    given = torch.zeros_like(times, dtype=torch.bool)
    for i, one in enumerate(file.series):
        n = len(one.times)
        found = torch.tensor(one.values)
        known[i, :n], values[i, :n] = found.isfinite(), found.nan_to_num(nan=0.0)
        times[i, :n], times[i, n:] = torch.tensor(one.times / longest), float(one.times[-1]) / longest
        given[i, :n] = _given(times[i, :n], options, random)
    return Observed(values, known, given, times)


def _given(times: Tensor, options: OwnSeriesOptions, random: torch.Generator) -> Tensor:
    """Which times ``(n,)`` of a series a model is given: at least one, and at least one is hidden."""
    n = len(times)
    if options.objective == "forecast":
        first = int((times <= options.given * times[-1]).sum())
        return torch.arange(n) < min(max(1, first), n - 1)
    hidden = min(max(1, round(options.missing * n)), n - 1)
    return torch.ones(n, dtype=torch.bool).index_fill(0, torch.randperm(n, generator=random)[:hidden], False)


class _Series(Experiment):
    def __init__(self, setup: Setup) -> None:
        options: OwnSeriesOptions = setup.options
        self._options, self._place = options, (setup.device, setup.dtype)
        self.epochs, self.steps_per_epoch = options.epochs, options.steps_per_epoch
        self._file = _read(setup.source, options)
        every = observed(self._file, options, torch.Generator().manual_seed(setup.seed + 2**32))
        train, test = _split(self._file, options, setup.seed)
        self._mean, self._std = _moments(every.of(train))
        every = every._replace(values=torch.where(every.known, (every.values - self._mean) / self._std, 0.0))
        self._train, self._test = every.of(train), every.of(test)
        self._test_names = [self._file.series[i].name for i in test.tolist()]
        self.data = _card(self._file, options, setup.source)
        torch.manual_seed(setup.seed)
        self._solve = regularised(setup.solve, options)
        model = _BUILD[setup.model](len(self._file.columns), options, self._solve)
        self.model = model.to(setup.device, setup.dtype)
        parameters = list(self.model.parameters())
        self.optimizer = torch.optim.Adam(parameters, lr=options.learning_rate) if parameters else None
        self._order = torch.Generator().manual_seed(setup.seed)
        self.generators = {"order": self._order}
        rows = torch.arange(min(PROBE, len(train)))
        self.probe = self._batch(self._train.of(rows), torch.Generator().manual_seed(0))

    def batches(self, epoch: int) -> Iterator[Batch]:
        for _ in range(self.steps_per_epoch):
            rows = torch.randperm(len(self._train.values), generator=self._order)[: self._options.batch_size]
            yield self._batch(self._train.of(rows), self._order)

    def _batch(self, some: Observed, random: torch.Generator) -> Batch:
        """Values, what is known of them, what is seen, times, and the numbers that choose a latent start."""
        draw = torch.randn(len(some.values), self._options.latent, generator=random)
        device, dtype = self._place
        values, times, draw = (part.to(device, dtype) for part in (some.values, some.times, draw))
        return values, some.known.to(device), some.seen.to(device), times, draw

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Negative evidence lower bound, or likelihood, of what was observed, mean over the series; and penalties."""
        values, known, seen, times, draw = batch
        predicted, kl = model(values * seen, seen, times, draw)
        bound = kl - log_likelihood(values, torch.where(known, predicted, values), self._options.noise)
        return bound.mean() + self._solve.take_penalty()

    def metrics(self, model: nn.Module) -> dict[str, float | None]:
        """Errors on series never seen: at hidden times, at the given ones, and of each column in its own unit."""
        test = self._test
        error = self._predict(model, test) - test.values
        hidden = test.known & ~test.given.unsqueeze(-1)
        found = {
            "rmse": _rms(error, hidden),
            "mae": error[hidden].abs().mean().item() if hidden.any() else None,
            "rmse_given": _rms(error, test.seen),
        }
        for i, name in enumerate(self._file.columns):
            own = _rms(error[..., i], hidden[..., i])
            found[f"rmse_of_{re.sub(r'[^a-zA-Z0-9]+', '_', name)}"] = None if own is None else own * float(self._std[i])
        return found

    def _predict(self, model: nn.Module, some: Observed) -> Tensor:
        """What a model makes of series, ``(N, n, D)`` in float64, from the most likely latent start."""
        values, _, seen, times, draw = self._batch(some, torch.Generator())
        return model(values * seen, seen, times, torch.zeros_like(draw))[0].double().cpu()

    def picture(self, model: nn.Module) -> Trajectories:
        """Series never seen: all that was observed, what was given of it, and what the model makes of it."""
        some = self._test.of(torch.arange(min(EXAMPLES, len(self._test.values))))
        longest = max(float(one.times[-1]) for one in self._file.series) or 1.0
        grid, where = torch.unique(some.times, return_inverse=True)
        true, seen = (torch.where(which, some.values, torch.nan) for which in (some.known, some.seen))
        rows, columns = some.known.any(-1).nonzero(as_tuple=True)  # without the times that fill up short series

        def on_grid(values: Tensor) -> Tensor:
            found = torch.full((len(where), len(grid), values.shape[-1]), torch.nan, dtype=torch.float64)
            found[rows, where[rows, columns]] = values[rows, columns]
            return found

        last_given = torch.where(some.given, some.times, -1.0).max(1).values
        is_forecast = self._options.objective == "forecast"
        return Trajectories(
            times=longest * grid.numpy(),
            true=self._in_own_unit(on_grid(true)),
            fitted=self._in_own_unit(on_grid(self._predict(model, some))),
            observed_times=longest * some.times.numpy(),
            observed=self._in_own_unit(seen),
            trained=(0.0, longest * float(grid[-1])),
            time_label=f"{self._options.time} since the start" + (f" ({self._file.unit})" if self._file.unit else ""),
            labels=self._file.columns,
            names=tuple(name or f"series {i + 1}" for i, name in enumerate(self._test_names[: len(some.times)])),
            given_until=longest * last_given.numpy() if is_forecast else np.empty(0),
        )

    def _in_own_unit(self, values: Tensor) -> np.ndarray:
        """Values ``(..., D)`` as the file has them."""
        return (self._mean + self._std * values).numpy()


def _moments(some: Observed) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation ``(D,)`` of what was observed; 1 where a column does not vary."""
    count = some.known.sum((0, 1)).clamp(min=1)
    mean = some.values.sum((0, 1)) / count
    spread = (torch.where(some.known, some.values - mean, 0.0).square().sum((0, 1)) / count).sqrt()
    return mean, torch.where(spread > 0, spread, 1.0)


def _rms(error: Tensor, where: Tensor) -> float | None:
    return error[where].square().mean().sqrt().item() if where.any() else None


def _latent_ode(dimension: int, options: OwnSeriesOptions, solve: Solve) -> nn.Module:
    field = MlpField((options.latent, options.hidden, options.hidden, options.latent))
    return LatentOde(dimension, options.hidden, field, options.latent, solve)


def _recurrent(make: Callable[[int, OwnSeriesOptions, Solve], nn.Module]) -> "_Build":
    """Forecasts read the past; interpolations read what was seen after a time, too."""

    def build(dimension: int, options: OwnSeriesOptions, solve: Solve) -> nn.Module:
        before = make(dimension, options, solve)
        after = make(dimension, options, solve) if options.objective == "interpolate" else None
        return Recurrent(dimension, options.hidden, before, after)

    return build


def _ode_rnn(dimension: int, options: OwnSeriesOptions, solve: Solve) -> nn.Module:
    field = MlpField((options.hidden, options.hidden, options.hidden))
    return OdeRnn(dimension, options.hidden, field, solve)


_Build = Callable[[int, OwnSeriesOptions, Solve], nn.Module]
_BUILD: Mapping[str, _Build] = {
    "latent-ode": _latent_ode,
    "ode-rnn": _recurrent(_ode_rnn),
    "gru-dt": _recurrent(lambda dimension, options, _: GruDt(dimension, options.hidden)),
    "mean": lambda *_: Zero(),
    "constant": lambda *_: Constant(),
    "last": lambda *_: LastValue(),
    "linear": lambda *_: Linear(),
}
