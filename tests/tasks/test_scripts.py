"""Programs written for torchdiffeq run unchanged but for their import, and their models are measured in trials.

The programs in tests/scripts have the structure, options and calls of torchdiffeq's own examples.
"""

import math
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torchdiffeq
from torch import nn

import nodebench
from nodebench.instruments import Budget, NfeCounter
from nodebench.running.expand import multiply
from nodebench.solvers.odeint import HIDDEN_PARAMETERS
from nodebench.spec import DataSource, Grid, SolveFailed, Status
from nodebench.tasks import find_task, live
from nodebench.trial.build import experiment_of, integrator_of
from nodebench.trial.passes import Passes

SCRIPTS = Path(__file__).parents[1] / "scripts"
LIBRARIES = ("torchdiffeq", "nodebench")


@pytest.fixture(autouse=True)
def _as_found(monkeypatch):
    monkeypatch.setattr("nodebench.solvers.odeint._active", [])
    yield
    torch.set_default_dtype(torch.float32)


def script(name: str, library: str, tmp_path: Path, *arguments: str, run_name: str = "__main__") -> SimpleNamespace:
    """What a program defines after it has run, with its import of torchdiffeq changed to that of a library."""
    path = tmp_path / f"{name}_of_{library}.py"
    text = (SCRIPTS / f"{name}.py").read_text()
    path.write_text(text.replace("from torchdiffeq import", f"from {library} import"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(path), *arguments])
        found = SimpleNamespace(**runpy.run_path(str(path), run_name=run_name))
    torch.set_default_dtype(torch.float32)
    return found


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("fit_trajectory", ["--niters", "2"]),
        ("fit_trajectory", ["--niters", "2", "--adjoint"]),
        ("classify_images", ["--nepochs", "1"]),
        ("classify_images", ["--nepochs", "1", "--adjoint", "True"]),
        ("latent_series", ["--niters", "2", "--visualize", "True"]),
        ("latent_series", ["--niters", "2", "--adjoint", "True"]),
        ("bouncing", ["2"]),
        ("bouncing", ["2", "--adjoint"]),
    ],
)
def test_a_program_gives_the_same_numbers_with_its_import_changed(name, arguments, tmp_path):
    theirs, ours = (script(name, library, tmp_path, *arguments) for library in LIBRARIES)
    assert ours.losses == theirs.losses
    assert ours.nfe == theirs.nfe > 0
    assert all(map(math.isfinite, ours.losses))


def test_evaluations_are_those_that_a_program_counts_itself(tmp_path):
    before = nodebench.evaluations()
    ran = script("classify_images", "nodebench", tmp_path, "--nepochs", "1", "--adjoint", "True")
    assert nodebench.evaluations() - before == ran.nfe


def test_the_bounces_of_a_ball_are_at_their_closed_form(tmp_path):
    """From height h a ball falls for sqrt(2 h / g); each flight after a bounce lasts 0.8 as long as the one before."""
    ran = script("bouncing", "nodebench", tmp_path, "2")
    fall = math.sqrt(2 * 10 / 9.8)
    assert ran.losses[:2] == pytest.approx([fall, fall * (1 + 2 * 0.8)], rel=1e-6)


# --- the models of these programs, within trials


def measured(
    problem: nodebench.Problem, *, solver: str = "dopri5", gradient: str = "direct", numerics: bool = True, **axes
):
    """The draft of a record."""
    overrides = {"problem": [live.keep(problem)]}
    grid = Grid(
        task="problem", preset="smoke", solver=[solver], gradient=[gradient], threads=1, overrides=overrides, **axes
    )
    (trial,) = multiply(grid, DataSource())[0]
    solve = integrator_of(trial, NfeCounter())
    built = experiment_of(trial, solve, DataSource())
    passes = Passes(trial, find_task("problem"), built, solve, Budget(max_nfe=5000), lambda row, pictures: None)
    passes.timed()
    passes.memory()
    if numerics:
        passes.numerics()
    return passes.draft


def digits(ran: SimpleNamespace) -> nodebench.Problem:
    loss = nn.CrossEntropyLoss()
    return nodebench.Problem(model=ran.make_model, data=list(ran.make_loader()), loss=lambda m, x, y: loss(m(x), y))


def latent(ran: SimpleNamespace) -> nodebench.Problem:
    return nodebench.Problem(model=ran.Parts, data=[ran.make_data()], loss=lambda model, *batch: model(*batch))


