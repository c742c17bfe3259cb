"""``toy/annuli`` and ``toy/crossing`` against geometry and against what a flow can do."""

import math

import pytest
import torch
from problems import integrator
from scipy.stats import kstest
from torch import nn

from nodebench.running.expand import multiply
from nodebench.spec import DataSource, Grid
from nodebench.tasks.annuli import INNER, OUTER, annuli, annulus
from nodebench.tasks.points import FAMILIES
from nodebench.trial.build import experiment_of

SMALL = {"toy/annuli": {"inner_points": 50, "outer_points": 100}, "toy/crossing": {"train_points": 200}}
TASKS = sorted(SMALL)


def fit(task: str, model: str = "odenet", seed: int = 0, solver: str = "midpoint", **overrides):
    ode = {} if not FAMILIES[model].gradients else {"solver": [solver], "gradient": ["direct"]}
    options = SMALL[task] | overrides
    (trial,) = multiply(Grid(task=task, model=[model], seed=[seed], overrides=options, **ode), DataSource())[0]
    return experiment_of(trial, integrator(solver, step_size=0.25), DataSource())


# --- data


def test_annuli_lie_where_the_paper_puts_them():
    points, targets = annuli(1000, 2000, 2, torch.Generator().manual_seed(0))
    radius, target = points.norm(dim=1), targets[:, 0]
    assert (INNER, OUTER) == ((0.0, 0.5), (1.0, 1.5))
    assert radius[target < 0].max() < 0.5
    assert radius[target > 0].min() >= 1
    assert radius.max() < 1.5
    assert torch.bincount((target > 0).long()).tolist() == [1000, 2000]


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_points_are_uniform_over_a_ball_and_over_directions(dimension):
    """Volumes within a radius grow with its power D; on a circle angles are uniform."""
    points = annulus(4000, dimension, (0.0, 2.0), torch.Generator().manual_seed(1))
    assert kstest((points.norm(dim=1) / 2) ** dimension, "uniform").pvalue > 1e-3
    if dimension == 2:
        angles = torch.atan2(points[:, 1], points[:, 0])
        assert kstest(angles / (2 * math.pi) + 0.5, "uniform").pvalue > 1e-3


def test_a_ring_is_drawn_as_the_authors_draw_it():
    """Their distance from the inner edge has the square root of a uniform number, so that the ring is not uniform."""
    radius = annulus(4000, 2, OUTER, torch.Generator().manual_seed(1)).norm(dim=1)
    assert kstest(((radius - 1) / 0.5) ** 2, "uniform").pvalue > 1e-3
    assert kstest((radius**2 - 1) / (1.5**2 - 1), "uniform").pvalue < 1e-6


@pytest.mark.parametrize("task", TASKS)
def test_seeds_have_data_of_their_own_and_one_test_set(task):
    first, other = fit(task), fit(task, seed=1)
    assert not torch.equal(first.points, other.points)
    assert torch.equal(first.test[0], other.test[0])
    assert first.data.sha256 == fit(task, "resnet").data.sha256 != other.data.sha256


# --- models


@pytest.mark.parametrize(("augmented", "plain"), [("augmented", "odenet"), ("resnet-augmented", "resnet")])
@pytest.mark.parametrize("task", TASKS)
def test_without_extra_dimensions_an_augmented_network_is_the_plain_one(task, augmented, plain):
    with_none, without = fit(task, augmented, extra=0), fit(task, plain)
    x = without.test[0]
    assert torch.equal(with_none.model(x), without.model(x))
    assert not torch.allclose(fit(task, augmented, extra=1).model(x), without.model(x))


@pytest.mark.parametrize("activation", ["relu", "softplus"])
@pytest.mark.parametrize("model", FAMILIES)
def test_every_family_is_differentiable_in_all_its_weights(model, activation):
    experiment = fit("toy/annuli", model, activation=activation)
    experiment.loss(experiment.model, experiment.probe).backward()
    wrong = [p for p in experiment.model.parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not wrong


# --- metrics


def test_an_order_preserving_map_cannot_have_a_map_error_below_one():
    experiment = fit("toy/crossing")

    class Map(nn.Module):
        def __init__(self, function):
            super().__init__()
            self.function = function

        def forward(self, x):
            return self.function(x)

    def error(function) -> float:
        return experiment.metrics(Map(function))["map_error"]

    assert error(lambda x: -x) == 0
    assert error(lambda x: -0.5 * x) == pytest.approx(0.5)
    assert error(torch.zeros_like) == pytest.approx(1)
    for rising in (lambda x: x, lambda x: 0.1 * x, lambda x: (20 * x).tanh(), lambda x: (x > 0.3).to(x)):
        assert error(rising) > 1


def test_a_flow_on_a_line_keeps_its_order_and_stays_above_an_error_of_one():
    """Trained or not: here with large random weights, solved tightly."""
    for seed in range(3):
        experiment = fit("toy/crossing", solver="dopri5", seed=seed)
        with torch.no_grad():
            for weight in experiment.model.parameters():
                weight.mul_(3)
            ends = experiment.model(experiment.test[0])
            found = experiment.metrics(experiment.model)["map_error"]
        assert (ends.diff(dim=0) >= 0).all()
        assert found >= 1


def test_a_residual_network_learns_the_crossing():
    experiment = fit("toy/crossing", "resnet", epochs=20, train_points=1000, learning_rate=3e-3)
    for epoch in range(experiment.epochs):
        experiment.begin_epoch(epoch)
        for batch in experiment.batches(epoch):
            experiment.optimizer.zero_grad()
            experiment.loss(experiment.model, batch).backward()
            experiment.optimizer.step()
    with torch.no_grad():
        assert experiment.metrics(experiment.model)["map_error"] < 0.1


def test_errors_of_annuli_are_counted_on_both_sides():
    """A threshold on the distance is right; a constant misses a third or two thirds."""
    experiment = fit("toy/annuli")

    class Radius(nn.Module):
        def forward(self, x):
            return (x.norm(dim=1, keepdim=True) > 0.75).to(x) * 2 - 1

    assert experiment.metrics(Radius()) == {"test_error": 0.0, "test_loss": 0.0}
    low = nn.Linear(2, 1)
    nn.init.zeros_(low.weight)
    nn.init.constant_(low.bias, -1.0)
    with torch.no_grad():
        found = experiment.metrics(low)
    assert found["test_error"] == pytest.approx(100 * 2 / 3)
    assert found["test_loss"] == pytest.approx(2 / 3 * 1.5)  # |2| − 1/2 on two thirds
    assert experiment.wrong.sum() == 666


def test_pictures_show_the_output():
    annuli_picture, crossing = (fit(task) for task in TASKS)
    with torch.no_grad():
        surface, line = (one.picture(one.model) for one in (annuli_picture, crossing))
        corner = torch.tensor([[surface.axes[0][3], surface.axes[1][50]]]).float()
        assert surface.surface[50, 3] == pytest.approx(annuli_picture.model(corner).item(), rel=1e-4)
        assert line.fitted[0, 20, 0] == pytest.approx(crossing.model(torch.tensor([[-0.8]])).item(), rel=1e-4)
    assert line.true[0, 20, 0] == pytest.approx(0.8)
    assert fit("toy/annuli", dimension=3).picture(nn.Identity()) is None
