"""``periodic``: reconstruct or continue sines of varying frequency from a few points."""

from typing import Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from nodebench.models.fields import MlpField
from nodebench.models.observed import LatentOde
from nodebench.solvers import Solve, StepControl
from nodebench.spec import Gradient, Preset
from nodebench.spec.trajectories import Trajectories
from nodebench.tasks.contract import Experiment, ModelInfo, Setup, Task
from nodebench.tasks.observed_training import (
    MODELS,
    RUBANOVA,
    Build,
    Observed,
    ObservedOptions,
    ObservedTraining,
    builders,
    ode_rnn,
    rms,
)

_SCRIPT = "latent_ode's run_models.py, parse_datasets.py and generate_timeseries.py"

POINTS = 100  # times of a trajectory
SPAN = 5.0  # times lie in [0, 5]
FREQUENCIES = 0.4, 0.8  # cycles per unit of time
TEST_SHARE = 0.2
EXAMPLES = 4  # in figures


class PeriodicOptions(ObservedOptions):
    """Options of ``periodic``; the defaults are the paper's or, if it gives none, the script's."""

    variant: Literal["paper", "script"] = "paper"
    trajectories: int = Field(1000, ge=10)  # a fifth of them is held out
    objective: Literal["interpolate", "forecast"] = "interpolate"
    observed: float = Field(0.3, gt=0, le=1)  # fraction of points given; forecast: of the first half
    reads: Literal["past", "both"] = "past"  # recurrent models: points before a time, or also those after it
    signal_noise: float = Field(0.01, ge=0)
    epochs: int = Field(500, ge=1)
    steps_per_epoch: int = Field(16, ge=1)  # 800 trajectories in batches of 50
    latent: int = Field(10, ge=1)
    hidden: int = Field(100, ge=1)
    noise: float = Field(0.01, gt=0)
    decay: float = Field(0.999, gt=0, le=1)  # factor of the learning rate per step, down to a tenth


class Periodic(Task):
    """Reconstruct or continue a sine from a few of its points: Rubanova et al. 2019, section 4.1.

    All trajectories have amplitude 1 and share 100 irregular times; each has its own frequency, first value,
    noise and given points. A batch consists of the union of its times and a mask of the given points. The latent ODE is
    solved once over the union. The ODE-RNN solves from each time of the union to the next, and updates its state only
    at given points.

    The loss covers all 100 points of the training trajectories, as in the script. The script differs from the paper:
    first values are N(1, 0.1²), not N(0, 1), and the noise is uniform on [0, 0.01], not Gaussian. The paper gives
    neither the noise level nor the frequencies. The script weights the KL divergence by 0 in the first 50 epochs and by
    less than 1 afterwards. Here its weight is 1, which matters little with a likelihood noise of 0.01.
    """

    name = "periodic"
    about = "sines of varying frequency at irregular times: latent ODE, ODE-RNN and GRUs against lines and constants"
    source = f"{RUBANOVA}, section 4.1; {_SCRIPT}"
    models = {
        **MODELS,
        "latent-ode-odernn": ModelInfo("latent ODE whose encoder is an ODE-RNN", RUBANOVA),
    }
    options = PeriodicOptions
    presets = {
        Preset.SMOKE: PeriodicOptions(trajectories=20, epochs=1, steps_per_epoch=2, batch_size=8, hidden=20),
        Preset.QUICK: PeriodicOptions(trajectories=500, epochs=20, steps_per_epoch=50, hidden=40, decay=0.998),
        Preset.PAPER: PeriodicOptions(),
    }
    gradient = Gradient.DIRECT
    rtol, atol = 1e-3, 1e-4
    step_size = 0.25  # of the interval between two points in an ODE-RNN, which is rescaled to 1
    reference = StepControl(method="dopri5", rtol=1e-8, atol=1e-8, land_on_outputs=True)
    headlines = ("hidden_mse", "all_mse")
    brief = {"epochs": 1, "steps_per_epoch": 5}

    def build(self, setup: Setup) -> Experiment:
        """Build the training of one of the models."""
        return _Sines(setup)


class Sines(NamedTuple):
    """Trajectories at common times.

    Attributes:
        times: ``(POINTS,)``, increasing from 0.
        clean: ``(N, POINTS)``.
        noisy: the same with noise; in the variant ``script``, the first point has no noise.
        frequency: cycles per unit of time, ``(N,)``.
    """

    times: Tensor
    clean: Tensor
    noisy: Tensor
    frequency: Tensor


