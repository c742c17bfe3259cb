"""``density``: normalising flows fitted to points of the plane."""

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from nodebench.models.flows import (
    ConcatSquashField,
    ContinuousFlow,
    GaussianMixture,
    LayersStart,
    PlanarField,
    PlanarFlow,
    Trace,
    noise_like,
)
from nodebench.models.splines import SplineFlow
from nodebench.solvers import Solve, StepControl
from nodebench.spec import Gradient, Preset
from nodebench.spec.trajectories import Trajectories
from nodebench.tasks.contract import Batch, Experiment, ModelInfo, Setup, Task
from nodebench.tasks.planar_densities import DENSITIES, midpoints
from nodebench.tasks.regularised import RegularisedOptions, regularised

_CHEN = "Chen et al. 2018, arXiv 1806.07366, section 4; torchdiffeq examples/cnf.py"
_FFJORD = "Grathwohl et al. 2019, arXiv 1810.01367"
_REZENDE = "Rezende and Mohamed 2015, arXiv 1505.05770, section 4.1"
_SPLINES = "Durkan et al. 2019, arXiv 1906.04032"
DIMENSION = 2

# Training settings of FFJORD's authors for their toys (``train_toy.py``): model ``ffjord``, preset ``paper`` and these
# options. 100 points per step; the end time starts at 0.5 and is learned.
FFJORD_TOYS: Mapping[str, str | int | float] = {
    "density": "8gaussians",
    "epochs": 20,
    "steps_per_epoch": 500,
    "batch_size": 100,
    "learning_rate": 1e-3,
    "weight_decay": 1e-5,
    "end_time": "trained",
}
PROBE = 32  # points
FRAMES = 17  # times at which a flow is plotted
POINTS = 500  # in a plot
BLOCK = 2_500  # points per evaluation of the density


class DensityOptions(RegularisedOptions):
    """Options of ``density``."""

    density: Literal[
        "circles",
        "circles-small",
        "rings",
        "8gaussians",
        "moons",
        "checkerboard",
        "pinwheel",
        "2spirals",
        "u1",
        "u2",
        "u3",
        "u4",
    ] = "circles"
    # Trace of the Jacobian in training; gaussian and rademacher: Hutchinson's estimate. In evaluation, it is exact.
    trace: Trace = "exact"
    noise: Literal["solve", "evaluation"] = "solve"  # of the estimate: drawn once per solve, or at each evaluation
    end_time: Literal["fixed", "trained"] = "fixed"
    epochs: int = Field(5, ge=1)
    steps_per_epoch: int = Field(100, ge=1)
    batch_size: int = Field(256, ge=1)  # points, drawn anew at each step
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    hidden: int = Field(64, ge=1)  # units per layer of ffjord; planar-cnf: half of it in its network of t
    units: int = Field(64, ge=1)  # planar units of planar-cnf, layers of planar-nf, components of gmm
    layers_start: LayersStart = "identity"  # of planar-nf
    test_points: int = Field(1000, ge=2)
    grid: int = Field(60, ge=10)  # points per axis of the grid that integrates the density


