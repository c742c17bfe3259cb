"""``toy/pendulum``: learn a pendulum by a Hamiltonian network, whose field differentiates a learned energy."""

from typing import Any

from torch import Tensor, nn

from nodebench.models import systems
from nodebench.models.fields import MlpField
from nodebench.models.hamiltonian import HamiltonianField
from nodebench.spec import Preset
from nodebench.tasks.contract import Experiment, ModelInfo, Setup
from nodebench.tasks.toys import Toy, presets
from nodebench.tasks.trajectory_fit import FitOptions, TrajectoryFit

_HNN = "Greydanus et al. 2019, arXiv 1906.01563"
_HIDDEN = 50
_SERIES: dict[str, Any] = {"span": 20.0, "points": 200}  # about three periods


class Pendulum(Toy):
    """A pendulum that swings to 1.5 radians, learned from angle and momentum.

    The exact flow of a Hamiltonian network conserves the learned energy, so the true energy varies only as far as the
    two energies differ. A field without that structure can gain or lose energy steadily.
    """

    name = "toy/pendulum"
    about = "a pendulum, learned by a Hamiltonian network or by one without structure"
    source = f"{_HNN}; Zhong et al. 2020, arXiv 1909.12077"
    models = {
        "hamiltonian": ModelInfo("the symplectic gradient of a 2–50–1 tanh network", f"{_HNN}, with two layers of 200"),
        "mlp": ModelInfo("2–50–2 tanh network", f"the baseline of {_HNN}"),
    }
    y0 = (1.5, 0.0)
    rtol = atol = 1e-3
    presets = presets(**_SERIES) | {
        Preset.SMOKE: FitOptions(epochs=2, steps_per_epoch=3, span=5.0, points=51),
        Preset.QUICK: FitOptions(epochs=20, learning_rate=1e-2, schedule="linear", **_SERIES),
    }
    headlines = ("trajectory_error", "energy_error")

    def system(self, setup: Setup) -> nn.Module:
        """The pendulum."""
        return systems.Pendulum()

    def network(self, setup: Setup) -> nn.Module:
        """The field that is learned."""
        return HamiltonianField(1, (_HIDDEN,)) if setup.model == "hamiltonian" else MlpField((2, _HIDDEN, 2))

    def build(self, setup: Setup) -> Experiment:
        """Build the fit of a trajectory."""
        return self.fitted(setup, _Fit)


class _Fit(TrajectoryFit):
    def metrics_of(self, predicted: Tensor) -> dict[str, float | None]:
        """The largest relative change of the true energy along the predicted trajectory."""
        energy = systems.Pendulum().energy(predicted)
        return {"energy_error": float((energy - energy[0]).abs().max() / energy[0])}
