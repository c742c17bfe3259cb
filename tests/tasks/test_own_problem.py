"""Problems that users bring: as values, in files, from live objects, and models that solve with ``odeint``."""

import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import own_problems
import pytest
import torch
import torchdiffeq
from torch.utils.data import DataLoader, Subset, TensorDataset

import nodebench
from nodebench.errors import BadInput
from nodebench.instruments import Budget, NfeCounter
from nodebench.running.expand import multiply
from nodebench.solvers.odeint import counter
from nodebench.solvers.states import pack, unpack
from nodebench.spec import DataSource, Grid
from nodebench.tasks import find_task
from nodebench.trial.build import experiment_of, integrator_of
from nodebench.trial.draft import Draft
from nodebench.trial.passes import Passes

FILE = Path(own_problems.__file__)
ERRORS = ("solution_error", "gradient_error")


@pytest.fixture(autouse=True)
def _outside_trials(monkeypatch):
    """Trials run in processes of their own; those of these tests leave ``odeint`` as it was."""
    monkeypatch.setattr("nodebench.solvers.odeint._active", [])


def experiment(name: str, solver: str = "dopri5", seed: int = 0, preset: str = "smoke", **axes):
    grid = Grid(
        task="problem",
        preset=preset,
        solver=[solver],
        threads=1,
        seed=seed,
        overrides={"problem": [f"own_problems:{name}"]},
        **axes,
    )
    (trial,) = multiply(grid, DataSource())[0]
    solve = integrator_of(trial, NfeCounter())
    return trial, solve, experiment_of(trial, solve, DataSource())


def passes(name: str, **axes) -> Passes:
    trial, solve, built = experiment(name, **axes)
    return Passes(trial, find_task("problem"), built, solve, Budget(max_nfe=5000), lambda row, pictures: None)


def measured(name: str, **axes) -> Draft:
    running = passes(name, **axes)
    running.timed()
    running.memory()
    running.numerics()
    return running.draft


def trained(name: str, **axes) -> Draft:
    """What the training alone tells."""
    running = passes(name, **axes)
    running.timed()
    return running.draft


def exact(*times: float) -> float:
    """Mean square of the decay at some times."""
    return sum(math.exp(-2 * own_problems.RATE * t) for t in times) / len(times)


@pytest.mark.parametrize("name", ["decay", "function", "frozen_field", "made"])
def test_a_field_costs_what_torchdiffeq_says_and_its_loss_is_the_closed_form(name):
    draft = measured(name)
    calls = 0

    def field(t, y):
        nonlocal calls
        calls += 1
        return -own_problems.RATE * y

    torchdiffeq.odeint(field, torch.ones(4, 2), own_problems.TIMES, rtol=1e-5, atol=1e-5, method="dopri5")
    assert draft.costs["nfe_forward"] == calls
    assert draft.metrics["final_loss"] == pytest.approx(exact(*own_problems.TIMES[1:].tolist()), rel=1e-4)
    assert all(0 < draft.costs[error] < 1e-4 for error in ERRORS)
    assert draft.passes_agree is True


def test_a_field_is_solved_backwards_in_time():
    assert trained("backwards").metrics["final_loss"] > 1


def test_states_that_are_a_tuple_are_solved_together():
    found = (math.exp(-own_problems.RATE * 2) + math.exp(-4)) / 1
    assert trained("pair").metrics["final_loss"] == pytest.approx(found, rel=1e-3)
    draft = measured("pair", gradient=["adjoint"])
    assert all(draft.costs[error] < 1e-3 for error in ERRORS)


def test_a_tuple_survives_packing_and_unpacking():
    states = torch.rand(2, 3), torch.rand(4), torch.rand(())
    again = unpack(torch.stack([pack(states)] * 5), [one.shape for one in states])
    assert [tuple(one.shape) for one in again] == [(5, 2, 3), (5, 4), (5,)]
    assert all(torch.equal(part[3], whole) for part, whole in zip(again, states, strict=True))


def test_each_sample_has_its_own_output_times():
    found = sum(math.exp(-own_problems.RATE * t) for t in (0.5, 1.0, 1.0, 2.0)) / 4
    assert trained("own_times").metrics["final_loss"] == pytest.approx(found, rel=1e-4)