def trajectory(ran: SimpleNamespace) -> nodebench.Problem:
    start, times, pieces = ran.get_batch()

    def loss(states, wanted):
        return (states - wanted).abs().mean()

    return nodebench.Problem(field=ran.Network, t=times, data=[(start, pieces)], loss=loss)


@pytest.mark.parametrize(
    ("name", "problem", "gradient"),
    [
        ("fit_trajectory", trajectory, "adjoint"),
        ("latent_series", latent, "direct"),
        ("latent_series", latent, "adjoint"),
        pytest.param("classify_images", digits, "direct", marks=pytest.mark.slow),
        pytest.param("classify_images", digits, "adjoint", marks=pytest.mark.slow),
    ],
)
def test_the_model_of_a_program_has_a_record_with_evaluations_and_memory(name, problem, gradient, tmp_path):
    ran = script(name, "nodebench", tmp_path, run_name="imported")
    draft = measured(problem(ran), gradient=gradient, rtol=[1e-4])
    assert draft.costs["nfe_forward"] > 0
    assert (draft.costs["nfe_backward"] is not None) == (gradient == "adjoint")
    assert draft.costs["tensor_peak_bytes"] > 0
    assert draft.costs["gradient_error"] < 0.02
    assert draft.passes_agree is True


def test_a_trial_counts_what_a_program_counts_at_the_same_tolerance(tmp_path):
    """Without an optimiser a trial takes the program's first steps at its first weights."""
    ran = script("classify_images", "nodebench", tmp_path, run_name="imported")
    torch.manual_seed(0)
    model = ran.make_model()
    nfe = []
    for x, _ in list(ran.make_loader())[:3]:
        model[1].nfe = 0
        model(x)
        nfe.append(model[1].nfe)
    draft = measured(digits(ran), rtol=[1e-3], numerics=False)
    assert draft.costs["nfe_forward"] == pytest.approx(sum(nfe) / 3)


def test_a_field_that_is_not_smooth_is_compared_with_the_second_reference(monkeypatch):
    """Of this field dopri8 takes 1,419 evaluations at 1e-9, and dopri5 524."""
    monkeypatch.setattr("nodebench.trial.numerics.REFERENCE_MAX_NFE", 800)

    def kinks(t, y):
        return torch.sin(10 * t).relu() - y

    draft = measured(nodebench.Problem(field=kinks, y0=torch.ones(1), t=torch.tensor([0.0, 1.0])))
    # y = exp(-t) (1 + ∫ exp(s) max(sin 10 s, 0) ds), over two half waves.
    integral = [math.exp(t) * (math.sin(10 * t) - 10 * math.cos(10 * t)) / 101 for t in _edges()]
    exact = math.exp(-1) * (1 + integral[1] - integral[0] + integral[3] - integral[2])
    found = math.sqrt(draft.metrics["final_loss"])
    assert draft.costs["solution_error"] == pytest.approx(abs(found / exact - 1), abs=3e-7)
    assert draft.costs["solution_error"] > 3e-6


def _edges() -> list[float]:
    return [k * math.pi / 10 for k in range(4)]


# --- events, and functions with parameters of their own


class Falls(nn.Module):
    """The time at which a ball reaches the ground."""

    def __init__(self) -> None:
        super().__init__()
        self.gravity, self.height = nn.Parameter(torch.tensor(9.8)), nn.Parameter(torch.tensor([10.0]))

    def forward(self, t, state):
        return state[1], -self.gravity * torch.ones_like(state[0])

    def fall(self, x: torch.Tensor) -> torch.Tensor:
        state = self.height, torch.zeros_like(self.height)
        time, states = nodebench.odeint_event(
            self, state, torch.zeros(()).to(x), event_fn=lambda t, y: y[0], odeint_interface=nodebench.odeint_adjoint
        )
        assert states[0].shape == (2, 1)
        return time.reshape(())


FALL = nodebench.Problem(model=Falls, data=[torch.ones(1)], loss=lambda model, x: model.fall(x))


@pytest.mark.parametrize("gradient", ["direct", "adjoint"])
def test_an_event_is_measured_in_a_trial_of_torchdiffeq(gradient):
    draft = measured(FALL, gradient=gradient)
    assert draft.metrics["final_loss"] == pytest.approx(math.sqrt(20 / 9.8), rel=1e-4)
    assert draft.costs["nfe_forward"] > 0
    assert draft.costs["gradient_error"] < 1e-3
    assert draft.costs["solution_error"] < 1e-4


def test_an_event_is_unsupported_where_the_backend_has_none():
    with pytest.raises(SolveFailed, match="supports no events") as refused:
        measured(FALL, gradient="checkpoint")
    assert refused.value.status is Status.UNSUPPORTED


