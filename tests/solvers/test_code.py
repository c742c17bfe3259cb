"""The lines that a recommendation prints do what the adapter did."""

import math

import pytest
import torch
from problems import Network, integrator

from nodebench.spec import Batching, Compile, Gradient


@pytest.mark.parametrize(
    ("solver", "control"),
    [
        ("dopri5", {"gradient": Gradient.DIRECT}),
        ("dopri5", {"gradient": Gradient.ADJOINT_SEMINORM}),
        ("dopri5", {"gradient": Gradient.CHECKPOINT, "segments": 3}),
        ("dopri5", {"gradient": Gradient.ADJOINT, "batching": Batching.WORST}),
        ("rk4", {"gradient": Gradient.CHECKPOINT, "step_size": 0.1}),
        ("rk4", {"gradient": Gradient.DIRECT}),
        ("dopri5", {"gradient": Gradient.ADJOINT, "adjoint_rtol": 1e-3, "adjoint_atol": 1e-3}),
        ("torchode:dopri5", {"gradient": Gradient.ADJOINT, "adjoint_rtol": 1e-3, "adjoint_atol": 1e-3}),
        ("scipy:LSODA", {"gradient": Gradient.ADJOINT}),
        ("torchode:tsit5", {"gradient": Gradient.DIRECT, "batching": Batching.EACH}),
        ("torchode:dopri5", {"gradient": Gradient.ADJOINT}),
        ("torchode:euler", {"gradient": Gradient.DIRECT, "step_size": 0.1, "batching": Batching.EACH}),
        ("torchdyn:dopri5", {"gradient": Gradient.ADJOINT_SEMINORM}),
        ("torchdyn:rk4", {"gradient": Gradient.DIRECT}),
        ("dopri5", {"gradient": Gradient.DIRECT, "first_step": 0.7}),
        ("dopri5", {"gradient": Gradient.INTERPOLATED, "adjoint_rtol": 1e-3, "adjoint_atol": 1e-4}),
        ("dopri5", {"gradient": Gradient.ACA, "batching": Batching.WORST}),
        ("rk4", {"gradient": Gradient.SYMPLECTIC, "step_size": 0.1}),
        ("rk4", {"gradient": Gradient.REVERSIBLE, "step_size": 0.1, "coupling": 0.9}),
        ("mali:alf", {"gradient": Gradient.REVERSIBLE, "step_size": 0.1}),
        ("scipy:RK45", {"gradient": Gradient.ADJOINT, "first_step": 0.7}),
        ("torchode:dopri5", {"gradient": Gradient.DIRECT, "first_step": 0.7}),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(map(str, value.values())),
)
def test_the_lines_do_what_the_adapter_did(solver, control):
    y0, times = torch.linspace(-1, 1, 6).reshape(2, 3), torch.tensor([0.0, 0.4, 1.0])
    solve = integrator(solver, **control)
    field = Network()
    states, gradients = [], []
    for run in (solve, lambda *_: _executed(solve.adapter.code(solve.control), field, y0, times)):
        field.zero_grad()
        states.append(run(field, y0, times))
        states[-1].square().sum().backward()
        gradients.append(torch.cat([p.grad.reshape(-1) for p in field.parameters()]))
    torch.testing.assert_close(states[1], states[0])
    torch.testing.assert_close(gradients[1], gradients[0])


def test_the_norm_of_the_worst_sample_is_printed_for_states_of_any_shape():
    times = torch.tensor([0.0, 1.0])
    for shape in ((), (3,), (2, 3), (2, 3, 1)):
        y0 = torch.linspace(0.5, 1, math.prod(shape)).reshape(shape)
        solve = integrator("dopri5", gradient=Gradient.DIRECT, batching=Batching.WORST)

        def logistic(t, y):
            return y * (1 - y)

        states = _executed(solve.adapter.code(solve.control), logistic, y0, times)
        torch.testing.assert_close(states, solve(logistic, y0, times))


# Each tolerance another one, so that none can stand in for another.
APART = {"rtol": 1e-3, "atol": 1e-6, "adjoint_rtol": 1e-2, "adjoint_atol": 1e-7}


@pytest.mark.parametrize(
    ("solver", "gradient"),
    [
        ("dopri5", Gradient.ADJOINT),
        ("dopri5", Gradient.ADJOINT_SEMINORM),
        ("scipy:RK45", Gradient.ADJOINT),
        ("torchode:dopri5", Gradient.ADJOINT),
        ("torchdyn:dopri5", Gradient.ADJOINT_SEMINORM),
    ],
)
def test_each_tolerance_goes_where_the_library_wants_it(solver, gradient):
    """In float64 against the library called by hand; the lines with two tolerances exchanged give other numbers."""
    field, y0 = Network().double(), torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3)
    times = torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64)

    def solved(run):
        field.zero_grad()
        states = run(field, y0, times)
        states[-1].square().sum().backward()
        return torch.cat([states.detach().flatten(), *(p.grad.flatten() for p in field.parameters())])

    def by_hand(**changes):
        solve = integrator(solver, gradient=gradient, **(APART | changes))
        code = solve.adapter.code(solve.control)
        return solved(lambda *given: _executed(code, *given))

    exact = by_hand()
    torch.testing.assert_close(solved(integrator(solver, gradient=gradient, **APART)), exact, rtol=1e-12, atol=1e-12)
    for first, second in (("rtol", "atol"), ("adjoint_rtol", "adjoint_atol"), ("rtol", "adjoint_rtol")):
        exchanged = by_hand(**{first: APART[second], second: APART[first]})
        assert (exchanged - exact).abs().max() > 1e-10, (first, second)


def _executed(code, field, y0, times):
    if "forward(self, t, x)" in code:
        field = _Renamed(field)
    names = {"field": field, "y0": y0, "times": times}
    exec(code, names)
    return names["states"]


class _Renamed(torch.nn.Module):
    """torchdyn looks for a field of ``t`` and ``x``."""

    def __init__(self, field):
        super().__init__()
        self.field = field

    def forward(self, t, x):
        return self.field(t, x)


TIGHT = {"rtol": 1e-7, "atol": 1e-7}


@pytest.mark.parametrize(
    ("solver", "control", "accuracy"),
    [
        ("diffrax:tsit5", {"gradient": Gradient.CHECKPOINT, "segments": 8, **TIGHT}, 1e-5),
        pytest.param("diffrax:tsit5", {"gradient": Gradient.ADJOINT_SEMINORM, **TIGHT}, 1e-5, marks=pytest.mark.slow),
        ("diffrax:euler", {"gradient": Gradient.CHECKPOINT, "step_size": 0.001}, 1e-2),
        pytest.param(
            "diffrax:tsit5", {"gradient": Gradient.CHECKPOINT, "first_step": 0.7, **TIGHT}, 1e-5, marks=pytest.mark.slow
        ),
    ],
)
def test_the_lines_of_diffrax_solve_a_field_in_jax(solver, control, accuracy):
    import jax.numpy as jnp

    solve = integrator(solver, **control)
    code = solve.adapter.code(solve.control)
    names = {
        "field": lambda t, y, weights: -weights * y,
        "y0": jnp.ones(2),
        "times": jnp.array([0.0, 1.0]),
        "weights": jnp.array(2.0),
    }
    exec(code, names)
    assert names["states"][-1].tolist() == pytest.approx([0.1353353] * 2, rel=accuracy)


def test_a_compiled_solve_is_compiled():
    solve = integrator("torchode:tsit5", compile=Compile.SOLVER)
    assert "torch.compile(adjoint.solve)" in solve.adapter.code(solve.control)
