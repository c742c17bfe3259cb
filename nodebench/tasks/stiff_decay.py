"""``toy/stiff-decay``: gradient of one step of the linear test equation with respect to its rate. No training."""

import math
from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor, nn

from nodebench.solvers import StepControl
from nodebench.spec import Gradient, Preset
from nodebench.tasks.contract import Batch, Experiment, ModelInfo, Options, Setup, Task
from nodebench.tasks.solving import FinalState, SolvingExperiment

_FRONK = "Fronk and Petzold 2025, arXiv 2508.01519"


class StiffDecayOptions(Options):
    """Options of ``toy/stiff-decay``."""

    stiffness: float = Field(10.0, gt=0)  # |hλ| of one step over the whole span, which is 1
    solves: int = Field(2, ge=1)


class StiffDecay(Task):
    """Compare a solver's gradient with respect to the rate of a fast decay with the exact gradient.

    ``y' = λ y`` is solved from 1 in one step of length h = 1, whatever step size the training uses. The gradient of the
    numerical solution is ``h R'(hλ)``, where R is the stability function of the method. The gradient of the exact
    solution is ``h exp(hλ)``.
    """

    name = "toy/stiff-decay"
    about = "y' = λ y in one step: gradient with respect to λ by each method, against the exact gradient"
    source = _FRONK
    models = {"decay": ModelInfo("y' = λ y; λ is a parameter with a learning rate of 0", _FRONK)}
    options = StiffDecayOptions
    presets = {Preset.SMOKE: StiffDecayOptions(), Preset.QUICK: StiffDecayOptions()}
    gradient = Gradient.DIRECT
    rtol = atol = 1e-6
    step_size = None
    reference = StepControl(method="dopri8", rtol=1e-12, atol=1e-12, land_on_outputs=True)
    headlines = ("sensitivity",)

    def build(self, setup: Setup) -> Experiment:
        """Build the experiment, which solves and differentiates."""
        return _DecayExperiment(setup)


class _Decay(nn.Module):
    def __init__(self, stiffness: float) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.tensor([-stiffness]))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.rate * y


class _DecayExperiment(SolvingExperiment):
    def __init__(self, setup: Setup) -> None:
        options: StiffDecayOptions = setup.options
        self._solve, self._gradient, self._stiffness = setup.solve, setup.solve.control.gradient, options.stiffness
        model = FinalState(_Decay(options.stiffness), setup.solve)
        super().__init__(setup, model, torch.ones(1, 1), torch.tensor([0.0, 1.0]))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.0)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The final state, to be differentiated with respect to the rate."""
        return model(*batch).sum()

    def metrics(self, model: nn.Module) -> dict[str, float | None]:
        """The derivative of one step, and the exact one."""
        return {"sensitivity": self._sensitivity(model), "exact_sensitivity": math.exp(-self._stiffness)}

    def _sensitivity(self, model: nn.Module) -> float | None:
        """Return the absolute derivative of one step; None for a method that cannot take constant steps."""
        control, adapter = self._solve.control, self._solve.adapter
        if adapter.methods()[control.method].adaptive and not adapter.holds_steps:
            return None
        one_step = replace(control, step_size=1.0, gradient=self._gradient)
        with torch.enable_grad(), self._solve.using(self._solve.counter, one_step):
            (found,) = torch.autograd.grad(self.loss(model, self.probe), list(model.parameters()))
        return float(found.abs())
