"""``toy/…``: learn a two-dimensional field from one of its trajectories."""

from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import nn

from nodebench.models import systems
from nodebench.models.fields import Cubed, MlpField, Squeezed
from nodebench.models.trajectories import INTERPOLATIONS, GruTrajectories, ObservedTrajectories, OdeTrajectories
from nodebench.solvers import Solve, StepControl
from nodebench.spec import Gradient, Preset
from nodebench.spec.trial import EVERY_DTYPE
from nodebench.tasks.contract import Experiment, ModelInfo, Setup, Task
from nodebench.tasks.trajectory_fit import FitOptions, Observations, TrajectoryFit

_ARTICLE = "the Breakdown article"
_DEMO = "torchdiffeq examples/ode_demo.py"

SPIRAL = ((-0.1, 2.0), (-2.0, -0.1))
WIDTHS = {"small": (2, 50, 2), "deep": (2, 150, 50, 50, 2)}
GRU_HIDDEN = 25
_BASELINE = "a baseline without training, as in Physiome-ODE (ICLR 2025)"


# A quarter of the trajectory for the preset smoke, where evaluating the network would take longer than training it.
_QUARTER = {"span": 6.25, "points": 51}


def presets(options: type[FitOptions] = FitOptions, **settings: Any) -> dict[Preset, FitOptions]:
    """Return the presets of a toy; ``paper`` has the published constant rate and solves windows at the first times."""
    return {
        Preset.SMOKE: options(epochs=2, steps_per_epoch=3, **(_QUARTER | settings)),
        Preset.QUICK: options(epochs=10, learning_rate=5e-3, schedule="linear", **settings),
        Preset.PAPER: options(window_times="first", **settings),
    }


class Toy(Task):
    """Base class of the toys: a true field, an initial state, and the models that all toys share.

    Attributes:
        y0, start: the initial state and time.
    """

    y0: ClassVar[tuple[float, float]] = (2.0, 0.0)
    start: ClassVar[float] = 0.0

    source = f"{_ARTICLE}; {_DEMO}, without its cube"
    dtypes = EVERY_DTYPE
    models: ClassVar[Mapping[str, ModelInfo]] = {
        "small": ModelInfo("2–50–2 tanh network", _DEMO),
        "deep": ModelInfo("2–150–50–50–2 tanh network", _ARTICLE),
        "small-t": ModelInfo("3–50–2 tanh network with time as an input", "the small one with t as an input"),
        "deep-t": ModelInfo("3–150–50–50–2 tanh network with time as an input", "the deep one with t as an input"),
        "affine": ModelInfo("an affine field ẏ = A y + b", "a baseline: the simplest field"),
        "gru-dt": ModelInfo(
            f"GRU of {GRU_HIDDEN} units with each Δt as an input; no ODE",
            "Chen et al. 2018, section 5.1: the recurrent baseline for irregular times",
            frozenset(),
        ),
        "constant": ModelInfo("the mean of the observations; no ODE", _BASELINE, frozenset()),
        "last-value": ModelInfo("the last observed value at each time; no ODE", _BASELINE, frozenset()),
        "linear": ModelInfo("linear interpolation of the observations; no ODE", _BASELINE, frozenset()),
    }
    options = FitOptions
    presets = presets()
    gradient = Gradient.DIRECT
    rtol, atol = 1e-7, 1e-9
    step_size = None
    reference = StepControl(method="dopri8", rtol=1e-11, atol=1e-11, land_on_outputs=True)
    headlines: ClassVar[tuple[str, ...]] = ("trajectory_error",)
    brief = {"epochs": 1, "steps_per_epoch": 10}

    @abstractmethod
    def system(self, setup: Setup) -> nn.Module:
        """Return the true field in float64; its random parts are drawn with the trial's seed."""

    def network(self, setup: Setup) -> nn.Module:
        """The field that is learned."""
        name = setup.model
        if name == "affine":
            return MlpField((2, 2)).start_small()
        return MlpField(WIDTHS[name.removesuffix("-t")], sees_time=name.endswith("-t")).start_small()

    def model(self, setup: Setup, observed: Observations, solve: Solve) -> nn.Module:
        """Return the model that predicts states at later times from initial states."""
        if setup.model == "gru-dt":
            return GruTrajectories(2, GRU_HIDDEN)
        if setup.model in INTERPOLATIONS:
            return ObservedTrajectories(setup.model, *observed)
        return OdeTrajectories(self.network(setup), solve, setup.options.own_times)

    def build(self, setup: Setup) -> Experiment:
        """Build the fit of a trajectory."""
        return self.fitted(setup, TrajectoryFit)

    def fitted(self, setup: Setup, fit: type[TrajectoryFit]) -> TrajectoryFit:
        """Build an experiment of class ``fit`` on the toy's trajectory."""
        y0 = torch.tensor(self.y0, dtype=torch.float64)
        return fit(setup, self.system(setup), y0, self.start, partial(self.model, setup))


class Spiral(Toy):
    """The Breakdown article's first experiment, which follows torchdiffeq's ``examples/ode_demo.py``."""

    name = "toy/spiral"
    about = "a linear spiral"

    def system(self, setup: Setup) -> nn.Module:
        """``dy/dt = y A``."""
        return systems.Linear(SPIRAL)


