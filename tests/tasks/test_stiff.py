"""Stiff systems: reference solutions, the gradient of one step against its closed form, the scaled equation."""

import math

import numpy as np
import pytest
import torch
from problems import integrator

from nodebench.models import systems
from nodebench.spec import DataSource, Gradient, Preset
from nodebench.tasks import find_task
from nodebench.tasks.contract import Setup
from nodebench.tasks.stiff import REFERENCE_TOLERANCE

IMPLICIT = ("impliciteuler", "kvaerno3", "kvaerno4", "kvaerno5")


def built(task: str, model: str, solver: str, gradient: Gradient = Gradient.DIRECT, control=None, **options):
    found = find_task(task)
    preset = found.presets[Preset.SMOKE].model_copy(update=options)
    solve = integrator(solver, gradient=gradient, **(control or {}))
    setup = Setup(model, preset, solve, 0, torch.device("cpu"), torch.float64, None, DataSource())
    return found.build(setup)


def tableau(solver: str) -> tuple[np.ndarray, np.ndarray]:
    """Matrix and weights of a diagonally implicit method of diffrax, an explicit first stage included."""
    diffrax = pytest.importorskip("diffrax")
    if solver == "impliciteuler":
        return np.array([[1.0]]), np.array([1.0])
    known = {"kvaerno3": diffrax.Kvaerno3, "kvaerno4": diffrax.Kvaerno4, "kvaerno5": diffrax.Kvaerno5}[solver].tableau
    size = len(known.b_sol)
    matrix = np.zeros((size, size))
    for row, lower in enumerate(known.a_lower, 1):
        matrix[row, :row] = lower
    matrix[np.diag_indices(size)] = known.a_diagonal
    return matrix, np.asarray(known.b_sol)


def derivative(solver: str, z: float) -> float:
    """R'(z) of R(z) = 1 + z bᵀ (I − zA)⁻¹ 1."""
    matrix, weights = tableau(solver)
    inverse = np.linalg.inv(np.eye(len(weights)) - z * matrix)
    ones = np.ones(len(weights))
    return float(weights @ inverse @ ones + z * weights @ inverse @ matrix @ inverse @ ones)


def sensitivities(solver: str, gradient: Gradient, *stiffnesses: float) -> list[float]:
    """Of one experiment, whose solve diffrax compiles once."""
    experiment = built("toy/stiff-decay", "decay", solver, gradient)
    found = []
    for stiffness in stiffnesses:
        experiment.model.field.rate.data.fill_(-stiffness)
        found.append(experiment.metrics(experiment.model)["sensitivity"])
    return found


BY_DAY = ("impliciteuler",)


@pytest.mark.parametrize(
    "solver", [one if one in BY_DAY else pytest.param(one, marks=pytest.mark.slow) for one in IMPLICIT]
)
def test_the_gradient_of_an_implicit_step_is_that_of_its_stability_function(solver):
    pytest.importorskip("diffrax")
    stiffnesses = (1.0, 100.0, 1e4)
    found = sensitivities(f"diffrax:{solver}", Gradient.CHECKPOINT, *stiffnesses)
    assert found == pytest.approx([abs(derivative(solver, -one)) for one in stiffnesses], rel=1e-5)


def test_implicit_eulers_has_a_closed_form():
    assert derivative("impliciteuler", -1e6) == pytest.approx(1 / (1 + 1e6) ** 2)


def test_the_gradient_of_an_explicit_step_is_that_of_its_polynomial():
    z = -100.0
    assert sensitivities("euler", Gradient.DIRECT, 100.0) == pytest.approx([1.0])
    assert sensitivities("rk4", Gradient.DIRECT, 100.0) == pytest.approx([abs(1 + z + z**2 / 2 + z**3 / 6)], rel=1e-9)


def test_the_exact_gradient_vanishes_faster():
    experiment = built("toy/stiff-decay", "decay", "euler", stiffness=100.0)
    assert experiment.metrics(experiment.model)["exact_sensitivity"] == pytest.approx(math.exp(-100))


# The output of SUNDIALS' example cvRoberts_dns, which solves to 1e-4 with absolute tolerances of 1e-8, 1e-14 and 1e-6.
SUNDIALS = """
0.4 9.8517e-01 3.3864e-05 1.4794e-02
4 9.0553e-01 2.2405e-05 9.4452e-02
40 7.1583e-01 9.1855e-06 2.8416e-01
400 4.5054e-01 3.2230e-06 5.4946e-01
4000 1.8320e-01 8.9423e-07 8.1680e-01
"""


def test_robertsons_reaction_is_that_of_sundials():
    table = np.array([[float(word) for word in line.split()] for line in SUNDIALS.strip().splitlines()])
    times = torch.from_numpy(np.concatenate([[0.0], table[:, 0]]))
    start = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    found = systems.exact_states(systems.Robertson(), start, times, REFERENCE_TOLERANCE, "Radau", 1e-6)[1:].numpy()
    assert np.allclose(found, table[:, 1:], rtol=2e-4)
    assert found.sum(1) == pytest.approx(np.ones(len(table)), rel=1e-7)


def test_the_stiffness_of_the_true_reaction_is_that_of_its_jacobian_written_out():
    experiment = built("toy/stiff", "scaled", "rk4")
    largest = 0.0
    for _, b, c in experiment._states.numpy():
        k1, k2, k3 = 0.04, 3e7, 1e4
        matrix = [[-k1, k3 * c, k3 * b], [k1, -k3 * c - 2 * k2 * b, -k3 * b], [0, 2 * k2 * b, 0]]
        largest = max(largest, np.abs(np.linalg.eigvals(matrix)).max())
    with torch.no_grad():
        found = experiment.metrics(experiment.model)
    assert found["stiffness"] / found["stiffness_ratio"] == pytest.approx(1e5 * largest, rel=1e-6)
    assert 1e5 * largest > 5e8


@pytest.mark.slow
def test_the_gradient_under_an_implicit_method_is_that_under_an_explicit_one():
    """The scaled network starts soft, so that both can solve it tightly."""
    pytest.importorskip("diffrax")
    found = []
    for solver, gradient in (("dopri8", Gradient.DIRECT), ("diffrax:kvaerno5", Gradient.CHECKPOINT)):
        experiment = built("toy/stiff", "scaled", solver, gradient, {"rtol": 1e-8, "atol": 1e-10})
        experiment.loss(experiment.model, experiment.probe).backward()
        found.append(torch.cat([p.grad.flatten() for p in experiment.model.parameters()]))
    assert (found[0] - found[1]).norm() / found[0].norm() < 1e-5


def test_scaling_divides_the_loss_by_the_sizes_of_the_components():
    scaled, plain = (built("toy/stiff", model, "rk4", system="van-der-pol", mu=5.0) for model in ("scaled", "plain"))
    sizes = scaled._states.abs().amax(0)
    for experiment, divisor in ((scaled, sizes), (plain, torch.ones(2, dtype=torch.float64))):
        start, times, states = experiment.probe
        expected = ((experiment.model(start, times) - states).detach() / divisor).abs().mean()
        assert experiment.loss(experiment.model, experiment.probe).item() == pytest.approx(expected.item())
    y = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    field = scaled.model.field
    assert torch.allclose(field(torch.tensor(0.0), y), field.field(torch.tensor(0.0), y) * sizes / 10)
