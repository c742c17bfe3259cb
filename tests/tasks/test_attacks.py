"""Perturbed images against closed forms, and the errors that a trial has of them."""

import pytest
import torch
from torch.nn.functional import softplus

from nodebench.instruments import NfeCounter
from nodebench.running.expand import multiply
from nodebench.spec import DataSource, Grid
from nodebench.tasks.attacks import fast_gradient_sign, projected_gradient, with_noise
from nodebench.trial.build import experiment_of, integrator_of

WEIGHTS = torch.linspace(-1, 1, 16)


def loss(images):
    """Logistic loss of a linear classifier of images of class 1."""
    return softplus(-(images @ WEIGHTS)).sum()


def test_the_attacks_of_a_linear_classifier_are_the_worst_there_are():
    """The margin of a linear classifier falls by epsilon times the sum of absolute weights, at most."""
    images = torch.rand(50, 16, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.25
    worst = images @ WEIGHTS - 0.2 * WEIGHTS.abs().sum()
    for attack in (fast_gradient_sign, projected_gradient):
        moved = attack(loss, images, 0.2)
        assert torch.allclose(moved @ WEIGHTS, worst, atol=1e-5)
        assert (moved - images).abs().max() <= 0.2 + 1e-6


def test_an_attack_stays_among_images_and_within_its_distance():
    images = torch.tensor([[0.0, 1.0, 0.5, 0.05] * 4])
    for attack in (fast_gradient_sign, projected_gradient):
        moved = attack(loss, images, 0.3)
        assert moved.min() >= 0
        assert moved.max() <= 1
        assert (moved - images).abs().max() <= 0.3 + 1e-6


def test_noise_has_its_standard_deviation_and_is_always_the_same():
    images = torch.full((1000, 16), 0.5)
    noisy = with_noise(images, 0.1)
    assert (noisy - images).std().item() == pytest.approx(0.1, rel=0.02)
    assert torch.equal(noisy, with_noise(images, 0.1))


def experiment(**overrides):
    (trial,), _ = multiply(
        Grid(task="mnist", preset="smoke", model="mlp", threads=1, overrides=overrides), DataSource()
    )
    return experiment_of(trial, integrator_of(trial, NfeCounter()), DataSource())


def test_the_errors_are_measured_after_the_last_epoch_and_where_they_are_asked_for():
    without = experiment()
    without.begin_epoch(0)
    assert set(without.metrics(without.model)) == {"test_error", "test_loss"}
    asked = experiment(epochs=2, noise=0.4, attack=0.1)
    asked.begin_epoch(0)
    assert asked.metrics(asked.model)["fgsm_error"] is None
    asked.begin_epoch(1)
    with torch.no_grad():
        found = asked.metrics(asked.model)
    assert found["pgd_error"] >= found["test_error"]
    assert all(0 <= found[name] <= 100 for name in ("noise_error", "fgsm_error", "pgd_error"))


def test_an_attack_of_almost_nothing_changes_no_answer():
    asked = experiment(noise=1e-6, attack=1e-6)
    asked.begin_epoch(0)
    found = asked.metrics(asked.model)
    assert found["noise_error"] == found["fgsm_error"] == found["pgd_error"] == found["test_error"]
