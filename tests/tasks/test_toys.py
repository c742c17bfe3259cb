import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import torch
from nodebench.tasks.spiral import _WindowTraining

from nodebench.models.fields import LinearField, MlpField, RelaxationField
from nodebench.tasks import find_task, tasks

MATRIX = np.array(_WindowTraining.MATRIX)


def test_the_linear_solution_is_the_matrix_exponential():
    y0, times = torch.tensor([2.0, 0.0], dtype=torch.float64), torch.linspace(0, 25, 7, dtype=torch.float64)
    found = LinearField(MATRIX.tolist()).solution(y0, times)
    expected = np.stack([y0.numpy() @ scipy.linalg.expm(MATRIX * t) for t in times.numpy()])
    # The matrix is stored in float32, as every model is until it is asked for more.
    assert np.allclose(found.numpy(), expected, atol=1e-5)


def test_the_relaxation_solution_is_scipys():
    times = torch.linspace(0, 4, 5, dtype=torch.float64)
    found = RelaxationField().solution(torch.tensor([3.0], dtype=torch.float64), times)
    expected = scipy.integrate.solve_ivp(
        lambda t, x: 1 - x, (0, 4), [3.0], t_eval=times.numpy(), rtol=1e-10, atol=1e-12
    )
    assert np.allclose(found.numpy().T, expected.y, atol=1e-8)


def test_the_mlp_field_starts_as_in_the_demo():
    torch.manual_seed(0)
    field = MlpField((2, 500, 2))
    assert field.net[0].weight.std().item() == pytest.approx(0.1, rel=0.1)
    assert all((layer.bias == 0).all() for layer in field.net if hasattr(layer, "bias"))


def test_a_third_party_task_is_found_by_its_entry_point():
    assert "test/faults" in tasks()


@pytest.mark.parametrize("name", ["mnist", "toy/exponential", "toy/spiral"])
def test_a_task_says_what_it_is(name):
    task = find_task(name)
    assert task.about
    assert task.source
    assert {"smoke", "quick"} <= set(task.presets)
    assert all(model.about and model.source for model in task.models.values())
