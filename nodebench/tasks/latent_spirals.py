"""``latent-spirals``: reconstruct and extrapolate irregularly sampled noisy spirals."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from nodebench.models.fields import MlpField
from nodebench.models.latent import Encoder, OdeDecoder, RnnForecaster, SeriesVae, pick
from nodebench.models.observed import RULES, Baseline
from nodebench.models.stepped import Forecaster, GruD, OdeRnn
from nodebench.solvers import Solve, StepControl
from nodebench.spec import Gradient, Preset
from nodebench.spec.trajectories import Trajectories
from nodebench.tasks.contract import Experiment, ModelInfo, Setup, Task
from nodebench.tasks.observed_training import GRU_D, ROLLING, RUBANOVA
from nodebench.tasks.series import Series, SeriesOptions, SeriesTraining, rmse

_PAPER = "Chen et al. 2018, arXiv 1806.07366, section 5.1"
_SCRIPT = "torchdiffeq examples/latent_ode.py"

WINDOW = 100  # points of the observed window, and of the extrapolation after it
TURN = 2 * torch.pi
EXAMPLES = 4  # in figures


class SpiralsOptions(SeriesOptions):
    """Options of ``latent-spirals``; the defaults are the paper's or, if it gives none, the script's."""

    variant: Literal["paper", "script"] = "paper"
    spirals: int = Field(1000, ge=1)
    test_spirals: int = Field(200, ge=EXAMPLES)
    observations: int = Field(100, ge=2, le=WINDOW)  # drawn without replacement from the window
    noise: float | None = Field(None, gt=0)  # of observations and likelihood; None: 0.3 (script), 0.1 (paper)

    @property
    def noise_level(self) -> float:
        """Standard deviation of the observations' noise."""
        return self.noise or _BASES[self.variant].noise


class LatentSpirals(Task):
    """Predict beyond the observed window: Chen et al. 2018, Table 2.

    All spirals share one grid of 100 times, and each is observed at ``observations`` of them. A batch is solved
    once over the grid, and each spiral takes the states at its own times. An adaptive forward solve
    interpolates its outputs: its NFE does not depend on ``observations``. The adjoint restarts at each time of
    the grid: about 100 restarts per training step, for any value of ``observations``. An ODE-RNN solves from each
    observation to the next: solve i covers the i-th gap of every spiral, rescaled to [0, 1]. It thus solves
    ``observations`` − 1 times.

    The recurrent models predict each observation from those before it. Beyond the window, they use their own
    predictions as observations.

    Every spiral is a window of one of two base curves, at a random position. The variants differ in the curves, the
    noise and the field. ``script``: windows of 0.6 turns, noise 0.3, two hidden ELU layers. (The script intends
    1,000 points per curve, but does not pass on this number and uses 500, as this task does.) ``paper``: windows of
    one turn, noise 0.1, one hidden layer. The paper gives neither the curves, nor the noise, nor the activation; this
    task uses radius ``0.1 θ`` over four turns, noise 0.1 and ELU.
    """

    name = "latent-spirals"
    about = "latent ODE against RNN: noisy spirals at irregular times, and 100 points beyond them"
    source = f"{_PAPER}; {_SCRIPT}"
    models = {
        "latent-ode": ModelInfo("variational autoencoder with an ODE decoder", _PAPER),
        "rnn": ModelInfo("recurrent network that predicts the next point; no ODE", _PAPER, frozenset()),
        "rnn-dt": ModelInfo("the same, with the time to the next point as input", _PAPER, frozenset()),
        "ode-rnn": ModelInfo("ODE between the observations, a GRU cell at each", RUBANOVA),
        "gru-d": ModelInfo("GRU whose state decays between the observations; no ODE", GRU_D, frozenset()),
        "constant": ModelInfo("mean of the observations of a spiral; nothing is learned", ROLLING, frozenset()),
        "last-value": ModelInfo("last observation; nothing is learned", ROLLING, frozenset()),
        "linear": ModelInfo("straight lines between observations; nothing is learned", ROLLING, frozenset()),
    }
    options = SpiralsOptions
    presets = {
        Preset.SMOKE: SpiralsOptions(spirals=32, test_spirals=8, observations=30, epochs=1, steps_per_epoch=2),
        Preset.QUICK: SpiralsOptions(spirals=200, test_spirals=100, epochs=10, steps_per_epoch=50),
        Preset.PAPER: SpiralsOptions(),
    }
    gradient = Gradient.DIRECT
    rtol, atol = 1e-7, 1e-9
    step_size = None
    reference = StepControl(method="dopri5", rtol=1e-8, atol=1e-8, land_on_outputs=True)
    headlines = ("extrapolation_rmse", "reconstruction_rmse")
    brief = {"epochs": 1, "steps_per_epoch": 10}

    def build(self, setup: Setup) -> Experiment:
        """Build the training of one of the models."""
        return _Spirals(setup)


