"""Penalties on the field as options of every task that makes its own ODE."""

from pathlib import Path

import pytest
import torch

from nodebench.instruments import NfeCounter
from nodebench.running.expand import multiply
from nodebench.spec import DataSource, Grid
from nodebench.tasks import tasks
from nodebench.tasks.contract import Experiment
from nodebench.tasks.regularised import PenaltyOptions
from nodebench.tasks.toys import Toy
from nodebench.trial.build import experiment_of, integrator_of

TESTS = Path(__file__).parents[1]
OWN = {
    "field": {"field": f"{TESTS / 'own_fields.py'}:Plain", "state_shape": "8"},
    "series": {"time": "t", "id": "who"},
}
MODEL = {"series": "ode-rnn", "density": "planar-cnf"}
# What solves nothing of its own: a problem's loss is the user's, and these have no training.
WITHOUT = {"problem", "toy/detest", "toy/exponential", "toy/flow", "toy/stiff-decay"}
TRAINED = sorted(
    name for name, task in tasks().items() if type(task).__module__.startswith("nodebench.") and name not in WITHOUT
)
FEW = {"toy/spiral"}  # of the toys that fit a trajectory, which share their loss
OTHERS = {name for name, task in tasks().items() if isinstance(task, Toy)} - FEW


def built(name: str, **options: float) -> Experiment:
    source = DataSource(folder=TESTS / "own_series.csv") if name == "series" else DataSource()
    overrides = {key: [value] for key, value in (OWN.get(name, {}) | options).items()}
    model = MODEL.get(name, next(iter(tasks()[name].models)))
    solver = {"solver": ["rk4"], "dtype": "float64"}
    grid = Grid(task=name, model=model, preset="smoke", threads=1, seed=0, overrides=overrides, **solver)
    (trial,) = multiply(grid, source)[0]
    return experiment_of(trial, integrator_of(trial, NfeCounter()), source)


def loss_and_gradient(name: str, **options: float) -> tuple[float, torch.Tensor]:
    experiment = built(name, **options)
    torch.manual_seed(0)
    loss = experiment.loss(experiment.model, experiment.probe)
    loss.backward()
    gradients = [one.grad.flatten() for one in experiment.model.parameters() if one.grad is not None]
    return loss.item(), torch.cat(gradients)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in OTHERS else ()) for name in TRAINED]
)
def test_every_task_with_an_ode_takes_penalties(name):
    assert issubclass(tasks()[name].options, PenaltyOptions)
    plain, gradient = loss_and_gradient(name)
    small, _ = loss_and_gradient(name, kinetic=0.5)
    large, changed = loss_and_gradient(name, kinetic=1.0)
    assert large - plain == pytest.approx(2 * (small - plain), rel=1e-4)
    assert large > plain
    assert not torch.equal(changed, gradient)
