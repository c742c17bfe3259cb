"""``toy/stiff``: learn a stiff system from one trajectory, with the equation and the loss scaled or not."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.autograd.functional import jacobian

from nodebench.models import systems
from nodebench.models.fields import MlpField, Scaled
from nodebench.solvers import Solve, StepControl
from nodebench.spec import Gradient, Preset
from nodebench.spec.trajectories import Trajectories
from nodebench.tasks.contract import Batch, Experiment, ModelInfo, Setup, Task
from nodebench.tasks.regularised import PenaltyOptions, regularised
from nodebench.tasks.trajectory_fit import trajectory_error

_KIM = "Kim et al. 2021, arXiv 2103.15341; the authors' ROBER.jl"
HIDDEN = (5,) * 6
REFERENCE_TOLERANCE = 1e-8  # relative; plots and fits of the trajectory are accurate to a few per cent


class StiffOptions(PenaltyOptions):
    """Options of ``toy/stiff``; the defaults are the authors'."""

    system: Literal["robertson", "van-der-pol"] = "robertson"
    mu: float = Field(1000.0, gt=0)  # stiffness of the oscillator
    points: int = Field(50, ge=2)  # observed times; Robertson's reaction: 1e-5 to 1e5, logarithmically spaced
    epochs: int = Field(50, ge=1)
    steps_per_epoch: int = Field(1000, ge=1)
    learning_rate: float = Field(5e-3, gt=0)


class _System(NamedTuple):
    """A stiff system: the true field, the initial state ``(D,)``, and the observed times ``(T,)`` from the start."""

    field: nn.Module
    start: Tensor
    times: Tensor
    smallest: float  # size of the smallest component


def _system(options: StiffOptions) -> _System:
    zero = torch.zeros(1, dtype=torch.float64)
    if options.system == "robertson":
        times = torch.logspace(-5, 5, options.points, dtype=torch.float64)
        start = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
        return _System(systems.Robertson(), start, torch.cat([zero, times]), 1e-6)
    times = torch.linspace(0, 2 * options.mu, options.points + 1, dtype=torch.float64)  # somewhat more than a period
    return _System(systems.VanDerPol(options.mu), torch.tensor([2.0, 0.0], dtype=torch.float64), times, 1e-3)


class Stiff(Task):
    """Robertson's reaction, or an oscillator with μ = 1,000, learned by a deep narrow network.

    The model ``scaled`` multiplies the network's output by the size of each component divided by the length of the
    solve, and divides the errors in the loss by these sizes, as in Kim et al. ``plain`` does neither.
    """

    name = "toy/stiff"
    about = "a stiff system learned from one trajectory: Robertson's reaction, or Van der Pol's oscillator at μ = 1,000"
    source = _KIM
    models = {
        "scaled": ModelInfo("3–5⁶–3 GELU network, its output and the loss scaled by the sizes of the components", _KIM),
        "plain": ModelInfo("the same network, with nothing scaled", "the authors' baseline"),
    }
    options = StiffOptions
    presets = {
        Preset.SMOKE: StiffOptions(epochs=2, steps_per_epoch=2),
        Preset.QUICK: StiffOptions(epochs=10, steps_per_epoch=50),
        Preset.PAPER: StiffOptions(),
    }
    gradient = Gradient.DIRECT
    rtol, atol = 1e-3, 1e-6
    step_size = None
    reference = StepControl(method="dopri8", rtol=1e-11, atol=1e-11, land_on_outputs=True)
    headlines = ("trajectory_error", "stiffness_ratio")
    brief = {"epochs": 1, "steps_per_epoch": 5}

    def build(self, setup: Setup) -> Experiment:
        """Build the fit."""
        return _StiffFit(setup)


class _Trajectory(nn.Module):
    def __init__(self, field: nn.Module, solve: Solve) -> None:
        super().__init__()
        self.field = field
        self.solve = solve

    def forward(self, start: Tensor, times: Tensor) -> Tensor:
        return self.solve(self.field, start, times)


