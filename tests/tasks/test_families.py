"""``toy/damped-cosine`` and ``toy/hybrid-lotka-volterra`` against a closed form and SciPy."""

import numpy as np
import pytest
import torch
from problems import integrator
from scipy.integrate import solve_ivp
from torch import nn

from nodebench.models.hybrid import Bilinear, Confined, KnownRates
from nodebench.models.systems import DampedOscillator, LotkaVolterraScenario, Pendulum, exact_states
from nodebench.models.trajectories import OdeTrajectories
from nodebench.running.expand import multiply
from nodebench.spec import DataSource, Grid
from nodebench.tasks import find_task
from nodebench.tasks.trajectory_fit import FitOptions
from nodebench.trial.build import experiment_of


def fit(task: str, model: str, solver: str = "midpoint", **control):
    (trial,) = multiply(Grid(task=task, model=[model], solver=[solver], gradient=["direct"]), DataSource())[0]
    return experiment_of(trial, integrator(solver, **control), DataSource())


# --- the damped cosine


def cosine(t: torch.Tensor) -> torch.Tensor:
    """``2 exp(−t/10) cos t`` and its derivative, ``(T, 2)``."""
    decay = 2 * torch.exp(-t / 10)
    return torch.stack([decay * t.cos(), -decay * (t.cos() / 10 + t.sin())], -1)


def test_the_oscillator_is_the_damped_cosine():
    t = torch.linspace(0, 15, 40, dtype=torch.float64)
    states = exact_states(DampedOscillator(), torch.tensor([2.0, -0.2], dtype=torch.float64), t)
    assert torch.allclose(states, cosine(t), atol=1e-8)


def test_what_is_observed_is_the_damped_cosine():
    times, states = fit("toy/damped-cosine", "odenet").observations
    assert (len(times), times[0], times[-1]) == (100, 0, 10)
    assert torch.allclose(states, cosine(times), atol=1e-8)


@pytest.mark.parametrize("model", find_task("toy/damped-cosine").models)
def test_every_family_predicts_positions_and_velocities(model):
    experiment = fit("toy/damped-cosine", model)
    y0, start, elapsed, targets = experiment.probe
    assert experiment.model(y0, start, elapsed).shape == targets.shape == (20, 10, 2)
    experiment.loss(experiment.model, experiment.probe).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in experiment.model.parameters())


def test_the_families_have_the_parameters_of_their_widths():
    counts = {
        model: sum(p.numel() for p in fit("toy/damped-cosine", model).counted())
        for model in find_task("toy/damped-cosine").models
    }
    assert counts == {"odenet": 522, "augmented": 563, "second-order": 501, "heavy-ball": 482}


def test_an_augmented_field_has_no_error_over_the_plane():
    """Its extra component depends on the path."""
    metrics = {}
    for model in ("odenet", "augmented"):
        experiment = fit("toy/damped-cosine", model)
        with torch.no_grad():
            metrics[model] = experiment.metrics(experiment.model)
    assert metrics["augmented"]["field_error"] is None
    assert metrics["odenet"]["field_error"] > 0


# --- the hybrid


def test_a_hybrid_of_the_true_interaction_moves_as_scipy_says():
    a, b, c, d = 1.3, 0.9, 1.8, 0.8  # the authors' constants

    def slope(_, y):
        u, v = y
        return [a * u - b * u * v, d * u * v - c * v]

    times = np.linspace(0, 15, 31)
    start = [0.44249296, 4.6280594]
    exact = solve_ivp(slope, (0, 15), start, method="Radau", t_eval=times, rtol=1e-10, atol=1e-10).y.T
    field = KnownRates((a, -c), Bilinear()).double()
    with torch.no_grad():
        field.rates.copy_(torch.tensor([a, -c]))
        field.interaction.weights.copy_(torch.tensor([-b, d]))
        y0 = torch.tensor([start], dtype=torch.float64)
        found = integrator("dopri5", rtol=1e-10, atol=1e-10)(field, y0, torch.from_numpy(times))[:, 0]
    assert np.allclose(found, exact, rtol=2e-6, atol=1e-6)
    assert np.ptp(exact[:, 0]) > 3  # it moves


def test_the_true_interaction_has_no_error():
    """Planted: two weights at their true values."""
    experiment = fit("toy/hybrid-lotka-volterra", "bilinear", "dopri5", rtol=1e-8, atol=1e-8)
    experiment.model.double()
    experiment._dtype = torch.float64
    with torch.no_grad():
        before = experiment.metrics(experiment.model)
        experiment.model.field.rates.copy_(torch.tensor([1.3, -1.8]))
        experiment.model.field.interaction.weights.copy_(torch.tensor([-0.9, 0.8]))
        found = experiment.metrics(experiment.model)
    assert before["interaction_error"] == pytest.approx(1)  # weights of 0: no interaction at all
    errors = {name: value for name, value in found.items() if name.endswith("_error")}
    assert set(errors) == {
        f"{name}_error" for name in ("trajectory", "extrapolation", "held_out", "field", "interaction")
    }
    assert max(errors.values()) < 1e-5


def test_a_field_that_knows_nothing_is_judged_by_the_interaction_that_it_implies():
    experiment = fit("toy/hybrid-lotka-volterra", "odenet")

    class Half(nn.Module):
        """The known part and half of the interaction."""

        def forward(self, t, y):
            u, v = y.unbind(-1)
            return torch.stack([1.3 * u - 0.45 * u * v, -1.8 * v + 0.4 * u * v], -1)

    experiment.model.field = Half()
    with torch.no_grad():
        assert experiment.metrics(experiment.model)["interaction_error"] == pytest.approx(0.5, rel=1e-4)


def test_the_extrapolation_goes_on_for_four_spans():
    experiment = fit("toy/hybrid-lotka-volterra", "odenet")
    with torch.no_grad():
        picture = experiment.picture(experiment.model)
    assert picture.trained == (0, 3)
    assert picture.times[-1] == pytest.approx(15)
    later = torch.from_numpy(picture.true[0, -1])
    system = LotkaVolterraScenario()
    assert system.conserved(later) == pytest.approx(float(system.conserved(torch.tensor(picture.true[0, 0]))), rel=1e-6)


def test_a_confined_field_stops_where_a_free_one_reaches_infinity():
    """``y' = y²`` from 1 reaches infinity at time 1, and 100 at 0.99."""

    class Square(nn.Module):
        def forward(self, t, y):
            return y**2

    solve, times = integrator("dopri5", rtol=1e-8, atol=1e-8), torch.tensor([0.0, 0.5, 3.0], dtype=torch.float64)
    model = OdeTrajectories(Confined(Square(), 100.0), solve)
    found = model(torch.ones(1, 1).double(), torch.zeros(1, 1), times[None])[0, :, 0]
    assert found[1] == pytest.approx(2, rel=1e-6)
    assert found[2] == pytest.approx(100, rel=0.1)


# --- the pendulum, and ways to solve windows


def test_the_true_field_of_the_pendulum_keeps_its_energy():
    experiment = fit("toy/pendulum", "hamiltonian", "dopri5", rtol=1e-9, atol=1e-9)
    experiment.model.field = Pendulum()
    with torch.no_grad():
        metrics = experiment.metrics(experiment.model)
    assert metrics["energy_error"] < 1e-5
    assert metrics["trajectory_error"] < 1e-4


@pytest.mark.parametrize("way", ["rescaled", "alone"])
def test_penalties_need_one_solve_of_the_batch(way):
    with pytest.raises(ValueError, match="penalties need own_times=union"):
        FitOptions(own_times=way, kinetic=0.1)
    assert FitOptions(own_times=way).kinetic is None
