from itertools import product

import pytest

from nodebench.errors import BadInput
from nodebench.running.expand import multiply
from nodebench.spec import DataSource, Gradient, Grid
from nodebench.trial.devices import resolve_device
from nodebench.trial.options import options_of


def planned(**grid):
    return multiply(Grid(**({"task": "mnist", "preset": "smoke"} | grid)), DataSource())[0]


def test_a_bare_task_means_its_defaults_and_the_adjoint():
    (trial,) = planned()
    assert (trial.model, trial.solver, trial.gradient) == ("odenet", "dopri5", Gradient.ADJOINT)
    assert (trial.rtol, trial.atol, trial.adjoint_rtol, trial.adjoint_atol) == (1e-3,) * 4
    assert trial.step_size is None
    assert trial.dataset == "mnist-5k"


def test_values_multiply():
    trials = planned(solver=["dopri5", "bosh3"], gradient=["direct", "adjoint"], rtol=[1e-3, 1e-4], seed=[0, 1])
    assert len(trials) == 16
    assert len({trial.id for trial in trials}) == 16


def test_seeds_are_outermost():
    assert [t.seed for t in planned(solver=["dopri5", "rk4"], seed=[0, 1])] == [0, 0, 1, 1]


def test_a_model_without_an_ode_runs_once():
    trials = planned(model=["resnet", "odenet"], solver=["dopri5", "rk4"], gradient=["direct", "adjoint"])
    assert len(trials) == 1 + 4
    assert trials[0].solver is trials[0].gradient is trials[0].rtol is None


def test_a_tolerance_goes_to_the_methods_that_have_one():
    adaptive, fixed = planned(solver=["dopri5", "rk4"], rtol=[1e-5], step_size=[0.5])
    assert (adaptive.rtol, adaptive.step_size) == (1e-5, None)
    assert (fixed.rtol, fixed.step_size) == (None, 0.5)


def test_a_first_step_goes_to_the_adaptive_methods_that_take_one():
    solvers = ["dopri5", "rk4", "scipy:vode-adams", "torchode:tsit5", "diffrax:tsit5"]
    trials = planned(solver=solvers, gradient=["adjoint"], first_step=[0.1, 0.2])
    found = [(trial.solver, trial.first_step) for trial in trials]
    taking = [solver for solver in solvers if solver != "rk4"]
    assert sorted(found, key=str) == sorted([("rk4", None), *product(taking, (0.1, 0.2))], key=str)


def test_without_a_first_step_the_id_is_what_it_was():
    (trial,) = planned()
    assert "first_step" not in trial.model_dump(exclude_none=True)
    (other,) = planned(first_step=[0.1])
    assert (other.first_step, other.id != trial.id) == (0.1, True)


def test_a_first_step_can_be_excluded():
    exclude = [{"reason": "too long", "first_step": 0.2, "solver": "bosh3"}]
    trials = planned(solver=["dopri5", "bosh3"], first_step=[0.1, 0.2], exclude=exclude)
    assert [(t.solver, t.first_step) for t in trials] == [("dopri5", 0.1), ("dopri5", 0.2), ("bosh3", 0.1)]


def test_an_implicit_fixed_method_has_both():
    (trial,) = planned(solver=["implicit_adams"], rtol=[1e-5], step_size=[0.5])
    assert (trial.rtol, trial.step_size) == (1e-5, 0.5)


def test_rknet_is_the_ode_net_by_direct():
    (trial,) = planned(model=["rknet"])
    assert trial.gradient is Gradient.DIRECT


def test_an_alias_makes_no_second_trial():
    assert len(planned(solver=["implicit_adams", "fixed_adams"])) == 1


def test_what_cannot_be_run_is_left_out_with_its_reason():
    grid = Grid(task="mnist", preset="smoke", solver=["dopri5", "scipy:LSODA"], gradient=["direct", "adjoint"])
    trials, left_out = multiply(grid, DataSource())
    assert len(trials) == 3
    assert left_out == ["solver scipy:LSODA has no gradient 'direct': adjoint only"]


def test_an_override_that_changes_nothing_leaves_the_id_as_it_is():
    assert planned(overrides={"epochs": "1"}) == planned()
    (trial,) = planned(overrides={"epochs": "2", "augment": "yes"})
    assert trial.overrides == {"augment": True, "epochs": 2}
    assert options_of(trial).epochs == 2