class DensityTask(Task):
    """Fit a density of the plane by maximum likelihood.

    A continuous flow moves points from the data at the end time to a normal base at time 0, as in the sources:
    ``planar-cnf`` from 10 to 0 with a base of variance 0.1, ``ffjord`` from 0.5 to 0 with a standard normal base.

    The preset ``paper`` has the data and the training of torchdiffeq's script; ``FFJORD_TOYS`` are the settings of
    FFJORD's authors.
    """

    name = "density"
    about = "normalising flows on points of the plane: continuous (planar, FFJORD), planar layers, and a mixture"
    source = f"{_CHEN}; {_FFJORD}"
    models = {
        "planar-cnf": ModelInfo("continuous flow, planar units whose weights depend on the time", _CHEN),
        "ffjord": ModelInfo("continuous flow, three hidden layers with time-dependent gates and shifts", _FFJORD),
        "planar-nf": ModelInfo("planar layers; no ODE", _REZENDE, frozenset()),
        "nsf": ModelInfo("neural spline flow of zuko, three transforms; no ODE", _SPLINES, frozenset()),
        "gmm": ModelInfo("mixture of normal densities; no flow", "a control", frozenset()),
    }
    options = DensityOptions
    presets = {
        Preset.SMOKE: DensityOptions(
            epochs=1, steps_per_epoch=2, batch_size=32, test_points=64, grid=20, hidden=16, units=8
        ),
        Preset.QUICK: DensityOptions(learning_rate=5e-3, batch_size=128),
        Preset.PAPER: DensityOptions(density="circles-small", epochs=10, batch_size=512),
    }
    gradient = Gradient.ADJOINT
    rtol = atol = 1e-5
    step_size = 0.1
    reference = StepControl(method="dopri5", rtol=1e-8, atol=1e-8, land_on_outputs=True)
    headlines = ("excess_nats", "nats")
    brief = {"epochs": 1, "steps_per_epoch": 5}

    def build(self, setup: Setup) -> Experiment:
        """Build the training of one of the models."""
        return _Density(setup)