def test_drawn_states_differ_from_step_to_step_and_from_seed_to_seed():
    first, second = (list(experiment("drawn", seed=seed)[2].batches(0)) for seed in (0, 1))
    again = list(experiment("drawn", seed=0)[2].batches(0))
    assert len({float(batch[0].sum()) for batch in [*first, *second]}) == 6
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, again, strict=True))


def test_a_field_is_fitted_to_data():
    """The rate that carries 1 to 1/4 within one unit of time is log 4."""
    draft = trained("fitted", solver="rk4", step_size=[0.25], preset="quick")
    assert draft.metrics["rate"] == pytest.approx(math.log(4), rel=1e-2)


@pytest.mark.parametrize("name", ["function", "frozen_field"])
def test_the_adjoint_of_a_field_without_trained_parameters_reaches_the_states(name):
    """Without parameters the gradient is that of the initial states."""
    draft = measured(name, gradient=["adjoint"])
    assert draft.costs["nfe_backward"] > 0
    assert draft.costs["gradient_error"] < 1e-4


def test_other_data_of_the_same_code_are_another_state(monkeypatch):
    states = [experiment("fitted")[2].measured.state for _ in range(2)]
    changed = dataclasses.replace(own_problems.fitted, data=[(torch.ones(4, 2), torch.full((4, 2), 0.5))])
    monkeypatch.setattr(own_problems, "fitted", changed)
    assert states[0] == states[1] != experiment("fitted")[2].measured.state


@pytest.mark.parametrize("part", [False, True])
def test_a_change_behind_the_first_batch_of_a_loader_is_another_state(monkeypatch, part):
    def state(last: float) -> str:
        points = torch.ones(8, 2)
        points[-1] = last
        data = TensorDataset(points, torch.full((8, 2), 0.5))
        loader = DataLoader(Subset(data, range(8)) if part else data, batch_size=4)
        monkeypatch.setattr(own_problems, "fitted", dataclasses.replace(own_problems.fitted, data=loader))
        return experiment("fitted")[2].measured.state

    assert state(1.0) == state(1.0) != state(2.0)


@pytest.mark.parametrize("gradient", ["direct", "adjoint"])
def test_the_solves_of_a_model_are_those_of_the_trial(gradient):
    draft = measured("classifier", solver="rk4", gradient=[gradient])
    assert draft.costs["nfe_forward"] == 8  # two blocks of one step of four stages
    assert draft.costs["nfe_backward"] == (8 if gradient == "adjoint" else None)


def test_a_model_learns_what_its_data_say():
    assert trained("classifier", solver="dopri5", preset="quick").metrics["accuracy"] > 0.9


def test_each_block_of_a_model_has_its_evaluations():
    """Against torchdiffeq's own calls of each field, from the same weights and states."""
    _, _, built = experiment("stiff_blocks")
    with torch.no_grad():
        found = built.metrics(built.model)
    calls = {}
    states = built.probe[0]
    for name in ("first", "second"):
        field, calls[name] = getattr(built.model, name), 0

        def counted(t, y, field=field, name=name):
            calls[name] += 1
            return field(t, y)

        with torch.no_grad():
            states = torchdiffeq.odeint(counted, states, torch.tensor([0.0, 1.0]), rtol=1e-5, atol=1e-5)[-1]
    assert {name: found[f"nfe_of_{name}"] for name in calls} == calls
    assert calls["second"] > calls["first"]
    (one,) = [experiment("one_block")[2]]
    assert not any(name.startswith("nfe_of_") for name in one.metrics(one.model))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nothing", "has no 'nothing'"),
        ("deca", "did you mean decay?"),
        ("no_problem", "is a int, not a nodebench.Problem"),
        ("wrong_shape", r"maps states \(4, 2\) to \(1, 2\)"),
        ("raises", r"called with states \(4, 2\): RuntimeError"),
        ("complex_states", "complex states are not supported"),
        ("integers", "must be real numbers"),
        ("vector_loss", "must be one real number"),
        ("nothing_to_learn", "nothing to differentiate"),
        ("dictionaries", "initial states must be a tensor or a tuple of tensors, not a dict"),
    ],
)
def test_what_cannot_be_used_is_one_line(name, told):
    with pytest.raises(BadInput, match=told) as refused:
        experiment(name)[2].check()
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "either field or model"),
        ({"field": 1, "model": 1}, "either field or model"),
        ({"field": 1}, "a field needs t"),
        ({"field": 1, "t": torch.ones(1)}, "either y0, or data"),
        ({"model": 1}, "a model needs data, loss"),
        ({"model": 1, "data": [1], "loss": print, "t": torch.ones(2)}, "t can be given only with a field"),
        ({"field": 1, "y0": 1, "t": torch.ones(1)}, "at least 2"),
        ({"field": 1, "y0": 1, "t": torch.ones(3)}, "strictly increasing or decreasing"),
        ({"field": 1, "y0": 1, "t": torch.tensor([[0.0, 1.0], [0.5, 1.0]])}, "the same start time"),
        ({"field": 1, "y0": 1, "t": torch.tensor([0.0, 1.0]), "loss": 3}, "loss must be callable, not a int"),
        ({"field": 1, "y0": 1, "t": torch.tensor([0.0, 1.0]), "epochs": 0}, "epochs=0: a whole number, at least 1"),
    ],
)
def test_a_problem_that_is_none_is_refused_where_it_is_made(given, told):
    with pytest.raises(BadInput, match=told):
        nodebench.Problem(**given)