class Hidden(nn.Module):
    """A block whose field is a function of its own layer."""

    def __init__(self, *, named: bool) -> None:
        super().__init__()
        self.layer, self.named = nn.Linear(2, 2), named

    def forward(self, x):
        def field(t, y):
            return self.layer(y)

        more = {"adjoint_params": self.layer.parameters()} if self.named else {}
        solve = nodebench.odeint_adjoint if self.named else nodebench.odeint
        return solve(field, x, torch.tensor([0.0, 1.0]), **more)[-1]


def block(*, named: bool) -> nodebench.Problem:
    return nodebench.Problem(
        model=lambda: Hidden(named=named), data=[torch.ones(3, 2)], loss=lambda model, x: model(x).square().mean()
    )


def test_an_adjoint_finds_the_parameters_of_a_function_or_is_refused():
    assert measured(block(named=True), gradient="adjoint").costs["gradient_error"] < 1e-3
    with pytest.raises(SolveFailed) as refused:
        measured(block(named=False), gradient="adjoint")
    assert (refused.value.status, str(refused.value)) == (Status.UNSUPPORTED, HIDDEN_PARAMETERS)
    assert measured(block(named=False), gradient="direct").costs["gradient_error"] < 1e-3


# --- each argument reaches torchdiffeq


class Wave(nn.Module):
    """A field that counts its steps by torchdiffeq's callbacks."""

    def __init__(self) -> None:
        super().__init__()
        self.speed, self.steps, self.back = nn.Parameter(torch.tensor(3.0)), 0, 0

    def forward(self, t, y):
        return torch.sin(self.speed * t) * y

    def callback_step(self, t, y, dt):
        self.steps += 1

    def callback_step_adjoint(self, t, y, dt):
        self.back += 1


TIMES = torch.linspace(0.0, 2.0, 5)


def norm(y: torch.Tensor) -> torch.Tensor:
    return y.abs().max()


@pytest.mark.parametrize(
    "given",
    [
        {"method": "rk4"},
        {"method": "rk4", "options": {"step_size": 0.1}},
        {"method": "dopri8", "rtol": 1e-4, "atol": 1e-6},
        {"method": "dopri5", "options": {"norm": norm, "first_step": 0.05}},
        {"method": "scipy_solver", "options": {"solver": "RK45"}},
        {"rtol": torch.tensor(1e-3), "atol": 1e-3},
    ],
)
def test_arguments_reach_the_library(given):
    theirs, ours = Wave(), Wave()
    if given.get("method") == "scipy_solver":
        theirs.requires_grad_(False), ours.requires_grad_(False)
    expected = torchdiffeq.odeint(theirs, torch.ones(2), TIMES, **given)
    assert torch.equal(nodebench.odeint(ours, torch.ones(2), TIMES, **given), expected)
    assert ours.steps == theirs.steps


@pytest.mark.parametrize(
    "given",
    [
        {"adjoint_method": "rk4", "adjoint_options": {"step_size": 0.25}},
        {"adjoint_options": {"norm": "seminorm"}},
        {"adjoint_rtol": 1e-2, "adjoint_atol": 1e-2},
        {"adjoint_params": ()},
        {"method": "rk4", "options": {"step_size": 0.2}},
    ],
)
def test_arguments_of_the_adjoint_reach_the_library(given):
    found = []
    for library in (torchdiffeq, nodebench):
        field, start = Wave(), torch.ones(2, requires_grad=True)
        library.odeint_adjoint(field, start, TIMES, **given)[-1].sum().backward()
        found.append((start.grad.tolist(), field.speed.grad, field.steps, field.back))
    assert found[0] == found[1]
    assert found[1][3] > 0


def test_what_the_library_refuses_is_refused_alike():
    for library in (torchdiffeq, nodebench):
        with pytest.raises(ValueError, match=r"must be an instance of nn\.Module"):
            library.odeint_adjoint(lambda t, y: y, torch.ones(2), TIMES)


def test_dense_output_is_that_of_torchdiffeq_and_counted():
    before = nodebench.evaluations()
    ours, theirs = (
        library.odeint_dense(lambda t, y: -y, torch.ones(2), torch.tensor(0.0), torch.tensor(2.0), method="dopri5")
        for library in (nodebench, torchdiffeq)
    )
    assert torch.equal(ours(torch.tensor(0.7)), theirs(torch.tensor(0.7)))
    assert float(ours(torch.tensor(0.7))[0]) == pytest.approx(math.exp(-0.7), rel=1e-4)
    assert nodebench.evaluations() > before
