"""Initial weights depend on the seed alone, in every experiment class."""

import pytest
import torch
from problems import integrator

from nodebench.models import digits
from nodebench.running.expand import multiply
from nodebench.spec import DataSource, Grid
from nodebench.tasks import find_task
from nodebench.trial.build import experiment_of

# One task of each experiment class that draws weights; the others share these classes, and their data takes longer.
TRAINED = [
    *(("mnist", model) for model in find_task("mnist").models),
    ("field", "own"),
    ("latent-spirals", "latent-ode"),
    ("periodic", "gru-d"),
    ("toy/annuli", "augmented"),
    ("toy/contracting", "squeezed"),
    ("toy/damped-cosine", "heavy-ball"),
    ("toy/nonlinear", "small"),
]


def experiment(task: str, model: str, seed: int, before: int):
    own = {"field": ["own_fields:Plain"], "state_shape": ["8"]} if task == "field" else {}
    grid = Grid(task=task, model=[model], preset="smoke", seed=[seed], overrides=own)
    (trial,) = multiply(grid, DataSource())[0]
    torch.manual_seed(before)  # what else was drawn in the process must not matter
    return experiment_of(trial, integrator("rk4", step_size=0.5), DataSource())


def weights(experiment) -> torch.Tensor:
    return torch.cat([p.detach().flatten().double() for p in experiment.model.parameters()])


@pytest.mark.parametrize(("task", "model"), TRAINED)
def test_the_seed_alone_decides_the_initial_weights(task, model):
    first, again, other = (weights(experiment(task, model, seed, before)) for seed, before in ((3, 1), (3, 2), (4, 1)))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("model", "build"), [("mlp", digits.mlp), ("resnet", lambda: digits.res_net(6))])
def test_the_weights_of_mnist_are_those_that_torch_draws_after_the_seed(model, build):
    torch.manual_seed(7)
    expected = torch.cat([p.detach().flatten().double() for p in build().parameters()])
    assert torch.equal(weights(experiment("mnist", model, 7, before=0)), expected)


def test_batches_are_those_of_the_seed_too():
    def order(seed):
        return torch.cat([labels for _, labels in experiment("mnist", "mlp", seed, before=0).batches(0)])

    assert torch.equal(order(3), order(3))
    assert not torch.equal(order(3), order(4))
