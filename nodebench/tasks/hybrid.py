"""``toy/hybrid-lotka-volterra``: known growth and death with a learned interaction, against a fully learned field."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nodebench.models import systems
from nodebench.models.fields import MlpField
from nodebench.models.hybrid import Bilinear, Confined, KnownRates
from nodebench.models.trajectories import OdeTrajectories
from nodebench.spec import Preset
from nodebench.tasks.contract import Experiment, ModelInfo, Setup
from nodebench.tasks.toys import Toy, presets
from nodebench.tasks.trajectory_fit import FitOptions, TrajectoryFit

_RACKAUCKAS = "Rackauckas et al. 2020, arXiv 2001.04385; the authors' LotkaVolterra/scenario_1.jl"
_WIDTHS = (2, 20, 20, 2)
_SERIES: dict[str, Any] = {"span": 3.0, "points": 31}
RATES = (systems.LotkaVolterraScenario.a, -systems.LotkaVolterraScenario.c)


class HybridLotkaVolterra(Toy):
    """Fit three time units of the predator–prey system, less than a cycle, and extrapolate four times as long.

    System, initial state and times are those of the authors' first scenario. Their network is smaller, with radial
    basis functions, and is trained with Adam and then with BFGS. They extrapolate with the equation that a sparse
    regression finds in the trained network; this task extrapolates with the network itself. With ``span=6``, the
    observations cover more than a cycle.
    """

    name = "toy/hybrid-lotka-volterra"
    about = "prey and predator with known growth and death: a network learns the interaction, or the whole field"
    source = _RACKAUCKAS
    models = {
        "hybrid": ModelInfo("known rates, and a 2–20–20–2 tanh network for the interaction", _RACKAUCKAS),
        "odenet": ModelInfo("2–20–20–2 tanh network for the whole field", "a control without prior knowledge"),
        "bilinear": ModelInfo("known rates, and two weights of u v", "a control with the known form of interaction"),
    }
    y0 = (0.44249296, 4.6280594)
    rtol = atol = 1e-6
    presets = presets(**_SERIES) | {
        Preset.QUICK: FitOptions(epochs=30, learning_rate=5e-3, schedule="linear", **_SERIES),
        Preset.PAPER: FitOptions(training="trajectory", **_SERIES),
    }
    headlines = ("extrapolation_error", "interaction_error")

    def system(self, setup: Setup) -> nn.Module:
        """The nonlinear system."""
        return systems.LotkaVolterraScenario()

    def network(self, setup: Setup) -> nn.Module:
        """The field that is learned."""
        if setup.model == "bilinear":
            return KnownRates(RATES, Bilinear())
        learned = MlpField(_WIDTHS)
        return KnownRates(RATES, learned) if setup.model == "hybrid" else learned

    def build(self, setup: Setup) -> Experiment:
        """Build the fit of a trajectory, tested far beyond it."""
        return self.fitted(setup, _HybridFit)


LIMIT = 1000.0  # of predicted states; true states stay below 10


class _HybridFit(TrajectoryFit):
    beyond: ClassVar[float] = 4.0

    def _predict(self, model: nn.Module, states: Tensor, times: Tensor) -> Tensor:
        """Predict trajectories that stop at ``LIMIT``, since some learned fields diverge in finite time."""
        assert isinstance(model, OdeTrajectories)
        return super()._predict(OdeTrajectories(Confined(model.field, LIMIT), model.solve), states, times)

    def metrics(self, model: nn.Module) -> dict[str, float | None]:
        """Errors of the trajectories, and of the interaction at the true states."""
        return super().metrics(model) | {"interaction_error": self._interaction_error(model)}

    def _interaction_error(self, model: nn.Module) -> float:
        """Relative L2 error of the learned derivative minus its known part, against the true interaction."""
        states = self.true_states
        assert isinstance(model, OdeTrajectories)
        slope = model.field(self._placed_times(torch.zeros(())), self._placed(states)).double().cpu()
        learned = slope - torch.tensor(RATES, dtype=torch.float64) * states
        exact = systems.LotkaVolterraScenario().interaction(states)
        return float((learned - exact).norm() / exact.norm())
