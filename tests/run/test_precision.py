"""Trials in 16 bits: their errors, their bytes, and how they fail."""

import math

import pytest
import torch
from torch import nn

from nodebench.errors import BadInput
from nodebench.instruments import Budget, NfeCounter
from nodebench.running.expand import multiply
from nodebench.solvers import Integrator, StepControl, adapters
from nodebench.spec import DataSource, Gradient, Grid, SolveFailed, Status
from nodebench.tasks import find_task
from nodebench.trial.build import experiment_of, integrator_of
from nodebench.trial.passes import Passes


def draft(task: str, **grid):
    (trial,), _ = multiply(Grid(task=task, preset="smoke", threads=1, **grid), DataSource())
    solve = integrator_of(trial, NfeCounter())
    passes = Passes(trial, find_task(task), experiment_of(trial, solve, DataSource()), solve, Budget(), lambda *_: None)
    passes.timed()
    passes.memory()
    passes.numerics()
    return passes.draft


class Constant(nn.Module):
    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, t, y):
        return torch.full_like(y, self.slope)


class Decay(nn.Module):
    def forward(self, t, y):
        return -y


def solve(slope: float, dtype: torch.dtype, steps: int):
    integrator = Integrator(adapters()["torchdiffeq"], StepControl("euler", step_size=1 / steps), NfeCounter())
    return integrator(Constant(slope), torch.ones(2, dtype=dtype), torch.tensor([0.0, 1.0]))[-1]


def test_a_state_that_no_step_moves_is_a_standstill():
    """At 1 the next number in bfloat16 is 1 + 2^-7, so that steps below 2^-8 are rounded away."""
    with pytest.raises(SolveFailed, match="no output state differs from the initial one in bfloat16") as failed:
        solve(1.0, torch.bfloat16, 512)
    assert failed.value.status is Status.STANDSTILL
    assert solve(1.0, torch.bfloat16, 64).tolist() == [2.0, 2.0]
    assert solve(0.0, torch.bfloat16, 512).tolist() == [1.0, 1.0]  # the field vanishes: nothing should move
    assert solve(1.0, torch.float32, 512).tolist() == pytest.approx([2.0, 2.0])


def test_the_error_of_a_solution_is_that_of_the_format():
    """Rounding in steps of 2^-8, 2^-11 and 2^-24, sixty-four times."""
    formats = {torch.bfloat16: 2**-8, torch.float16: 2**-11, torch.float32: 2**-24}
    integrator = Integrator(adapters()["torchdiffeq"], StepControl("rk4", step_size=1 / 64), NfeCounter())
    for dtype, unit in formats.items():
        start = torch.tensor([[1.0]], dtype=dtype)
        found = integrator(Decay(), start, torch.tensor([0.0, 1.0]))[-1].double()
        error = abs(found.item() / math.exp(-1) - 1)
        assert unit / 64 < error < 64 * unit


@pytest.mark.parametrize(
    ("gradient", "format"),
    [
        (Gradient.DIRECT, {"dtype": "bfloat16"}),
        (Gradient.REVERSIBLE, {"dtype": "bfloat16"}),
        (Gradient.ADJOINT, {"autocast": "bfloat16"}),
    ],
)
def test_a_network_trains_in_bfloat16(gradient, format):
    found = draft("toy/spiral", solver="rk4", gradient=gradient, **format)
    assert found.metrics["trajectory_error"] is not None
    assert 1e-4 < found.costs["gradient_error"] < 0.5  # in float32 it is below 1e-4
    assert found.passes_agree is True


def test_without_its_cache_autocast_adds_up_the_gradients_of_many_calls_in_float32():
    cached, uncached = (
        draft(
            "toy/spiral",
            solver="rk4",
            step_size=1 / 32,
            gradient="direct",
            autocast=autocast,
            overrides={"training": "trajectory", "points": 3, "span": 1.0},
        ).costs["gradient_error"]
        for autocast in ("bfloat16", "bfloat16-uncached")
    )
    assert uncached < 2**-8 < cached / 4  # one rounding in bfloat16, and more than four


def test_what_is_kept_of_a_solve_takes_half_the_bytes():
    full, half = (
        draft("toy/spiral", dtype=dtype, solver="rk4", gradient="direct").costs["saved_bytes"]
        for dtype in ("float32", "bfloat16")
    )
    assert half / full == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("grid", "says"),
    [
        ({"task": "ecg", "dtype": "bfloat16"}, "no dtype of task ecg named 'bfloat16'.*Allowed: float32, float64"),
        ({"task": "mnist", "dtype": "float16", "solver": "scipy:RK45"}, "float32 and float64 only, not in float16"),
    ],
)
def test_what_has_no_16_bits_is_refused_by_name(grid, says):
    with pytest.raises(BadInput, match=says):
        multiply(Grid(preset="smoke", **grid), DataSource())
