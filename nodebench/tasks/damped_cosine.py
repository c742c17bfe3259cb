"""``toy/damped-cosine``: learn an oscillator by fields of first and of second order."""

from typing import Any

from torch import nn

from nodebench.models import systems
from nodebench.models.augmented import AugmentedTrajectories
from nodebench.models.fields import MlpField
from nodebench.models.second_order import HeavyBall, SecondOrder
from nodebench.models.trajectories import OdeTrajectories
from nodebench.solvers import Solve
from nodebench.spec import Preset
from nodebench.tasks.contract import ModelInfo, Setup
from nodebench.tasks.toys import Toy, presets
from nodebench.tasks.trajectory_fit import FitOptions, Observations

_NORCLIFFE = "Norcliffe et al. 2020, arXiv 2006.07220, section 5"
_HIDDEN = (20, 20)
EXTRA = 1
_SERIES: dict[str, Any] = {"span": 10.0, "points": 100}


class DampedCosine(Toy):
    """The oscillator ``2 exp(−0.1 t) cos t`` with observed position and velocity.

    The oscillator, the times, the networks and the tolerance are those of the authors' code. The authors train on whole
    trajectories of 30 oscillators. This task trains on shuffled windows of one oscillator, or with
    ``training=trajectory`` on its whole trajectory.
    """

    name = "toy/damped-cosine"
    about = "a damped cosine with its velocity, learned by first-order, augmented, second-order and heavy-ball fields"
    source = _NORCLIFFE
    models = {
        "odenet": ModelInfo("2–20–20–2 ELU network of position and velocity", _NORCLIFFE),
        "augmented": ModelInfo("3–20–20–3 ELU network with one extra dimension that starts at 0", _NORCLIFFE),
        "second-order": ModelInfo("2–20–20–1 ELU network that gives the acceleration", _NORCLIFFE),
        "heavy-ball": ModelInfo(
            "1–20–20–1 ELU network of the position, and a learned damping",
            "Xia et al. 2021, arXiv 2110.04840, section 3",
        ),
    }
    y0 = (2.0, -0.2)
    rtol = atol = 1e-3
    presets = presets(**_SERIES) | {
        Preset.PAPER: FitOptions(epochs=10, learning_rate=1e-2, training="trajectory", **_SERIES)
    }

    def system(self, setup: Setup) -> nn.Module:
        """The oscillator."""
        return systems.DampedOscillator()

    def network(self, setup: Setup) -> nn.Module:
        """The field that is learned, of all components of the state."""
        if setup.model == "second-order":
            return SecondOrder(MlpField((2, *_HIDDEN, 1), nn.ELU))
        if setup.model == "heavy-ball":
            return HeavyBall(MlpField((1, *_HIDDEN, 1), nn.ELU))
        width = 2 + EXTRA if setup.model == "augmented" else 2
        return MlpField((width, *_HIDDEN, width), nn.ELU)

    def model(self, setup: Setup, observed: Observations, solve: Solve) -> nn.Module:
        """Return the model of trajectories; the augmented model drops its extra dimension from the output."""
        flow = OdeTrajectories(self.network(setup), solve, setup.options.own_times)
        return AugmentedTrajectories(flow, EXTRA) if setup.model == "augmented" else flow