def make_sines(options: PeriodicOptions, random: torch.Generator) -> Sines:
    """Draw times, frequencies, first values and noise, in float64."""
    number, low, high = options.trajectories, *FREQUENCIES

    def uniform(*size: int) -> Tensor:
        return torch.rand(*size, generator=random, dtype=torch.float64)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=random, dtype=torch.float64)

    is_script = options.variant == "script"
    times = torch.cat([torch.zeros(1, dtype=torch.float64), SPAN * uniform(POINTS - 1)]).sort().values
    frequency = low + (high - low) * uniform(number)
    first = 1 + 0.1 * normal(number) if is_script else normal(number)
    clean = torch.sin(2 * torch.pi * frequency[:, None] * times) + first[:, None]
    noise = uniform(number, POINTS) if is_script else normal(number, POINTS)
    if is_script:
        noise[:, 0] = 0
    return Sines(times, clean, clean + options.signal_noise * noise, frequency)


def given_points(options: PeriodicOptions, random: torch.Generator) -> Tensor:
    """Draw a mask ``(N, POINTS)`` of the given points, from all points or from those of the first half."""
    allowed = POINTS if options.objective == "interpolate" else POINTS // 2
    order = torch.rand(options.trajectories, allowed, generator=random).argsort(1)
    given = torch.zeros(options.trajectories, POINTS, dtype=torch.bool)
    return given.scatter_(1, order[:, : max(1, round(options.observed * allowed))], True)


class _Sines(ObservedTraining):
    def __init__(self, setup: Setup) -> None:
        options: PeriodicOptions = setup.options
        random = torch.Generator().manual_seed(setup.seed + 2**32)
        sines = make_sines(options, random)
        values = sines.noisy.unsqueeze(-1)
        every = Observed(
            values,
            torch.ones_like(values, dtype=torch.bool),
            given_points(options, random),
            sines.times.expand(len(values), -1),
        )
        rows = torch.arange(options.trajectories)
        held_out = max(1, round(TEST_SHARE * options.trajectories))
        self._options, self._clean = options, sines.clean[-held_out:]
        super().__init__(setup, every.of(rows[:-held_out]), every.of(rows[-held_out:]), _build(setup.model, options))
        if self.optimizer:
            self._schedule(self.optimizer)

    def _optimiser(self, parameters: list[nn.Parameter], rate: float) -> torch.optim.Optimizer:
        """Adamax, as in the script."""
        return torch.optim.Adamax(parameters, lr=rate)

    def _schedule(self, optimizer: torch.optim.Optimizer) -> None:
        """Multiply the learning rate by ``decay`` after each step, down to a tenth of its initial value.

        The current rate is part of the optimiser's state.
        """
        least, factor = self._options.learning_rate / 10, self._options.decay

        def fall(done: torch.optim.Optimizer, *_: object) -> None:
            for group in done.param_groups:
                group["lr"] = max(least, factor * group["lr"])

        optimizer.register_step_post_hook(fall)

    def metrics(self, model: nn.Module) -> dict[str, float | None]:
        """Squared errors on test trajectories against the noisy points, as in the script."""
        test = self._test
        predicted = self._predict(model, test)
        error, clean = predicted - test.values, predicted - self._clean.unsqueeze(-1)
        every = torch.ones_like(test.hidden)
        hidden = _mse(error, test.hidden)
        return {
            "hidden_mse": hidden,
            "hidden_rmse": None if hidden is None else hidden**0.5,
            "hidden_mse_clean": _mse(clean, test.hidden),
            "all_mse": _mse(error, every),
            "rmse_given": rms(error, test.seen),
        }

    def picture(self, model: nn.Module) -> Trajectories:
        """Test trajectories: all points, the given ones, and the predictions of the model."""
        some = self._test.of(torch.arange(min(EXAMPLES, len(self._test.values))))
        forecast = self._options.objective == "forecast"
        last_given = torch.where(some.given, some.times, -1.0).max(1).values
        return Trajectories(
            times=some.times[0].numpy(),
            true=some.values.numpy(),
            fitted=self._predict(model, some).numpy(),
            observed_times=some.times.numpy(),
            observed=torch.where(some.seen, some.values, torch.nan).numpy(),
            trained=(0.0, float(some.times[0, -1])),
            time_label="time",
            labels=("y",),
            names=tuple(f"trajectory {i + 1}" for i in range(len(some.values))),
            given_until=last_given.numpy() if forecast else np.empty(0),
        )


def _mse(error: Tensor, where: Tensor) -> float | None:
    found = rms(error, where)
    return None if found is None else found**2


def _build(name: str, options: PeriodicOptions) -> Build:
    if name == "latent-ode-odernn":
        return _latent_ode_odernn
    return builders(both_ways=options.reads == "both")[name]


def _latent_ode_odernn(dimension: int, options: ObservedOptions, solve: Solve) -> nn.Module:
    field = MlpField((options.latent, options.hidden, options.hidden, options.latent))
    encoder = ode_rnn(dimension, options, solve)
    return LatentOde(dimension, options.hidden, field, options.latent, solve, encoder)