class Spirals(NamedTuple):
    """Spirals over the window and the extrapolation after it.

    Attributes:
        clean: curves ``(N, 2 * WINDOW, 2)``.
        noisy: the same with noise.
        where: indices of the observed points in the window, ``(N, n)``.
        times: times ``(2 * WINDOW,)`` from 0; the first half is the window.
    """

    clean: Tensor
    noisy: Tensor
    where: Tensor
    times: Tensor

    def series(self) -> Series:
        """Return the observations that a model receives."""
        return Series(pick(self.noisy, self.where), self.where, self.times[:WINDOW])


def make_spirals(options: SpiralsOptions, number: int, random: torch.Generator, held_out: bool = False) -> Spirals:
    """Draw spirals, noise and observation times, in float64; half of the spirals turn clockwise.

    Each spiral is a window of a base curve at a random position. After a held-out window, the curve has 100 more
    points, which are the ground truth of the extrapolation.
    """
    base = _BASES[options.variant]
    step = (base.stop - base.start) / (base.points - 1)
    last = base.points - (2 if held_out else 1) * WINDOW
    begin = torch.randint(base.first, last, (number, 1), generator=random).double()
    times = torch.arange(2 * WINDOW, dtype=torch.float64) * step
    clockwise, counter = base.curves(base.start + begin * step + times)
    clean = torch.where((torch.arange(number) % 2 == 0)[:, None, None], clockwise, counter)
    noisy = clean + options.noise_level * torch.randn(clean.shape, generator=random, dtype=torch.float64)
    shuffled = torch.rand(number, WINDOW, generator=random).argsort(1)
    where = shuffled[:, : options.observations].sort(1).values
    return Spirals(clean, noisy, where, times)


class _Base(NamedTuple):
    """Two base curves of an angle from ``start`` to ``stop``; windows begin at the point ``first`` or later."""

    start: float
    stop: float
    points: int
    first: int
    noise: float
    curves: Callable[[Tensor], tuple[Tensor, Tensor]]


def _paper_curves(angle: Tensor) -> tuple[Tensor, Tensor]:
    """An Archimedean spiral and its mirror image."""
    counter = _polar(0.1 * angle, angle)
    return counter * torch.tensor([1.0, -1.0], dtype=torch.float64), counter


def _script_curves(angle: Tensor) -> tuple[Tensor, Tensor]:
    """The script's spirals with a = 0 and b = 0.3, apart from each other; the clockwise one winds inward."""
    inward = 3 * TURN + 1 - angle
    apart = torch.tensor([5.0, 0.0], dtype=torch.float64)
    return _polar(0.3 * 50 / inward, inward) - apart, _polar(0.3 * angle, angle) + apart


def _polar(radius: Tensor, angle: Tensor) -> Tensor:
    return radius.unsqueeze(-1) * torch.stack([angle.cos(), angle.sin()], -1)


_BASES = {
    "paper": _Base(0.5 * TURN, 4.5 * TURN, 4 * WINDOW + 1, 0, 0.1, _paper_curves),
    "script": _Base(0.0, 3 * TURN, 500, WINDOW, 0.3, _script_curves),
}


