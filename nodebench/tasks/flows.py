"""``toy/flow``: solve known fields from a batch of initial states. Nothing is trained."""

from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from nodebench.models import systems
from nodebench.solvers import StepControl
from nodebench.spec import Preset
from nodebench.tasks.contract import Batch, Experiment, ModelInfo, Options, Setup, Task
from nodebench.tasks.solving import FinalState, SolvingExperiment


class FlowOptions(Options):
    """Options of ``toy/flow``."""

    solves: int = Field(20, ge=1)  # timed solves
    starts: int = Field(32, ge=2)  # initial states in the batch, drawn with the seed
    mu: float = Field(2.0, ge=0)  # stiffness of the oscillator
    alone: bool = False  # solve each initial state separately, with its own steps


class FlowProblem(NamedTuple):
    """A field, its initial states ``(starts, D)``, and the length of the solve."""

    field: nn.Module
    starts: Tensor
    span: float


class Flow(Task):
    """Solve known flows as one batch or one by one, and forward and back; check that the order of states is kept.

    The flow of a field on a line preserves the order of its states, since trajectories never cross. For the model
    ``line``, ``inversions`` is the fraction of neighbouring trajectories that cross in a solve: 0 for an exact flow.
    """

    name = "toy/flow"
    about = "known fields from a batch of states: cost of batching, error of solving forward and back, preserved order"
    source = "Chen et al. 2018, section 6; Lienen and Günnemann 2022"
    models = {
        "line": ModelInfo("x' = 2 sin 3x, on a line", "ours; slopes of ±6 over a span of 1"),
        "lotka-volterra": ModelInfo("prey and predator", "Lotka 1925, Volterra 1926"),
        "van-der-pol": ModelInfo("oscillator with the stiffness mu", "Hairer and Wanner 1996, section IV.1"),
        "van-der-pol-cycle": ModelInfo(
            "oscillator with the stiffness mu over one period, from states on its limit cycle",
            "Lienen and Günnemann 2022, arXiv 2210.12375",
        ),
    }
    options = FlowOptions
    presets = {Preset.SMOKE: FlowOptions(solves=5, starts=8), Preset.QUICK: FlowOptions()}
    rtol, atol = 1e-7, 1e-9
    step_size = 0.125
    reference = StepControl(method="dopri8", rtol=1e-11, atol=1e-11, land_on_outputs=True)
    headlines = ("inversions",)
    trains = False

    def build(self, setup: Setup) -> Experiment:
        """Build the experiment, which only solves."""
        return _FlowExperiment(setup)


def flow_problem(model: str, options: FlowOptions, seed: int) -> FlowProblem:
    """Return the field, initial states and length of the solve of a model; the seed draws the states."""
    generator = torch.Generator().manual_seed(seed)
    if model == "van-der-pol-cycle":
        oscillator = systems.VanDerPol(options.mu)
        return FlowProblem(oscillator, *oscillator.limit_cycle(torch.rand(options.starts, generator=generator)))
    if model == "line":
        # Sorted, so that neighbours on the line are adjacent.
        return FlowProblem(systems.Sine(), _in_box((-2.0,), (2.0,), options.starts, generator).sort(0).values, 1.0)
    if model == "lotka-volterra":
        return FlowProblem(systems.LotkaVolterra(), _in_box((1.0, 0.5), (4.0, 3.0), options.starts, generator), 5.0)
    return FlowProblem(
        systems.VanDerPol(options.mu), _in_box((-2.5, -2.5), (2.5, 2.5), options.starts, generator), 10.0
    )


def _in_box(low: tuple[float, ...], high: tuple[float, ...], count: int, generator: torch.Generator) -> Tensor:
    """Draw ``count`` states uniformly between the corners of a box; shape ``(count, D)``."""
    corner = torch.tensor(low)
    return corner + (torch.tensor(high) - corner) * torch.rand(count, len(low), generator=generator)


class _Alone(FinalState):
    """Solves each initial state separately."""

    def forward(self, start: Tensor, times: Tensor) -> Tensor:
        return torch.cat([self.solve(self.field, one, times)[-1] for one in start.split(1)])


class _FlowExperiment(SolvingExperiment):
    def __init__(self, setup: Setup) -> None:
        options: FlowOptions = setup.options
        problem = flow_problem(setup.model, options, setup.seed)
        model = (_Alone if options.alone else FinalState)(problem.field, setup.solve)
        super().__init__(setup, model, problem.starts, torch.tensor([0.0, problem.span], dtype=torch.float64))

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean absolute value of the final states: not an objective, but equal for equal solves."""
        return model(*batch).abs().mean()

    def metrics(self, model: nn.Module) -> dict[str, float | None]:
        ends = model(*self.probe)
        line = ends.shape[1] == 1
        return {"inversions": (ends[:, 0].diff() < 0).double().mean().item() if line else None}
