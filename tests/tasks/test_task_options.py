"""Options and models that the claims need: each against what it should be, worked out another way."""

import numpy as np
import pytest
import torch

from nodebench.instruments import Budget, NfeCounter
from nodebench.models.trajectories import ObservedTrajectories
from nodebench.running.expand import multiply
from nodebench.spec import DataSource, Grid
from nodebench.tasks.contract import Setup
from nodebench.tasks.spheres import SHELLS, Spheres, SpheresOptions, shells
from nodebench.tasks.toys import Random, RandomOptions
from nodebench.trial.build import experiment_of, integrator_of


def built(task: str, **axes):
    overrides = {name: [value] for name, value in axes.pop("overrides", {}).items()}
    grid = Grid(task=task, threads=1, preset="smoke", overrides=overrides, **axes)
    trial = multiply(grid, DataSource())[0][0]
    counter = NfeCounter(Budget(None, None))
    return experiment_of(trial, integrator_of(trial, counter), DataSource()), counter


def train(experiment, steps: int):
    experiment.begin_epoch(0)
    batches, losses = experiment.batches(0), []
    for _ in range(steps):
        experiment.optimizer.zero_grad()
        loss = experiment.loss(experiment.model, next(batches))
        loss.backward()
        experiment.optimizer.step()
        losses.append(loss.item())
    return losses


def test_a_scaled_loss_trains_the_same_network():
    """The loss times 32 and the rate over 32 are exact in binary: the weights are equal, the losses 32 times."""
    plain, scaled = (built("mnist", model="no-block", overrides={"loss_scale": s})[0] for s in (1.0, 32.0))
    losses = train(plain, 3), train(scaled, 3)
    assert losses[1] == pytest.approx([32 * loss for loss in losses[0]], rel=1e-6)
    for first, second in zip(plain.model.parameters(), scaled.model.parameters(), strict=True):
        assert torch.allclose(first, second, atol=1e-6)


def rates_of(**overrides):
    experiment, _ = built("mnist", model="mlp", overrides=overrides)
    found = []
    for epoch in range(experiment.epochs):
        experiment.begin_epoch(epoch)
        for _ in experiment.batches(epoch):
            found.append(experiment.optimizer.param_groups[0]["lr"])
    return found


def test_a_cosine_schedule_falls_to_nothing():
    rates = rates_of(schedule="cosine", epochs=2)
    assert rates == pytest.approx([0.1 * (1 + np.cos(np.pi * i / len(rates))) / 2 for i in range(len(rates))])


@pytest.mark.parametrize("schedule", ["cosine", "steps"])
def test_a_warm_up_multiplies_the_schedule_by_a_line_from_nothing_to_one(schedule):
    options = {"schedule": schedule, "epochs": 4, "decay_epochs": "2"}
    plain, warmed = np.array(rates_of(**options)), np.array(rates_of(**options, warmup_epochs=2))
    steps = len(plain) // 2
    assert steps > 1
    assert warmed[:steps] / plain[:steps] == pytest.approx(np.arange(1, steps + 1) / steps)
    assert list(warmed[steps:]) == list(plain[steps:])


@pytest.mark.parametrize("seed", range(8))
def test_a_stable_random_field_has_no_growing_direction(seed):
    def matrix(stable):
        options = RandomOptions(stable=stable)
        setup = Setup("small", options, None, seed, torch.device("cpu"), torch.float32, None, DataSource())
        return Random().system(setup).matrix.numpy()

    assert np.linalg.eigvals(matrix(True)).real.max() <= 0.02
    if np.linalg.eigvals(matrix(False)).real.max() <= 0.02:
        assert np.array_equal(matrix(True), matrix(False))


def test_starts_solved_alone_have_steps_of_their_own_and_the_same_ends():
    axes = {"model": "line", "dtype": "float64", "rtol": 1e-5}
    joint, counter = built("toy/flow", overrides={"starts": 8, "alone": False}, **axes)
    with torch.no_grad():
        counter.begin_forward()
        together = joint.model(*joint.probe)
        of_batch = counter.forward
        alone, counter = built("toy/flow", overrides={"starts": 8, "alone": True}, **axes)
        counter.begin_forward()
        apart = alone.model(*alone.probe)
    assert torch.allclose(together, apart, atol=1e-3)
    assert not torch.equal(together, apart)
    assert counter.forward > 4 * of_batch


def test_an_affine_field_is_affine():
    experiment, _ = built("toy/nonlinear", model="affine")
    field = experiment.model.field
    x, y = torch.randn(2, 5, 2)
    middle = field(torch.tensor(0.0), (x + y) / 2)
    assert torch.allclose(middle, (field(torch.tensor(0.0), x) + field(torch.tensor(0.0), y)) / 2, atol=1e-6)


OBSERVED = torch.tensor([0.0, 1.0, 3.0]), torch.tensor([[0.0, 10.0], [2.0, 10.0], [4.0, 40.0]])


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("constant", [[2.0, 20.0]] * 4),
        ("last-value", [[0.0, 10.0], [2.0, 10.0], [2.0, 10.0], [4.0, 40.0]]),
        ("linear", [[1.0, 10.0], [2.0, 10.0], [3.0, 25.0], [4.0, 40.0]]),
    ],
)
def test_baselines_read_the_states_off_the_observations(rule, expected):
    """At times 0.5, 1, 2 and 9, of which the last is beyond the observations; the start does not matter."""
    model = ObservedTrajectories(rule, *OBSERVED)
    start, elapsed = torch.tensor([[0.5]]), torch.tensor([[0.0, 0.5, 1.5, 8.5]])
    assert torch.allclose(model(torch.zeros(1, 2), start, elapsed)[0], torch.tensor(expected))


@pytest.mark.parametrize("rule", ["constant", "last-value", "linear"])
def test_training_does_not_change_a_baseline(rule):
    experiment, _ = built("toy/spiral", model=rule)
    before = experiment.metrics(experiment.model)
    train(experiment, 2)
    assert experiment.metrics(experiment.model) == before
    assert before["trajectory_error"] == pytest.approx(1.0 if rule == "constant" else 0.0, abs=0.1)


def test_points_are_on_their_shells_and_the_inner_and_outer_ones_are_one_class():
    points, classes = shells(3000, 2, torch.Generator().manual_seed(0))
    radius = points.norm(dim=1)
    for inner, outer, label in SHELLS:
        inside = (radius >= inner) & (radius <= outer)
        assert inside.sum() > 800
        assert (classes[inside] == label).all()
    assert ((classes == 0).double().mean() - 2 / 3).abs() < 0.05


def test_the_spheres_are_learned_and_tested_on_points_of_their_own():
    options = SpheresOptions(epochs=30, train_points=1000, test_points=500, learning_rate=1e-2)
    setup = Setup("mlp", options, None, 0, torch.device("cpu"), torch.float32, None, DataSource())
    experiment = Spheres().build(setup)
    assert experiment.metrics(experiment.model)["test_error"] > 20
    for epoch in range(experiment.epochs):
        experiment.begin_epoch(epoch)
        for batch in experiment.batches(epoch):
            experiment.optimizer.zero_grad()
            experiment.loss(experiment.model, batch).backward()
            experiment.optimizer.step()
    assert experiment.metrics(experiment.model)["test_error"] < 5
    again = Spheres().build(setup)
    other = Spheres().build(Setup("mlp", options, None, 1, torch.device("cpu"), torch.float32, None, DataSource()))
    assert again.data == experiment.data
    assert other.data.sha256 != experiment.data.sha256
