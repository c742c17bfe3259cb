"""Loss and bound of the series tasks against torch.distributions and against sampling."""

import math

import pytest
import torch
from problems import integrator
from torch.distributions import Normal, kl_divergence

from nodebench.running.expand import multiply
from nodebench.spec import DataSource, Grid
from nodebench.tasks.series import Series
from nodebench.trial.build import experiment_of

NOISE = 0.1  # of the paper's spirals


@pytest.fixture(scope="module")
def spirals():
    small = {"spirals": 20, "test_spirals": 10, "observations": 30}
    grid = Grid(task="latent-spirals", model=["latent-ode"], overrides=small, solver=["rk4"])
    (trial,) = multiply(grid, DataSource())[0]
    built = experiment_of(trial, integrator("rk4"), DataSource())
    with torch.no_grad():  # an encoder that is far from its prior, so that the divergence is no rounding error
        built.model.encoder.head.bias += torch.tensor([1.0, -1.0, 0.5, 2.0, -2.0, -1.0, -3.0, -2.0])
    return built


def parts(model, observed, where, times, draw):
    """Likelihood and divergence of each series, from the posterior by torch.distributions."""
    posterior = model.encoder(observed, times[where])
    z = posterior.mean + posterior.stddev * draw
    decoded = model.decoder(z, times)
    predicted = torch.stack([signal[rows] for signal, rows in zip(decoded, where, strict=True)])
    likelihood = Normal(predicted, NOISE).log_prob(observed).sum((1, 2))
    return likelihood, kl_divergence(posterior, Normal(0.0, 1.0)).sum(1)


def test_the_loss_is_the_divergence_less_the_likelihood(spirals):
    batch = next(iter(spirals.batches(0)))
    with torch.no_grad():
        likelihood, kl = parts(spirals.model, *batch)
        loss = spirals.loss(spirals.model, batch).item()
    assert kl.mean().item() > 1
    assert loss == pytest.approx((kl - likelihood).mean().item(), rel=1e-5)
    assert abs(loss + (likelihood + kl).mean().item()) > 1  # the other sign is another number


def test_the_bound_is_the_likelihood_less_the_divergence_and_is_one(spirals):
    """And it is a lower bound: importance sampling of the marginal likelihood lies above it."""
    observed, where, times, _ = next(iter(spirals.batches(0)))
    with torch.no_grad():
        draw = torch.randn(len(observed), 4, generator=torch.Generator().manual_seed(0))
        likelihood, kl = parts(spirals.model, observed, where, times, draw)
        found = spirals.bound(spirals.model, Series(observed, where, times))
        assert found["kl"] == pytest.approx(kl.mean().item(), rel=1e-5)
        assert found["elbo"] == pytest.approx((likelihood - kl).mean().item(), rel=1e-5)

        posterior = spirals.model.encoder(observed, times[where])
        bounds, weights = [], []
        for seed in range(64):
            noise = torch.randn(len(observed), 4, generator=torch.Generator().manual_seed(seed))
            z = posterior.mean + posterior.stddev * noise
            joint = parts(spirals.model, observed, where, times, noise)[0] + Normal(0.0, 1.0).log_prob(z).sum(1)
            weights.append(joint - posterior.log_prob(z).sum(1))
            bounds.append(spirals.loss(spirals.model, (observed, where, times, noise)).item())
        marginal = (torch.stack(weights).logsumexp(0) - math.log(len(weights))).mean().item()
    assert -sum(bounds) / len(bounds) < marginal
    # The mean of the weights' logarithms is the bound itself, by another estimator than the closed form.
    estimate, error = torch.stack(weights).mean().item(), torch.stack(weights).mean(1).std().item() / 8
    assert abs(estimate + sum(bounds) / len(bounds)) < 5 * max(error, 0.5)


def test_without_a_latent_state_the_loss_is_the_negative_likelihood():
    small = {"spirals": 20, "test_spirals": 10, "observations": 30}
    (trial,) = multiply(Grid(task="latent-spirals", model=["rnn"], overrides=small), DataSource())[0]
    built = experiment_of(trial, integrator("rk4"), DataSource())
    batch = next(iter(built.batches(0)))
    with torch.no_grad():
        predicted, _ = built.model(*batch)
        expected = -Normal(predicted, NOISE).log_prob(batch[0]).sum((1, 2)).mean().item()
        assert built.loss(built.model, batch).item() == pytest.approx(expected, rel=1e-5)


def test_batches_have_the_size_that_is_asked_for_and_no_series_twice():
    small = {"spirals": 20, "test_spirals": 10, "observations": 30, "batch_size": 7, "steps_per_epoch": 5}
    (trial,) = multiply(Grid(task="latent-spirals", model=["rnn"], overrides=small), DataSource())[0]
    built = experiment_of(trial, integrator("rk4"), DataSource())
    drawn = [observed for observed, *_ in built.batches(0)]
    assert [len(batch) for batch in drawn] == [7] * 5
    assert all(len({series.numpy().tobytes() for series in batch}) == 7 for batch in drawn)
    assert len({series.numpy().tobytes() for batch in drawn for series in batch}) > 7


@pytest.mark.parametrize("schedule", [None, "cosine"])
def test_the_learning_rate_falls_along_a_cosine_where_asked(schedule):
    small = {"spirals": 20, "test_spirals": 10, "observations": 30, "epochs": 2, "steps_per_epoch": 3}
    overrides = small | ({"schedule": schedule} if schedule else {})
    (trial,) = multiply(Grid(task="latent-spirals", model=["rnn"], overrides=overrides), DataSource())[0]
    built = experiment_of(trial, integrator("rk4"), DataSource())
    rates = [built.optimizer.param_groups[0]["lr"] for epoch in range(2) for _ in built.batches(epoch)]
    falling = [0.01 * (1 + math.cos(math.pi * i / 6)) / 2 for i in range(6)]
    assert rates == pytest.approx(falling if schedule else [0.01] * 6)
