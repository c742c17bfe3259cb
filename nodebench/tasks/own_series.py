"""``series``: a user's irregular series, from a CSV or Parquet file."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from nodebench.errors import BadInput
from nodebench.solvers import StepControl
from nodebench.spec import DataSource, Gradient, Preset
from nodebench.spec.record import DataCard
from nodebench.spec.trajectories import Trajectories
from nodebench.tasks.contract import DatasetInfo, Experiment, Setup, Task
from nodebench.tasks.observed_training import MODELS, Observed, ObservedOptions, ObservedTraining, builders, rms

if TYPE_CHECKING:
    from nodebench.tasks.series_file import SeriesFile

DATASET = "own"
SUFFIXES = (".csv", ".parquet")
EXAMPLES = 4  # in figures


class OwnSeriesOptions(ObservedOptions):
    """Options of ``series``; the noise is in standard deviations of the training data."""

    time: str = "time"  # column of the times: numbers or dates
    id: str = ""  # column that identifies the series; empty: the file holds one series
    columns: str = ""  # comma-separated columns of the values; empty: all other numeric columns
    objective: Literal["forecast", "interpolate"] = "forecast"
    given: float = Field(0.5, gt=0, lt=1)  # forecast: fraction of the time span that is given, from the start
    missing: float = Field(0.5, gt=0, lt=1)  # interpolate: fraction of the times that are hidden, at random
    window: int = Field(0, ge=0)  # times per piece, if series are to be cut into pieces; 0: not cut
    rounding: float = Field(0.0, ge=0)  # times are rounded to multiples of this, in the file's unit; 0: not rounded
    test: float = Field(0.2, gt=0, lt=1)  # share of the series that is held out


class OwnSeries(Task):
    """Forecast or interpolate a user's series.

    Times are relative to the start of each series and scaled so that the longest series lasts from 0 to 1. Values are
    standardised by the mean and standard deviation of the training series.
    """

    name = "series"
    about = "irregular series of your own: --data FILE.csv --set time=COLUMN --set id=COLUMN"
    source = "yours"
    models = MODELS
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
        """Check the file and return the name of the only data set."""
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
        """Summarise the content of the file and the part that is used."""
        return f"{_file(source).name}: {_read(source, options).about}"

    def build(self, setup: Setup) -> Experiment:
        """Build the training of one of the models."""
        return _Series(setup)


def _file(source: DataSource) -> Path:
    if source.folder is None:
        raise BadInput("task series needs a file: add --data FILE.csv --set time=COLUMN --set id=COLUMN")
    return source.folder


def _read(source: DataSource, options: OwnSeriesOptions) -> "SeriesFile":
    from nodebench.tasks.series_file import read_series  # imports pandas, which no other task needs

    columns = [part.strip() for part in options.columns.split(",") if part.strip()]
    return read_series(_file(source), options.time, options.id, columns, options.window, options.rounding)


def _card(file: "SeriesFile", options: OwnSeriesOptions, source: DataSource) -> DataCard:
    train, test = _split(file, options, seed=0)
    return DataCard(name=_file(source).name, train=len(train), test=len(test), sha256=file.sha256())


def _split(file: "SeriesFile", options: OwnSeriesOptions, seed: int) -> tuple[Tensor, Tensor]:
    """Return the indices of the training series and of the test series, drawn with the seed.

    Raises:
        BadInput: there is one series only.
    """
    count = len(file.series)
    if count < 2:
        raise BadInput(
            "the file has only one series, so none is left for testing: name the column that identifies the series"
            " (--set id=COLUMN), or cut the series into pieces (--set window=50)"
        )
    random = torch.Generator().manual_seed(seed + 2**32)
    order = torch.randperm(count, generator=random)
    held_out = min(max(1, round(options.test * count)), count - 1)
    return order[held_out:].sort().values, order[:held_out].sort().values


def observed(file: "SeriesFile", options: OwnSeriesOptions, random: torch.Generator) -> Observed:
    """Return all series of a file as tensors; ``random`` draws the hidden times."""
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
    """Return a mask ``(n,)`` of the times of a series that are given; at least one is given and one hidden."""
    n = len(times)
    if options.objective == "forecast":
        first = int((times <= options.given * times[-1]).sum())
        return torch.arange(n) < min(max(1, first), n - 1)
    hidden = min(max(1, round(options.missing * n)), n - 1)
    return torch.ones(n, dtype=torch.bool).index_fill(0, torch.randperm(n, generator=random)[:hidden], False)


class _Series(ObservedTraining):
    def __init__(self, setup: Setup) -> None:
        options: OwnSeriesOptions = setup.options
        self._options = options
        self._file = _read(setup.source, options)
        every = observed(self._file, options, torch.Generator().manual_seed(setup.seed + 2**32))
        train, test = _split(self._file, options, setup.seed)
        self._mean, self._std = _moments(every.of(train))
        every = every._replace(values=torch.where(every.known, (every.values - self._mean) / self._std, 0.0))
        self._test_names = [self._file.series[i].name for i in test.tolist()]
        self.data = _card(self._file, options, setup.source)
        build = builders(both_ways=options.objective == "interpolate")[setup.model]
        super().__init__(setup, every.of(train), every.of(test), build)

    def metrics(self, model: nn.Module) -> dict[str, float | None]:
        """Errors on test series: at hidden times, at given times, and of each column in its own unit."""
        test = self._test
        error = self._predict(model, test) - test.values
        hidden = test.hidden
        found = {
            "rmse": rms(error, hidden),
            "mae": error[hidden].abs().mean().item() if hidden.any() else None,
            "rmse_given": rms(error, test.seen),
        }
        for i, name in enumerate(self._file.columns):
            own = rms(error[..., i], hidden[..., i])
            found[f"rmse_of_{re.sub(r'[^a-zA-Z0-9]+', '_', name)}"] = None if own is None else own * float(self._std[i])
        return found

    def picture(self, model: nn.Module) -> Trajectories:
        """Test series: all observations, the given ones, and the predictions of the model."""
        some = self._test.of(torch.arange(min(EXAMPLES, len(self._test.values))))
        longest = max(float(one.times[-1]) for one in self._file.series) or 1.0
        grid, where = torch.unique(some.times, return_inverse=True)
        true, seen = (torch.where(which, some.values, torch.nan) for which in (some.known, some.seen))
        rows, columns = some.known.any(-1).nonzero(as_tuple=True)  # without the padding of short series

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
        """Return values ``(..., D)`` in the units of the file."""
        return (self._mean + self._std * values).numpy()


def _moments(some: Observed) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation ``(D,)`` of what was observed; 1 where a column does not vary."""
    count = some.known.sum((0, 1)).clamp(min=1)
    mean = some.values.sum((0, 1)) / count
    spread = (torch.where(some.known, some.values - mean, 0.0).square().sum((0, 1)) / count).sqrt()
    return mean, torch.where(spread > 0, spread, 1.0)
