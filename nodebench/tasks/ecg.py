"""``ecg``: heart beats as phase portraits (x, x'), in a variational autoencoder with an ODE decoder."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from nodebench.errors import BadInput
from nodebench.models.fields import MlpField
from nodebench.models.latent import DenseEncoder, Encoder, GruDecoder, OdeDecoder, SeriesVae, SignalBounds, pick
from nodebench.models.observed import RULES, Baseline
from nodebench.solvers import Solve, StepControl
from nodebench.spec import DataSource, Gradient, Preset
from nodebench.spec.record import DataCard
from nodebench.spec.trajectories import Trajectories
from nodebench.tasks import ecg_sources
from nodebench.tasks.contract import Experiment, ModelInfo, Setup, Task
from nodebench.tasks.ecg_sources import ECG5000, MITDB, POINTS, SYNTHETIC, Beats, Split
from nodebench.tasks.observed_training import ROLLING
from nodebench.tasks.series import Series, SeriesOptions, SeriesTraining, rmse

_ARTICLE = "the Breakdown article"

HORIZON = 4.0  # beat lengths beyond either end of the training times
HORIZON_STEP = 0.1
ESCAPED = 10.0  # times the signal's range
EXAMPLES = 4  # in figures


class EcgOptions(SeriesOptions):
    """Options of ``ecg``."""

    objective: Literal["reconstruct", "interpolate", "extrapolate"] = "reconstruct"
    missing: float = Field(0.5, gt=0, lt=1)  # share of points hidden, at random, when interpolating
    given: float = Field(0.5, gt=0, lt=1)  # extrapolate: fraction of the beat that is given, in its middle
    noise: float = Field(0.1, gt=0)  # standard deviation of the likelihood, relative to that of the signal
    encoder: Literal["gru", "dense"] = "gru"  # gru: reads point by point; dense: reads all points and times at once
    damping: float = Field(0.5, ge=0)  # λ of the damped field
    duration: float = Field(1.0, gt=0)  # of a beat, in the field's time
    hearts: int = Field(100, ge=5)  # ecgsyn: records, a fifth of them for the test
    beats: int = Field(5, ge=1)  # ecgsyn: beats per record
    signal_noise: float = Field(0.01, ge=0)  # ecgsyn: mV
    records: str = "100"  # mitdb: comma-separated record names
    lead: str = "MLII"  # mitdb

    @model_validator(mode="after")
    def _is_told_where_points_stand(self) -> Self:
        if self.encoder == "dense" and not self.encoder_sees_gaps:
            raise ValueError("encoder_sees_gaps = false: the encoder dense always receives the times of the points")
        return self

    @field_validator("records")
    @classmethod
    def _are_names(cls, text: str) -> str:
        if not all(re.fullmatch(r"[A-Za-z0-9_-]+", part.strip()) for part in text.split(",")):
            raise ValueError("comma-separated record names, for example 100 or 100,101")
        return text


class Ecg(Task):
    """Reconstruct, interpolate and extrapolate heart beats.

    All beats share one grid of 100 times, which is solved once per batch; see ``SeriesVae``. The baselines
    ``last-value`` and ``linear`` pass through the given points: only their errors at hidden points are informative.
    """

    name = "ecg"
    about = "heart beats in a latent ODE: collapse to one shape, and divergence outside the beat"
    source = f"{_ARTICLE}; Chen et al. 2018, arXiv 1806.07366, section 5"
    models: ClassVar[Mapping[str, ModelInfo]] = {
        "latent-ode": ModelInfo("variational autoencoder, ODE decoder with an ELU field", _ARTICLE),
        "latent-ode-tanh": ModelInfo("the same with tanh, whose field is bounded", "against the article's divergence"),
        "latent-ode-damped": ModelInfo(
            "the same with tanh, minus λz: bounded forwards in time, not backwards", "against the article's divergence"
        ),
        "gru-vae": ModelInfo("the same encoder with a GRU decoder; no ODE", "a discrete baseline", frozenset()),
        "constant": ModelInfo("mean of the given points of a beat; nothing is learned", ROLLING, frozenset()),
        "last-value": ModelInfo("last given point; nothing is learned", ROLLING, frozenset()),
        "linear": ModelInfo("straight lines between the given points; nothing is learned", ROLLING, frozenset()),
    }
    options = EcgOptions
    presets = {
        Preset.SMOKE: EcgOptions(hearts=10, beats=2, epochs=2, steps_per_epoch=2),
        Preset.QUICK: EcgOptions(epochs=10, steps_per_epoch=50, batch_size=100),
    }
    datasets = ecg_sources.DATASETS
    gradient = Gradient.DIRECT
    rtol, atol = 1e-5, 1e-5
    step_size = None
    reference = StepControl(method="dopri5", rtol=1e-8, atol=1e-8, land_on_outputs=True)
    headlines = ("reconstruction_rmse", "diversity_ratio", "escape_share")
    brief = {"epochs": 1, "steps_per_epoch": 10}

    def dataset(self, wanted: str | None, source: DataSource, preset: Preset) -> str:
        """Return the synthetic set, unless another set is requested or found in the folder."""
        if source == DataSource():
            if wanted not in (None, SYNTHETIC):
                raise BadInput(f"--dataset {wanted}: add --data DIR or --download")
            return SYNTHETIC
        if wanted is None:
            found = [name for name in (MITDB, ECG5000) if source.folder and (source.folder / name).is_dir()]
            if len(found) != 1:
                raise BadInput(
                    f"--data or --download: choose a data set with --dataset. Allowed: {', '.join(self.datasets)}"
                )
            (wanted,) = found
        ecg_sources.check(wanted, source)
        return wanted

    def build(self, setup: Setup) -> Experiment:
        """Build the training of one of the models."""
        return _Beats(setup)


def load(dataset: str, options: EcgOptions, source: DataSource, seed: int) -> Split:
    """Load a data set; the synthetic hearts are drawn by the seed."""
    if dataset == MITDB:
        return ecg_sources.mitdb(source, [name.strip() for name in options.records.split(",")], options.lead)
    if dataset == ECG5000:
        return ecg_sources.ecg5000(source)
    return ecg_sources.synthetic(options.hearts, options.beats, options.signal_noise, seed)


def observed_points(options: EcgOptions, beats: int, random: torch.Generator) -> Tensor:
    """Return the indices of the given points of each beat, ``(N, n)``, increasing."""
    if options.objective == "interpolate":
        kept = max(2, round(POINTS * (1 - options.missing)))
        # Both ends are always given; only inner points are hidden.
        inner = torch.rand(beats, POINTS - 2, generator=random).argsort(1)[:, : kept - 2] + 1
        ends = torch.tensor([0, POINTS - 1]).expand(beats, 2)
        return torch.cat([inner, ends], 1).sort(1).values
    if options.objective == "extrapolate":
        given = max(2, round(POINTS * options.given))
        first = (POINTS - given) // 2
        return torch.arange(first, first + given).repeat(beats, 1)
    return torch.arange(POINTS).repeat(beats, 1)


class _Beats(SeriesTraining):
    def __init__(self, setup: Setup) -> None:
        options: EcgOptions = setup.options
        self._options = options
        split = load(setup.dataset or SYNTHETIC, options, setup.source, setup.seed)
        self.data = _card(setup.dataset or SYNTHETIC, split)
        self._labels, self._length, self._unit = split.test.labels, split.train.length, split.train.time_unit
        mean, std = (f(split.train.signal, axis=(0, 1)) for f in (np.mean, np.std))
        train, self._test = (torch.from_numpy((part.signal - mean) / std) for part in split)
        self._noise_level = split.train.noise / std[0]
        low, high = train.amin((0, 1)), train.amax((0, 1))
        self._fence = SignalBounds((low + high) / 2, ESCAPED * (high - low) / 2)
        random = torch.Generator().manual_seed(setup.seed + 2**32)
        where = observed_points(options, len(train), random)
        self._where = observed_points(options, len(self._test), random)
        self._times = torch.linspace(0, options.duration, POINTS, dtype=torch.float64)
        # Training uses no times outside the given part.
        self._first, self._last = int(where.min()), int(where.max())
        self._linear = self._linear_errors(train) if options.objective == "reconstruct" else (None, None)
        super().__init__(setup, self._series(train, where), options.noise, partial(_model, setup.model, options))
        self._place = setup.device, setup.dtype

    def _series(self, beats: Tensor, where: Tensor) -> Series:
        return Series(pick(beats, where), where - self._first, self._times[self._first : self._last + 1])

    def _linear_errors(self, train: Tensor) -> tuple[float, float]:
        """Errors of the mean beat and of PCA with the latent dimension, divided by the noise level."""
        ranks = 0, self._options.latent
        mean, best = (rmse(reduced(train, self._test, rank)[..., 0], self._test[..., 0]) for rank in ranks)
        return mean / self._noise_level, best / self._noise_level

    def metrics(self, model: nn.Module) -> dict[str, float | None]:
        """Errors, collapse and divergence on test beats, in standard deviations of the signal."""
        assert isinstance(model, SeriesVae | Baseline)
        test, where = self._test, self._where
        fitted = self._fit(model)
        hidden = torch.ones(test.shape[:2], dtype=torch.bool).scatter_(1, where, False)
        objective = self._options.objective
        errors = {
            "reconstruction_rmse": rmse(pick(fitted, where), pick(test, where)),
            "interpolation_rmse": rmse(fitted[hidden], test[hidden]) if objective == "interpolate" else None,
            **self._outside(fitted),
            **self._by_class(fitted),
        }
        bound = self.bound(model, self._series(test, where).to(*self._place))
        signal = rmse(pick(fitted, where)[..., 0], pick(test, where)[..., 0])
        inside = slice(self._first, self._last + 1)
        return {
            "diversity_ratio": spread(fitted[:, inside]) / spread(test[:, inside]),
            "rmse_over_noise": signal / self._noise_level,
            **dict(zip(("mean_beat_over_noise", "linear_over_noise"), self._linear, strict=True)),
            **errors,
            **self._escapes(model),
            **(bound if isinstance(model, SeriesVae) else dict.fromkeys(bound)),
        }

    def _fit(self, model: SeriesVae | Baseline) -> Tensor:
        """Decode whole test beats from the given points, ``(N, POINTS, 2)``; NaN where a GRU has no output."""
        if isinstance(model, Baseline):
            return self._by_rule(model, self._times)
        z = self._starts(model)
        return model.decoder(z, self._times.to(z), self._first).double().cpu()

    def _starts(self, model: SeriesVae, rows: Tensor | slice = slice(None)) -> Tensor:
        """Return the most likely latent initial states of test beats, ``(N, L)``."""
        observed, where, times = self._series(self._test[rows], self._where[rows]).to(*self._place)
        return model.most_likely(observed, times[where])

    def _by_rule(self, model: Baseline, asked: Tensor, rows: Tensor | slice = slice(None)) -> Tensor:
        """Predict test beats with a baseline at the times ``asked`` ``(K,)``, in float64 ``(N, K, 2)``."""
        observed, where, times = self._series(self._test[rows], self._where[rows]).to(*self._place)
        return model.forecast(observed, times[where], asked.to(times)).double().cpu()

    def _outside(self, fitted: Tensor) -> dict[str, float | None]:
        """Errors before and after the given part of the beat."""
        parts = {"before": slice(0, self._first), "after": slice(self._last + 1, POINTS)}
        errors: dict[str, float | None] = {}
        for name, part in parts.items():
            known = fitted[:, part].numel() > 0 and bool(fitted[:, part].isfinite().all())
            errors[f"extrapolation_rmse_{name}"] = rmse(fitted[:, part], self._test[:, part]) if known else None
        return errors

    def _by_class(self, fitted: Tensor) -> dict[str, float | None]:
        """Error of each class, over the given points."""
        names = np.unique(self._labels)
        if len(names) < 2:
            return {}
        rows = {str(name): torch.from_numpy(np.flatnonzero(self._labels == name)) for name in names}
        return {
            f"rmse_class_{name.replace(' ', '_')}": rmse(
                pick(fitted[chosen], self._where[chosen]), pick(self._test[chosen], self._where[chosen])
            )
            for name, chosen in rows.items()
        }

    def _escapes(self, model: SeriesVae | Baseline) -> dict[str, float | None]:
        """Fraction of extrapolations, forward and backward from each beat, that leave ten times the signal's range.

        A recurrent decoder extrapolates only forward.
        """
        left = {side: ~self._fence.contains(signal) for side, signal in self._far(model).items()}  # (N, steps)
        escaped = torch.cat([outside.any(1) for outside in left.values()])
        steps = torch.cat([outside.double().argmax(1) for outside in left.values()])[escaped]
        shares = {
            f"escape_share_{side}": left[side].any(1).double().mean().item() if side in left else None
            for side in ("before", "after")
        }
        time = steps.double().median().item() * HORIZON_STEP if len(steps) else None
        return {"escape_share": escaped.double().mean().item(), **shares, "escape_time": time}

    def _far(self, model: SeriesVae | Baseline) -> dict[str, Tensor]:
        """Decode the signal ``(N, K, 2)`` beyond both ends of the training times, every ``HORIZON_STEP`` beats."""
        anchor, end = self._times[self._first], self._times[self._last]
        steps = HORIZON_STEP * self._options.duration * torch.arange(round(HORIZON / HORIZON_STEP) + 1)
        if isinstance(model, Baseline):
            return {"after": self._by_rule(model, end + steps), "before": self._by_rule(model, anchor - steps)}
        z = self._starts(model)
        forward = torch.cat([anchor.unsqueeze(0), end + steps]).to(z)
        fence = SignalBounds(*(side.to(z) for side in self._fence))
        if isinstance(model.decoder, GruDecoder):
            return {"after": model.decoder(z, forward)[:, 1:].double().cpu()}
        backward = (anchor - steps).to(z)
        return {
            "after": model.decoder.decode_bounded(z, forward, fence)[:, 1:].double().cpu(),
            "before": model.decoder.decode_bounded(z, backward, fence).double().cpu(),
        }

    def picture(self, model: nn.Module) -> Trajectories:
        """Test beats: given points, their reconstruction, and half a beat beyond either end."""
        assert isinstance(model, SeriesVae | Baseline)
        times = self._times
        margin = torch.arange(1, POINTS // 2, dtype=torch.float64) * (times[1] - times[0])
        wide = torch.cat([-margin.flip(0), times, times[-1] + margin])
        rows = torch.linspace(0, len(self._test) - 1, EXAMPLES).long()  # adjacent beats are of the same heart
        decoded = self._decode_wide(model, rows, wide, len(margin) + self._first)
        true = torch.full_like(decoded, torch.nan)
        true[:, len(margin) : len(margin) + POINTS] = self._test[rows]
        scale = self._length / self._options.duration
        where = self._where[rows]
        return Trajectories(
            times=scale * wide.numpy(),
            true=true.numpy(),
            fitted=decoded.numpy(),
            observed_times=scale * times[where].numpy(),
            observed=pick(self._test[rows], where).numpy(),
            trained=(scale * float(times[self._first]), scale * float(times[self._last])),
            time_label="time (s)" if self._unit == "s" else "time (beats)",
            labels=("x (SD)", "x′ (SD)"),
        )

    def _decode_wide(self, model: SeriesVae | Baseline, rows: Tensor, wide: Tensor, anchor: int) -> Tensor:
        if isinstance(model, Baseline):
            return self._by_rule(model, wide, rows)
        z = self._starts(model, rows)
        if isinstance(model.decoder, GruDecoder):
            return model.decoder(z, wide.to(z), anchor).double().cpu()
        fence = SignalBounds(*(side.to(z) for side in self._fence))
        after = model.decoder.decode_bounded(z, wide[anchor:].to(z), fence)
        before = model.decoder.decode_bounded(z, wide[: anchor + 1].flip(0).to(z), fence).flip(1)
        return torch.cat([before[:, :-1], after], 1).double().cpu()


def spread(beats: Tensor) -> float:
    """Root mean squared distance of beats ``(N, T, D)`` from their mean beat."""
    return (beats - beats.mean(0)).square().mean().sqrt().item()


def reduced(train: Tensor, test: Tensor, rank: int) -> Tensor:
    """Project test beats ``(N, T, D)`` onto at most ``rank`` principal components of the training beats.

    No linear autoencoder with ``rank`` latent dimensions has a smaller squared error on the training beats (Eckart and
    Young 1936).
    """
    mean = train.mean(0).flatten()
    axes = torch.linalg.svd(train.flatten(1) - mean, full_matrices=False).Vh[:rank]
    return (mean + (test.flatten(1) - mean) @ axes.T @ axes).reshape(test.shape)


def _model(name: str, options: EcgOptions, solve: Solve) -> SeriesVae | Baseline:
    if name in RULES:
        return Baseline(RULES[name]())
    return SeriesVae(_encoder(options), _DECODERS[name](options, solve))


def _encoder(options: EcgOptions) -> Encoder | DenseEncoder:
    hidden, latent = options.encoder_hidden, options.latent
    if options.encoder == "dense":
        return DenseEncoder(torch.linspace(0, options.duration, POINTS), 2, hidden, latent)
    return Encoder(2, hidden, latent, "gru", options.encoder_sees_gaps)


def _ode(activation: type[nn.Module], damped: bool = False) -> Callable[[EcgOptions, Solve], OdeDecoder]:
    def build(options: EcgOptions, solve: Solve) -> OdeDecoder:
        latent, hidden = options.latent, options.hidden
        damping = options.damping if damped else 0.0
        field = MlpField((latent, hidden, hidden, latent), activation, damping=damping)
        return OdeDecoder(field, nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, 2)), solve)

    return build


_DECODERS: dict[str, Callable[[EcgOptions, Solve], OdeDecoder | GruDecoder]] = {
    "latent-ode": _ode(nn.ELU),
    "latent-ode-tanh": _ode(nn.Tanh),
    "latent-ode-damped": _ode(nn.Tanh, damped=True),
    "gru-vae": lambda options, _: GruDecoder(options.latent, options.encoder_hidden, 2),
}


def _card(name: str, split: tuple[Beats, Beats]) -> DataCard:
    digest = sha256()
    for part in split:
        digest.update(np.ascontiguousarray(part.signal).tobytes())
        digest.update("\n".join(part.labels.tolist()).encode())
    return DataCard(name=name, train=len(split[0].signal), test=len(split[1].signal), sha256=digest.hexdigest())