class _Density(Experiment):
    def __init__(self, setup: Setup) -> None:
        options: DensityOptions = setup.options
        self._options, self._place = options, (setup.device, setup.dtype)
        self._seed, self._truth = setup.seed, DENSITIES[options.density]
        self.epochs, self.steps_per_epoch = options.epochs, options.steps_per_epoch
        # One test set for all seeds, to separate its sampling error from the variation between trainings.
        self._test = self._truth.sample(options.test_points, torch.Generator().manual_seed(2**33))
        torch.manual_seed(setup.seed)
        self._solve = regularised(setup.solve, options)
        self.model = _BUILD[setup.model](options, self._solve).to(setup.device, setup.dtype)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
        )
        self._draws = torch.Generator().manual_seed(setup.seed + 2**32)
        self.generators = {"draws": self._draws}
        self.probe = self._batch(PROBE, torch.Generator().manual_seed(0))

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield points that are drawn anew at each step."""
        for _ in range(self.steps_per_epoch):
            yield self._batch(self._options.batch_size, self._draws)

    def _batch(self, count: int, random: torch.Generator) -> Batch:
        """Draw points ``(B, 2)`` and the noise ``(B, 2)`` of the trace estimate."""
        return self._placed(self._truth.sample(count, random), random)

    def _placed(self, points: Tensor, random: torch.Generator) -> Batch:
        device, dtype = self._place
        return points.to(device, dtype), noise_like(points, self._options.trace, random).to(device, dtype)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Negative mean log-density, in nats, and penalties."""
        return -model(*batch).mean() + self._solve.take_penalty()

    def metrics(self, model: nn.Module) -> dict[str, float | None]:
        """Negative log-density of test points, its excess over the true one, total mass, and round-trip error."""
        found = self._log_density(model, self._test)
        nats = -found.mean().item()
        excess, error = None, None
        if self._truth.log_density is not None:
            gap = self._truth.log_density(self._test) - found
            excess, error = gap.mean().item(), gap.std().item() / len(gap) ** 0.5
        return {
            "nats": nats,
            "excess_nats": excess,
            "excess_nats_error": error,
            "density_mass": self._mass(model),
            "round_trip_error": self._round_trip(model),
            **self._estimates(model, found),
        }

    def _log_density(self, model: nn.Module, points: Tensor) -> Tensor:
        """Log-density ``(N,)`` of points ``(N, 2)``, in float64 on the CPU."""
        random = torch.Generator().manual_seed(0)
        return torch.cat([model(*self._placed(some, random)).double().cpu() for some in points.split(BLOCK)])

    def _estimates(self, model: nn.Module, exact: Tensor) -> dict[str, float | None]:
        """Errors of Hutchinson's estimate of the log-density of the test points, with one noise vector per point."""
        if not isinstance(model, ContinuousFlow):
            return dict.fromkeys(
                ("end_time", "estimate_bias", "estimate_bias_error", "estimate_spread", "rademacher_spread")
            )
        end: dict[str, float | None] = {"end_time": model.end}
        errors = {}
        if self._options.noise == "evaluation":
            return end
        for trace in ("gaussian", "rademacher"):
            random = torch.Generator().manual_seed(self._seed + 2**34)
            points, _ = self._placed(self._test, random)
            noise = noise_like(points, trace, random).to(points)
            errors[trace] = model(points, noise, exact=False).double().cpu() - exact
        spreads = {trace: error.std().item() for trace, error in errors.items()}
        return {
            **end,
            "estimate_bias": errors["gaussian"].mean().item(),
            "estimate_bias_error": spreads["gaussian"] / len(exact) ** 0.5,
            "estimate_spread": spreads["gaussian"],
            "rademacher_spread": spreads["rademacher"],
        }

    def _mass(self, model: nn.Module) -> float:
        """The integral of the density over the box of the data, by the midpoint rule; 1 if nothing lies outside."""
        points, area = midpoints(self._truth.box, self._options.grid)
        return float(self._log_density(model, points).exp().sum() * area)

    def picture(self, model: nn.Module) -> Trajectories:
        """Points of the data, the density on a grid, and points of the base on their way to the data."""
        axis = torch.linspace(-self._truth.box, self._truth.box, self._options.grid, dtype=torch.float64)
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        found = self._log_density(model, torch.stack([x.flatten(), y.flatten()], 1)).exp().reshape(x.shape)
        times, moved = torch.zeros(1), torch.empty(0, 0, DIMENSION)
        if isinstance(model, ContinuousFlow):
            times = torch.linspace(0, float(model.times[0]), FRAMES)
            normal = torch.randn(POINTS, DIMENSION, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
            start = (model.base_variance**0.5 * normal).to(*self._place)
            moved = model.flow(start, start, times.to(start))[..., :-1]
            times = times * model.end / times[-1]
        data = self._test[:POINTS].unsqueeze(0)
        unknown = np.full((1, len(times), DIMENSION), np.nan)
        return Trajectories(
            times=times.numpy(),
            true=unknown,
            fitted=unknown,
            observed_times=np.zeros(data.shape[:2]),
            observed=data.numpy(),
            trained=(0.0, float(times[-1])),
            time_label="time",
            labels=("x", "y"),
            axes=torch.stack([axis, axis]).numpy(),
            density=found.numpy(),
            moved=moved.double().cpu().numpy(),
        )

    def _round_trip(self, model: nn.Module) -> float | None:
        """Relative L2 error of test points after a solve to the base and back; None if the model is not continuous."""
        if not isinstance(model, ContinuousFlow):
            return None
        points, noise = self._placed(self._test[:PROBE], torch.Generator().manual_seed(0))
        model.field.exact = True
        base = model.flow(points, noise, model.times)[-1, :, :-1]
        back = model.flow(base, noise, model.times.flip(0))[-1, :, :-1]
        return float((back - points).norm() / points.norm())


def _planar_cnf(options: DensityOptions, solve: Solve) -> nn.Module:
    field = PlanarField(DIMENSION, max(1, options.hidden // 2), options.units)
    return _continuous(field, options, solve, 10.0, 0.1)


def _ffjord(options: DensityOptions, solve: Solve) -> nn.Module:
    field = ConcatSquashField((DIMENSION, options.hidden, options.hidden, options.hidden, DIMENSION))
    return _continuous(field, options, solve, 0.5, 1.0)


def _continuous(
    field: nn.Module, options: DensityOptions, solve: Solve, end: float, base_variance: float
) -> ContinuousFlow:
    redraw, train_end = options.noise == "evaluation", options.end_time == "trained"
    return ContinuousFlow(field, solve, end, base_variance, options.trace, redraw, train_end)


_BUILD: Mapping[str, Callable[[DensityOptions, Solve], nn.Module]] = {
    "planar-cnf": _planar_cnf,
    "ffjord": _ffjord,
    "planar-nf": lambda options, _: PlanarFlow(DIMENSION, options.units, options.layers_start),
    "nsf": lambda options, _: SplineFlow(DIMENSION, options.hidden),
    "gmm": lambda options, _: GaussianMixture(DIMENSION, options.units),
}