def test_the_adjoint_tolerance_can_be_set_apart():
    (trial,) = planned(adjoint_rtol=1e-6)
    assert (trial.rtol, trial.adjoint_rtol, trial.adjoint_atol) == (1e-3, 1e-6, 1e-3)


REFUSED = [
    ({"task": "mnis"}, "no task named 'mnis'; did you mean mnist"),
    ({"model": ["resnett"]}, "did you mean resnet"),
    ({"solver": ["dopri"]}, "no solver named 'dopri'"),
    ({"solver": ["scipy:lsoda"]}, "did you mean scipy:LSODA"),
    ({"solver": ["scipy:RK45"], "gradient": ["direct"]}, "scipy:RK45 has no gradient 'direct'"),
    ({"solver": ["rk4"], "rtol": [1e-3]}, "--rtol 0.001: the chosen solver takes fixed steps"),
    ({"solver": ["euler"], "atol": [1e-3]}, "--atol 0.001: the chosen solver takes fixed steps"),
    ({"solver": ["dopri5"], "step_size": [0.1]}, "--step-size 0.1: the chosen solver chooses its own steps"),
    (
        {"solver": ["rk4"], "first_step": [0.1]},
        "--first-step 0.1: the chosen solver takes fixed steps; give --step-size",
    ),
    (
        {"solver": ["torchdyn:dopri5"], "gradient": ["direct"], "first_step": [0.1]},
        "solver torchdyn:dopri5 does not accept a first step: torchdyn always chooses its own",
    ),
    (
        {"solver": ["scipy:RK45", "torchdyn:dopri5"], "gradient": ["direct", "adjoint"], "first_step": [0.1]},
        "solver torchdyn:dopri5 ",
    ),
    ({"solver": ["rk4"], "adjoint_rtol": 1e-3}, "--adjoint-rtol 0.001: no selected trial"),
    ({"gradient": ["direct"], "adjoint_rtol": 1e-3}, "--adjoint-rtol 0.001: no selected trial"),
    ({"model": ["resnet"], "solver": ["dopri5"]}, "--solver dopri5: the chosen model has no ODE"),
    ({"model": ["mlp"], "gradient": ["direct"]}, "--gradient direct: the chosen model has no ODE"),
    ({"model": ["rknet"], "gradient": ["adjoint"]}, "model rknet has no gradient 'adjoint'"),
    ({"model": ["rknet"], "solver": ["scipy:RK45"]}, "model rknet needs gradient direct, which scipy:RK45 lacks"),
    ({"task": "toy/exponential", "gradient": ["adjoint"]}, "has no training, so it has no gradient"),
    ({"task": "toy/exponential", "preset": "paper"}, "has no preset 'paper'"),
    ({"overrides": {"epoch": "3"}}, "did you mean epochs"),
    ({"overrides": {"epochs": "many"}}, "--set epochs=many: epochs: input should be a valid integer"),
    ({"model": ["odenet", "rknet"], "gradient": ["adjoint"]}, "model rknet has no gradient 'adjoint'"),
    ({"overrides": {"decay_epochs": "a,b"}}, "comma-separated whole numbers"),
    ({"device": "gpu"}, "no device named 'gpu'"),
    ({"device": "cuda:99"}, "device 'cuda:99' is not present on this machine"),
    ({"device": "cpu:1"}, "no device named 'cpu:1'"),
    ({"threads": 10_000}, "--threads 10000: this process may use"),
    ({"preset": "paper"}, "needs the full MNIST"),
]


@pytest.mark.parametrize(("grid", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_cannot_be_done_is_refused_with_the_reason(grid, message):
    with pytest.raises(BadInput) as refused:
        planned(**grid)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_tolerance_in_the_tasks_ratio_is_the_same_as_one_given():
    for rtol in ("1e-3", "2e-4", "3e-6", "1e-9"):
        alone = planned(task="toy/spiral", rtol=[rtol])
        given = planned(task="toy/spiral", rtol=[rtol], atol=[f"{float(rtol) / 100:.6g}"])
        assert [t.id for t in alone] == [t.id for t in given]


def test_the_cpu_is_there():
    assert resolve_device("cpu") == "cpu"
