import numpy as np
import pytest
import torch
from problems import integrator

from nodebench.models.latent import pick
from nodebench.running.expand import multiply
from nodebench.spec import DataSource, Grid
from nodebench.tasks.latent_spirals import WINDOW, SpiralsOptions, make_spirals
from nodebench.trial.build import experiment_of


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(model: str = "latent-ode", **overrides):
    small = {"spirals": 20, "test_spirals": 10, "observations": 30} | overrides
    ode = {"solver": ["rk4"]} if model == "latent-ode" else {}
    (trial,) = multiply(Grid(task="latent-spirals", model=[model], overrides=small, **ode), DataSource())[0]
    return experiment_of(trial, integrator("rk4"), DataSource())


def parameters(module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def test_the_scripts_curves_are_its_formulas():
    """torchdiffeq examples/latent_ode.py with a = 0, b = 0.3 and the 500 points that it takes in fact."""
    spirals = make_spirals(SpiralsOptions(variant="script", noise=1e-9), 40, random())
    angle, stop = np.linspace(0, 6 * np.pi, 500), 6 * np.pi
    inward = stop + 1 - angle
    clockwise = np.stack([15 / inward * np.cos(inward) - 5, 15 / inward * np.sin(inward)], 1)
    counter = np.stack([0.3 * angle * np.cos(angle) + 5, 0.3 * angle * np.sin(angle)], 1)
    for i, curve in enumerate([clockwise, counter] * 20):
        window = spirals.clean[i, :WINDOW].numpy()
        first = int(np.abs(curve - window[0]).sum(1).argmin())
        assert 100 <= first < 400
        assert np.allclose(window, curve[first : first + WINDOW], atol=1e-9)
    assert np.allclose(spirals.times[:WINDOW], angle[:WINDOW])


@pytest.mark.parametrize("variant", ["paper", "script"])
def test_half_of_the_spirals_turn_clockwise_and_held_out_ones_last(variant):
    spirals = make_spirals(SpiralsOptions(variant=variant), 50, random(), held_out=True)
    assert spirals.clean.isfinite().all()
    assert spirals.clean.abs().max() < 25
    centre = torch.tensor([[-5.0, 0.0], [5.0, 0.0]]).repeat(25, 1) if variant == "script" else torch.zeros(50, 2)
    moved = spirals.clean - centre.unsqueeze(1)
    turn = moved[:, 0, 0] * moved[:, 1, 1] - moved[:, 0, 1] * moved[:, 1, 0]
    assert (turn < 0).tolist() == [True, False] * 25


def test_observations_are_drawn_without_replacement_and_carry_the_noise():
    spirals = make_spirals(SpiralsOptions(observations=30, noise=0.3), 400, random())
    assert spirals.where.shape == (400, 30)
    assert (spirals.where.diff(dim=1) > 0).all()
    assert torch.bincount(spirals.where.flatten(), minlength=WINDOW).float().mean() == 120
    assert (spirals.noisy - spirals.clean).std().item() == pytest.approx(0.3, rel=0.02)


def test_what_is_not_observed_changes_nothing():
    spirals = make_spirals(SpiralsOptions(observations=30), 20, random())
    hidden = torch.ones(20, 2 * WINDOW, dtype=torch.bool).scatter_(1, spirals.where, False)
    other = spirals._replace(noisy=torch.where(hidden.unsqueeze(-1), 99.0, spirals.noisy))
    assert torch.equal(spirals.series().observed, other.series().observed)
    assert not torch.equal(spirals.noisy, other.noisy)


def test_models_have_the_published_parameters():
    """The script: recognition 908, field of two hidden layers 604, decoder 142; the paper's field has one layer."""
    assert parameters(build(variant="script", encoder_sees_gaps=False).model) == 908 + 604 + 142
    assert parameters(build(variant="paper", encoder_sees_gaps=False).model) == 908 + 184 + 142
    assert parameters(build("rnn").model) == 752


@pytest.mark.parametrize("model", ["latent-ode", "rnn", "rnn-dt", "gru-d", "linear"])
def test_metrics_are_those_of_a_second_computation(model):
    experiment = build(model)
    test, times = experiment._test, experiment._test.times.float()
    observed, where = pick(test.noisy, test.where).float(), test.where
    with torch.no_grad():
        metrics = experiment.metrics(experiment.model)
        if model == "latent-ode":
            z = experiment.model.encoder(observed, times[where]).mean
            beyond = experiment.model.decoder(z, times)[:, WINDOW:]
        else:
            beyond = experiment.model.forecast(observed, times[where], times[WINDOW:])
    for name, true in (("extrapolation_rmse", test.clean), ("extrapolation_rmse_noisy", test.noisy)):
        expected = np.sqrt(np.mean((beyond.numpy() - true[:, WINDOW:].numpy()) ** 2))
        assert metrics[name] == pytest.approx(expected, rel=1e-4)
    assert (metrics["elbo"] is None) == (model != "latent-ode")


def test_a_perfect_model_has_only_the_noise_left():
    experiment = build(test_spirals=200)
    test = experiment._test
    experiment._predict = lambda model: (pick(test.clean, test.where), test.clean[:, WINDOW:])
    with torch.no_grad():
        metrics = experiment.metrics(experiment.model)
    assert metrics["extrapolation_rmse"] == metrics["reconstruction_rmse"] == 0
    assert metrics["extrapolation_rmse_noisy"] == pytest.approx(0.1, rel=0.03)


def test_baselines_have_the_errors_of_numpy():
    """The mean and the last value of each spiral beyond the window; straight lines pass through the observations."""
    test = build("constant")._test
    observed, beyond = pick(test.noisy, test.where), test.clean[:, WINDOW:]
    found = {}
    for name in ("constant", "last-value", "linear"):
        experiment = build(name)
        with torch.no_grad():
            found[name] = experiment.metrics(experiment.model)
    for name, said in (("constant", observed.mean(1)), ("last-value", observed[:, -1])):
        by_hand = (said.unsqueeze(1) - beyond).square().mean().sqrt().item()
        assert found[name]["extrapolation_rmse"] == pytest.approx(by_hand, rel=1e-5)
    noise = (observed - pick(test.clean, test.where)).square().mean().sqrt().item()
    assert found["linear"]["reconstruction_rmse"] == pytest.approx(noise, rel=1e-5)