# --- files and live objects


def test_a_file_is_run_without_a_package_and_its_code_is_known(nodebench, tmp_path):
    (tmp_path / "mine.py").write_text(FILE.read_text())
    arguments = ["--preset", "smoke", "--threads", "1", "--no-timing", "--quiet", "--json", "--solver", "rk4"]
    code, out, err = nodebench("run", "--task", "mine.py:decay", *arguments)
    assert code == 0, err
    record = json.loads(out)
    assert record["costs"]["nfe_forward"] == 8 * 4
    assert list(record["measured"]["modules"]) == ["mine.py"]
    code, _, err = nodebench("run", "--task", "mine.py:dekay", *arguments)
    assert (code, "did you mean decay?" in err, len(err.splitlines())) == (2, True, 1)
    code, _, err = nodebench("run", "--task", "other.py:decay", *arguments)
    assert (code, f"there is no file {tmp_path / 'other.py'}" in err) == (2, True)


LIVE = """
import torch
import nodebench
from torch import nn

class Decay(nn.Module):
    def __init__(self):
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(0.5))
    def forward(self, t, y):
        return -self.rate * y

problem = nodebench.Problem(field=Decay(), y0=torch.ones(4, 2), t=torch.linspace(0.0, 2.0, 9), name="decay")
run = nodebench.run(problem, solver="dopri5", preset="smoke", threads=1, timing=False, progress=False)
(record,) = run.records
print(record.trial.overrides["problem"], record.costs["nfe_forward"], record.metrics["final_loss"])
"""


def test_live_objects_of_a_script_are_measured_as_those_of_a_file(tmp_path, nodebench):
    (tmp_path / "script.py").write_text(LIVE)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    name, nfe, loss = done.stdout.split()
    assert name.startswith("decay@")
    filed = measured("decay")
    assert float(nfe) == filed.costs["nfe_forward"]
    assert float(loss) == filed.metrics["final_loss"]
    # Nothing of it is stored: another process cannot run it again, and says so.
    code, _, err = nodebench("run", "--task", "problem", "--set", f"problem={name}", "--solver", "rk4")
    assert (code, "made of objects of another Python session" in err) == (2, True)
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".pkl", ".pickle")]


def test_a_problem_that_cannot_be_sent_is_refused(tmp_path):
    with (tmp_path / "file").open("w") as file:
        problem = nodebench.Problem(field=lambda t, y: file, y0=torch.ones(1), t=torch.ones(2).cumsum(0))
        with pytest.raises(BadInput, match="cannot be sent to a trial's process"):
            nodebench.run(problem, results=tmp_path, progress=False)


# --- the drop-in for torchdiffeq


@pytest.mark.parametrize("name", ["odeint", "odeint_adjoint"])
def test_outside_trials_the_drop_in_is_torchdiffeq_and_counts(name):
    def solved(function) -> tuple[torch.Tensor, torch.Tensor]:
        field = own_problems.Pair()
        states = function(field, (torch.ones(2), torch.ones(3)), own_problems.TIMES, rtol=1e-6, atol=1e-6)
        (states[0].sum() + states[1].sum()).backward()
        return states[0].detach(), field.decay.rate.grad

    before = counter.forward
    ours, theirs = solved(getattr(nodebench, name)), solved(getattr(torchdiffeq, name))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert nodebench.evaluations() > before > -1