class _Spirals(SeriesTraining):
    def __init__(self, setup: Setup) -> None:
        options: SpiralsOptions = setup.options
        random = torch.Generator().manual_seed(setup.seed + 2**32)
        train = make_spirals(options, options.spirals, random)
        self._test = make_spirals(options, options.test_spirals, random, held_out=True)
        series = train.series()
        build = _BUILD[setup.model]
        mean = series.observed.mean((0, 1))
        super().__init__(setup, series, options.noise_level, lambda solve: build(options, solve, mean))
        self._place = setup.device, setup.dtype

    def metrics(self, model: nn.Module) -> dict[str, float | None]:
        """Errors on test spirals: at the observed points, and on the 100 points after the window."""
        test = self._test
        observed, beyond = self._predict(model)
        bound = self.bound(model, test.series().to(*self._place))
        reconstruction = rmse(observed, pick(test.clean, test.where))
        return {
            "extrapolation_rmse": rmse(beyond, test.clean[:, WINDOW:]),
            "extrapolation_rmse_noisy": rmse(beyond, test.noisy[:, WINDOW:]),
            "reconstruction_rmse": reconstruction,
            "rmse_over_noise": reconstruction / self._noise,
            **(bound if isinstance(model, SeriesVae) else dict.fromkeys(bound)),
        }

    def _predict(self, model: nn.Module, number: int | None = None) -> tuple[Tensor, Tensor]:
        """Predict test spirals at their observed points and beyond the window, in float64."""
        observed, where, times = self._test.series().to(*self._place)
        observed, where = observed[:number], where[:number]
        every = self._test.times.to(times)
        if isinstance(model, SeriesVae):
            signal = model.decoder(model.most_likely(observed, times[where]), every)
            found = pick(signal, where), signal[:, WINDOW:]
        else:
            assert isinstance(model, RnnForecaster | Forecaster | Baseline)
            found = model(observed, where, times, None)[0], model.forecast(observed, times[where], every[WINDOW:])
        return found[0].double().cpu(), found[1].double().cpu()

    def picture(self, model: nn.Module) -> Trajectories:
        """Test spirals, and predictions at the observed points and beyond the window."""
        test = self._test
        observed, beyond = self._predict(model, EXAMPLES)
        fitted = torch.full_like(test.clean[:EXAMPLES], torch.nan)
        fitted[:, WINDOW:] = beyond
        where = test.where[:EXAMPLES]
        fitted.scatter_(1, where.unsqueeze(-1).expand(-1, -1, 2), observed)
        return Trajectories(
            times=test.times.numpy(),
            true=test.clean[:EXAMPLES].numpy(),
            fitted=fitted.numpy(),
            observed_times=test.times[where].numpy(),
            observed=pick(test.noisy[:EXAMPLES], where).numpy(),
            trained=(0.0, float(test.times[WINDOW - 1])),
            time_label="time (rad)",
            labels=("x", "y"),
        )


def _latent_ode(options: SpiralsOptions, solve: Solve, _: Tensor) -> nn.Module:
    """Encoder, field and decoder with the widths of paper and script."""
    latent, hidden = options.latent, options.hidden
    layers = [hidden] * (2 if options.variant == "script" else 1)
    encoder = Encoder(2, options.encoder_hidden, latent, sees_gaps=options.encoder_sees_gaps)
    field = MlpField((latent, *layers, latent), nn.ELU)
    readout = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, 2))
    return SeriesVae(encoder, OdeDecoder(field, readout, solve))


def _ode_rnn(options: SpiralsOptions, solve: Solve, _: Tensor) -> nn.Module:
    units = options.encoder_hidden
    return Forecaster(OdeRnn(2, units, MlpField((units, units, units)), solve), units, 2)


def _gru_d(options: SpiralsOptions, _: Solve, mean: Tensor) -> nn.Module:
    return Forecaster(GruD(2, options.encoder_hidden, mean), options.encoder_hidden, 2)


def _baseline(name: str) -> "_Build":
    return lambda *_: Baseline(RULES[name]())


_Build = Callable[[SpiralsOptions, Solve, Tensor], nn.Module]
_BUILD: dict[str, _Build] = {
    "latent-ode": _latent_ode,
    "rnn": lambda options, *_: RnnForecaster(2, options.encoder_hidden, sees_gaps=False),
    "rnn-dt": lambda options, *_: RnnForecaster(2, options.encoder_hidden, sees_gaps=True),
    "ode-rnn": _ode_rnn,
    "gru-d": _gru_d,
    **{name: _baseline(name) for name in RULES},
}
