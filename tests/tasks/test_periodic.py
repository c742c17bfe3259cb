"""The data of ``periodic`` by their statistics, and its errors by a second computation."""

import numpy as np
import pytest
import torch
from problems import integrator
from scipy import stats

from nodebench.running.expand import multiply
from nodebench.spec import DataSource, Grid
from nodebench.tasks.periodic import POINTS, SPAN, PeriodicOptions, given_points, make_sines
from nodebench.trial.build import experiment_of


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(model: str, **overrides):
    small = {"trajectories": 20, "hidden": 8, "latent": 4, "batch_size": 5} | overrides
    has_ode = "ode" in model
    grid = Grid(task="periodic", model=[model], overrides=small, **({"solver": ["rk4"]} if has_ode else {}))
    (trial,) = multiply(grid, DataSource())[0]
    return experiment_of(trial, integrator("rk4", step_size=1.0), DataSource())


@pytest.fixture(scope="module", params=["paper", "script"])
def sines(request):
    return request.param, make_sines(PeriodicOptions(variant=request.param, trajectories=2000), random())


def test_each_trajectory_is_a_sine_of_its_frequency(sines):
    """A line through the unwrapped phase has the frequency as its slope, and the amplitude is 1."""
    _, data = sines
    time, first = data.times.numpy(), data.clean[:, :1]
    centred = (data.clean - first).numpy()
    assert np.abs(centred).max() == pytest.approx(1, abs=1e-3)
    for row, frequency in zip(centred[:50], data.frequency[:50].tolist(), strict=True):
        basis = np.stack([np.sin(2 * np.pi * frequency * time), np.cos(2 * np.pi * frequency * time)], 1)
        assert np.allclose(np.linalg.lstsq(basis, row, rcond=None)[0], [1, 0], atol=1e-6)


def test_frequencies_times_and_first_values_are_as_published(sines):
    variant, data = sines
    assert stats.kstest((data.frequency.numpy() - 0.4) / 0.4, "uniform").pvalue > 0.01
    assert (len(data.times), data.times[0].item()) == (POINTS, 0.0)
    assert stats.kstest(data.times[1:].numpy() / SPAN, "uniform").pvalue > 0.01
    first = data.clean[:, 0].numpy()
    mean, spread = (1, 0.1) if variant == "script" else (0, 1)
    assert stats.kstest((first - mean) / spread, "norm").pvalue > 0.01


def test_the_noise_has_its_level_and_its_shape(sines):
    variant, data = sines
    noise = ((data.noisy - data.clean) / 0.01).numpy()
    assert (noise[:, 0] == 0).all() == (variant == "script")
    shape = "uniform" if variant == "script" else "norm"
    assert stats.kstest(noise[:20, 1:].flatten(), shape).pvalue > 0.01


@pytest.mark.parametrize(("share", "count"), [(0.1, 10), (0.2, 20), (0.3, 30), (0.5, 50)])
def test_a_share_of_the_points_is_given_at_random(share, count):
    given = given_points(PeriodicOptions(observed=share, trajectories=1000), random())
    assert (given.sum(1) == count).all()
    assert given.double().mean(0).sub(share).abs().max() < 4.5 * (share * (1 - share) / 1000) ** 0.5


def test_a_forecast_is_given_points_of_the_first_half():
    given = given_points(PeriodicOptions(observed=0.5, trajectories=100, objective="forecast"), random())
    assert (given.sum(1) == 25).all()
    assert not given[:, POINTS // 2 :].any()


@pytest.mark.parametrize("name", ["latent-ode", "gru-d", "linear"])
def test_metrics_are_those_of_a_second_computation(name):
    experiment = build(name)
    test = experiment._test
    with torch.no_grad():
        metrics = experiment.metrics(experiment.model)
        predicted = experiment._predict(experiment.model, test)[..., 0].numpy()
    true, given = test.values[..., 0].numpy(), test.given.numpy()
    assert len(true) == 4
    assert metrics["hidden_mse"] == pytest.approx(np.mean((predicted - true)[~given] ** 2))
    assert metrics["all_mse"] == pytest.approx(np.mean((predicted - true) ** 2))
    if name == "linear":
        for values, fitted, times, known in zip(true, predicted, test.times.numpy(), given, strict=True):
            inside = (times >= times[known].min()) & (times <= times[known].max())
            lines = np.interp(times[inside], times[known], values[known])
            assert np.allclose(fitted[inside], lines, atol=1e-5)
        assert metrics["rmse_given"] == pytest.approx(0, abs=1e-6)


def test_the_learning_rate_falls_with_each_step_to_a_tenth():
    experiment = build("gru-dt", decay=0.5, learning_rate=0.01)
    rates = []
    for batch in list(experiment.batches(0))[:6]:
        rates.append(experiment.optimizer.param_groups[0]["lr"])
        experiment.loss(experiment.model, batch).backward()
        experiment.optimizer.step()
    assert rates == pytest.approx([0.01, 0.005, 0.0025, 0.00125, 0.001, 0.001])


@pytest.mark.parametrize("reads", ["past", "both"])
def test_recurrent_models_see_what_lies_after_a_time_only_if_they_read_both_ways(reads):
    experiment = build("gru-d", reads=reads)
    values, _, seen, times, draw = next(iter(experiment.batches(0)))
    with torch.no_grad():
        before, _ = experiment.model(values * seen, seen, times, draw)
        changed = values.clone()
        changed[:, 50:] += 1
        after, _ = experiment.model(changed * seen, seen, times, draw)
    assert torch.equal(before[:, :50], after[:, :50]) == (reads == "past")


def test_the_picture_has_given_and_fitted_points():
    experiment = build("latent-ode-odernn")
    with torch.no_grad():
        shown = experiment.picture(experiment.model)
    assert shown.true.shape == shown.fitted.shape == (4, POINTS, 1)
    assert (np.isfinite(shown.observed[..., 0]).sum(1) == 30).all()
