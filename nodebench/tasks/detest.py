"""``toy/detest``: the 25 problems of DETEST, solved. Nothing is trained."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from nodebench.models.detest import SPAN, Detest
from nodebench.models.systems import exact_states
from nodebench.solvers import StepControl
from nodebench.spec import Preset
from nodebench.tasks.contract import Batch, Experiment, ModelInfo, Options, Setup, Task
from nodebench.tasks.solving import FinalState, SolvingExperiment

REFERENCE_TOLERANCE = 1e-12

Name = Literal[
    "A1", "A2", "A3", "A4", "A5",
    "B1", "B2", "B3", "B4", "B5",
    "C1", "C2", "C3", "C4", "C5",
    "D1", "D2", "D3", "D4", "D5",
    "E1", "E2", "E3", "E4", "E5",
]  # fmt: skip


class DetestOptions(Options):
    """Options of ``toy/detest``."""

    problem: Name = "A1"
    solves: int = Field(5, ge=1)  # timed solves


class DetestTask(Task):
    """Cost and error of a solver on the classical non-stiff problems."""

    name = "toy/detest"
    about = "the 25 non-stiff problems of DETEST; the option problem is A1 to E5"
    source = "Hull et al. 1972; Enright and Pryce 1987, Algorithm 648"
    models = {"exact": ModelInfo("the field itself; nothing is trained", "Enright and Pryce 1987")}
    options = DetestOptions
    presets = {Preset.SMOKE: DetestOptions(solves=2), Preset.QUICK: DetestOptions()}
    rtol = atol = 1e-6
    step_size = 0.1
    reference = StepControl(method="dopri8", rtol=1e-12, atol=1e-12, land_on_outputs=True)
    headlines = ("rms_error",)
    trains = False

    def build(self, setup: Setup) -> Experiment:
        """Build the experiment, which only solves."""
        return _DetestExperiment(setup)


class _DetestExperiment(SolvingExperiment):
    def __init__(self, setup: Setup) -> None:
        options: DetestOptions = setup.options
        field = Detest(options.problem)
        start, times = field.start.unsqueeze(0), torch.tensor([0.0, SPAN], dtype=torch.float64)
        self._exact = exact_states(field, start, times, REFERENCE_TOLERANCE)[-1]
        super().__init__(setup, FinalState(field, setup.solve), start, times)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Root mean square error of the final state, over its components."""
        return (model(*batch).double().cpu() - self._exact).square().mean().sqrt()

    def metrics(self, model: nn.Module) -> dict[str, float | None]:
        """The error of the final state."""
        return {"rms_error": self.loss(model, self.probe).item()}