class SpiralCubic(Toy):
    """torchdiffeq's demo, unchanged: field and network both receive the cubed state."""

    name = "toy/spiral-cubic"
    about = "torchdiffeq's demo: a spiral of the cubed state"
    source = _DEMO
    presets = presets() | {
        Preset.PAPER: FitOptions(epochs=20, points=1000, window_times="first")  # 2,000 iterations
    }

    def system(self, setup: Setup) -> nn.Module:
        """``dy/dt = y³ A``."""
        return Cubed(systems.Linear(SPIRAL))

    def network(self, setup: Setup) -> nn.Module:
        """The network of the cubed state."""
        return Cubed(super().network(setup))


class RandomOptions(FitOptions):
    """Options of ``toy/random``."""

    stable: bool = False  # draw again until no eigenvalue has a real part above STABLE


STABLE = 0.02  # states grow by a factor below 1.7 over a span of 25


class Random(Toy):
    """A random linear field. Some fields are unstable, as ``growth`` shows; the option ``stable`` redraws these."""

    name = "toy/random"
    about = "a random linear field, drawn by the seed; 'growth' shows whether it is unstable"
    source = _ARTICLE
    options = RandomOptions
    presets = presets(RandomOptions, stable=True) | {
        Preset.SMOKE: RandomOptions(epochs=2, steps_per_epoch=3, **_QUARTER)
    }

    def system(self, setup: Setup) -> nn.Module:
        """``dy/dt = y A`` with ``A = randn(2, 2) / 2``."""
        options: RandomOptions = setup.options
        random = torch.Generator().manual_seed(setup.seed)
        while True:
            matrix = torch.randn(2, 2, generator=random, dtype=torch.float64) / 2
            if not options.stable or torch.linalg.eigvals(matrix).real.max() <= STABLE:
                return systems.Linear(matrix)


class LotkaVolterraLinear(Toy):
    """What the article calls "Volterra–Lotka": the field linearised about its fixed point."""

    name = "toy/lotka-volterra-linear"
    about = "Lotka–Volterra linearised about its fixed point: the article's 'Volterra–Lotka'"
    source = _ARTICLE

    def system(self, setup: Setup) -> nn.Module:
        """The linearisation."""
        return systems.LotkaVolterra.linearised()


class LotkaVolterra(Toy):
    """The nonlinear Lotka–Volterra system; the article uses its linearisation."""

    name = "toy/lotka-volterra"
    about = "the Lotka–Volterra system: prey and predator"
    source = "Lotka 1925, Volterra 1926; constants of the Breakdown article"
    y0 = (2.0, 1.0)
    presets = presets(span=10.0)  # about three cycles

    def system(self, setup: Setup) -> nn.Module:
        """The nonlinear system."""
        return systems.LotkaVolterra()


class Nonlinear(Toy):
    """The article's nonlinear field, over the time of its notebook."""

    name = "toy/nonlinear"
    about = "two linear fields blended by sigmoids"
    source = _ARTICLE
    y0 = (1.0, 1.0)
    start = -1.0
    presets = presets(span=2.0)

    def system(self, setup: Setup) -> nn.Module:
        """The blend about the initial state."""
        return systems.BlendedFields(self.y0)


class Network(Toy):
    """The article's network field, which depends on time; the article's networks do not receive the time."""

    name = "toy/mlp"
    about = "a random ELU network of y·t, drawn by the seed"
    source = _ARTICLE
    y0 = (1.0, 1.0)
    start = -15.0
    presets = presets(span=30.0)

    def system(self, setup: Setup) -> nn.Module:
        """A random network."""
        return systems.RandomNetwork(torch.Generator().manual_seed(setup.seed))


class VanDerPolOptions(FitOptions):
    """Options of ``toy/van-der-pol``."""

    span: float = Field(20.0, gt=0)
    mu: float = Field(2.0, ge=0)  # stiffness


class VanDerPol(Toy):
    """The Van der Pol oscillator, whose stiffness is an option."""

    name = "toy/van-der-pol"
    about = "the Van der Pol oscillator; its stiffness is the option mu"
    source = "Hairer and Wanner 1996, section IV.1"
    options = VanDerPolOptions
    presets = presets(VanDerPolOptions)

    def system(self, setup: Setup) -> nn.Module:
        """The oscillator."""
        options: VanDerPolOptions = setup.options
        return systems.VanDerPol(options.mu)


class ContractingOptions(FitOptions):
    """Options of ``toy/contracting``."""

    span: float = Field(2.0, gt=0)
    rate: float = Field(5.0, ge=0)  # at which distances across the slow direction shrink


class Contracting(Toy):
    """A spiral contracted onto a line, learned by a network with the same contraction from the start.

    In a backward solve, errors across the line grow by ``exp(rate × span)``, and the adjoint recomputes its states
    by a backward solve. Along the line there is no contraction, so the loss depends on states far back in time.
    """

    name = "toy/contracting"
    about = "a spiral contracted onto a line (option rate): effect of backward solves on the gradient"
    source = "Gholami et al. 2019, arXiv 1902.10298, section 3"
    models = {"squeezed": ModelInfo("2–50–2 tanh network, minus rate × the second component", "ours")}
    options = ContractingOptions
    presets = presets(ContractingOptions)

    def system(self, setup: Setup) -> nn.Module:
        """The squeezed spiral."""
        return Squeezed(systems.Linear(SPIRAL), setup.options.rate)

    def network(self, setup: Setup) -> nn.Module:
        """The network of the small model, squeezed."""
        return Squeezed(MlpField(WIDTHS["small"]).start_small(), setup.options.rate)
