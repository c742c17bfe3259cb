"""diffrax is timed as its documentation advises: nothing is traced or compiled again after the first training step.

Source: https://docs.kidger.site/diffrax/further_details/faq, "Diffrax seem to be slower than some other library?"
"""

import jax
import pytest
import torch
from problems import UNIT, Network, integrator

from nodebench.solvers import diffrax_solve
from nodebench.spec import Batching, Gradient

WORK = ("/jax/core/compile/jaxpr_trace_duration", "/jax/core/compile/backend_compile_duration")


@pytest.fixture
def events():
    """The names of the traces and compilations that JAX reports."""
    seen = []
    jax.monitoring.register_event_duration_secs_listener(lambda name, *_, **__: name in WORK and seen.append(name))
    yield seen
    jax.monitoring.clear_event_listeners()


@pytest.fixture
def waited(monkeypatch):
    """The results that a solve waits for: a stopwatch around it would miss what JAX has only begun."""
    seen = []
    real = jax.block_until_ready
    monkeypatch.setattr(diffrax_solve.jax, "block_until_ready", lambda found: seen.append(found) or real(found))
    return seen


@pytest.mark.parametrize(
    "control",
    [
        pytest.param({"gradient": Gradient.CHECKPOINT}, marks=pytest.mark.slow),
        pytest.param(
            {"gradient": Gradient.CHECKPOINT, "batching": Batching.EACH, "first_step": 0.1}, marks=pytest.mark.slow
        ),
        {"gradient": Gradient.ADJOINT},
    ],
    ids=lambda control: " ".join(map(str, control.values())),
)
def test_training_steps_after_the_first_trace_and_compile_nothing(control, events, waited):
    """And each returns when its results are there, forwards and backwards."""
    field, solve = Network(), integrator("diffrax:tsit5", **control)
    optimizer = torch.optim.SGD(field.parameters(), lr=0.1)

    def step(seed):
        y0 = torch.randn(2, 3, generator=torch.Generator().manual_seed(seed), requires_grad=True)
        loss = solve(field, y0, UNIT)[-1].square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    first = step(0)
    assert {*events} == {*WORK}
    events.clear()
    losses = [step(seed) for seed in (1, 2, 0)]
    assert events == []
    assert len(waited) == 4 * 2
    assert losses[-1] < first


@pytest.mark.slow  # by day, of the steps above
def test_a_solve_returns_when_its_results_are_there(waited):
    states = integrator("diffrax:euler", step_size=0.5, gradient=Gradient.CHECKPOINT)(Network(), torch.ones(2, 3), UNIT)
    assert len(waited) == 1
    states.sum().backward()
    assert len(waited) == 2