class _StiffFit(Experiment):
    generators = {}  # draws nothing after the weights

    def __init__(self, setup: Setup) -> None:
        options: StiffOptions = setup.options
        self.epochs, self.steps_per_epoch = options.epochs, options.steps_per_epoch
        known = _system(options)
        self._known = known
        self._states = systems.exact_states(
            known.field, known.start, known.times, REFERENCE_TOLERANCE, "Radau", known.smallest
        )
        self._sizes = self._states.abs().amax(0)
        torch.manual_seed(setup.seed)
        network: nn.Module = MlpField((len(known.start), *HIDDEN, len(known.start)), nn.GELU)
        self._scaled = setup.model == "scaled"
        if self._scaled:
            network = Scaled(network, self._sizes / known.times[-1])
        self._solve = regularised(setup.solve, options)
        self.model = _Trajectory(network, self._solve).to(setup.device, setup.dtype)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=options.learning_rate, weight_decay=1e-6)
        placed = (known.start.unsqueeze(0), known.times, self._states.unsqueeze(1), self._sizes)
        *batch, self._placed_sizes = (tensor.to(setup.device, setup.dtype) for tensor in placed)
        self.probe = tuple(batch)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield the one trajectory: start ``(1, D)``, times ``(T,)`` and states ``(T, 1, D)``."""
        for _ in range(self.steps_per_epoch):
            yield self.probe

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean absolute error (for ``scaled``: relative to the sizes of the components), plus penalties."""
        start, times, states = batch
        error = model(start, times) - states
        if self._scaled:
            error = error / self._placed_sizes.to(error)
        return error.abs().mean() + self._solve.take_penalty()

    def metrics(self, model: nn.Module) -> dict[str, float | None]:
        """Scaled error of the trajectory, and stiffness of the learned field along the true trajectory."""
        learned, true = self._stiffness(model.get_submodule("field")), self._stiffness(self._known.field)
        return {
            "trajectory_error": trajectory_error(self._fitted(model), self._true()),
            "stiffness": learned,
            "stiffness_ratio": learned / true,
        }

    def _true(self) -> Tensor:
        """Return the true states divided by the sizes of the components, ``(1, T, D)``."""
        return (self._states / self._sizes).unsqueeze(0)

    def _fitted(self, model: nn.Module) -> Tensor:
        start, times, _ = self.probe
        return model(start, times).double().cpu().transpose(0, 1) / self._sizes

    def _stiffness(self, field: nn.Module) -> float:
        """Length of the solve times the largest absolute eigenvalue of the Jacobian along the true trajectory."""
        like = next(field.parameters(), self._states)
        largest = 0.0
        for t, state in zip(self._known.times.to(like), self._states.to(like), strict=True):
            with torch.enable_grad():
                matrix = jacobian(lambda y, t=t: field(t, y), state)
            largest = max(largest, float(torch.linalg.eigvals(matrix.double().cpu()).abs().max()))
        return largest * float(self._known.times[-1])

    def picture(self, model: nn.Module) -> Trajectories:
        """The trajectory and its fit, divided by the sizes of the components; over log time for the reaction."""
        logarithmic = isinstance(self._known.field, systems.Robertson)
        kept = slice(1, None) if logarithmic else slice(None)
        times = self._known.times[kept]
        times = times.log10() if logarithmic else times
        true = self._true()[:, kept].numpy()
        return Trajectories(
            times=times.numpy(),
            true=true,
            fitted=self._fitted(model)[:, kept].numpy(),
            observed_times=times[None].numpy(),
            observed=true,
            trained=(float(times[0]), float(times[-1])),
            time_label="log₁₀ time" if logarithmic else "time",
            labels=tuple(f"y{'₁₂₃'[i]} / largest" for i in range(true.shape[-1])),
        )
