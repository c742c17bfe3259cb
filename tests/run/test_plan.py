"""Planning a study: the product less the exclusions, in an order that is fair and always the same."""

import random
import statistics
import sys
import tracemalloc
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodebench.errors import BadInput
from nodebench.running.plan import plan
from nodebench.solvers import solver_names
from nodebench.spec import DataSource, Exclusion, Grid, Preset, Study, load_study, shipped_studies

SOLVERS = ["rk4", "euler", "midpoint", "heun2"]
GRADIENTS = ["direct", "adjoint"]
MODELS = ["small", "deep", "small-t"]


def grid(**changes) -> Grid:
    return Grid(**({"task": "toy/spiral", "preset": "smoke", "threads": 1} | changes))


def some(values):
    return st.lists(st.sampled_from(values), min_size=1, unique=True)


@settings(deadline=None)
@given(
    some(SOLVERS),
    some(GRADIENTS),
    some(MODELS),
    some([0.0, 0.1]),
    some([0, 1, 2]),
    st.lists(st.tuples(some(SOLVERS), some(GRADIENTS), some([0.0, 0.1])), max_size=2),
)
def test_the_trials_are_the_product_less_the_exclusions(solvers, gradients, models, noises, seeds, excluded):
    exclude = [Exclusion(reason="planted", solver=s, gradient=g, overrides={"noise": n}) for s, g, n in excluded]
    axes = {"solver": solvers, "gradient": gradients, "model": models, "seed": seeds}
    study = Study(groups={"one": grid(**axes, overrides={"noise": noises}, exclude=exclude)})
    found = {(t.solver, t.gradient, t.model, t.overrides.get("noise", 0.0), t.seed) for t in plan(study).trials}
    expected = {
        (s, g, m, n, seed)
        for s, g, m, n, seed in product(solvers, gradients, models, noises, seeds)
        if not any(s in ss and g in gs and n in ns for ss, gs, ns in excluded)
    }
    assert found == expected
    assert len(plan(study).trials) == len(expected)


def test_ids_do_not_depend_on_the_order_of_the_file():
    def ids(shuffle: bool):
        axes = [("solver", SOLVERS), ("gradient", GRADIENTS), ("model", MODELS), ("seed", [0, 1])]
        if shuffle:
            axes = [(name, random.sample(values, len(values))) for name, values in random.sample(axes, len(axes))]
        groups = {"one": grid(**dict(axes)), "two": grid(solver=["dopri5"])}
        return {t.id for t in plan(Study(groups=dict(random.sample(list(groups.items()), 2)))).trials}

    assert all(ids(shuffle=True) == ids(shuffle=False) for _ in range(5))


def test_the_order_is_random_within_a_seed_and_always_the_same():
    study = Study(groups={"one": grid(solver=SOLVERS, gradient=GRADIENTS, model=MODELS, seed=[5, 2])})
    one, again = plan(study), plan(study)
    assert one == again
    assert [t.seed for t in one.trials] == [5] * 24 + [2] * 24
    first, second = ([(t.solver, t.gradient, t.model) for t in part] for part in (one.trials[:24], one.trials[24:]))
    assert sorted(first) == sorted(second)
    assert first != second
    assert [p.place for p in one.planned] != sorted(p.place for p in one.planned)
    other = plan(study.model_copy(update={"order": 1}))
    assert {t.id for t in other.trials} == {t.id for t in one.trials}
    assert other.trials != one.trials


def test_a_drifting_machine_changes_no_comparisons_sign():
    """Planted: each trial is slower than the one before, threefold over the sweep; ``rk4`` truly costs 1.1 × ``heun2``.

    One arm after the other, whichever is last would lose.
    """

    def ratio(trials):
        seconds = {
            (t.solver, t.seed): (1.1 if t.solver == "rk4" else 1.0) * (1 + 2 * position / len(trials))
            for position, t in enumerate(trials)
        }
        return statistics.median(seconds["rk4", s] / seconds["heun2", s] for s in range(20))

    one = grid(solver=["rk4", "heun2"], seed=list(range(20)))
    for order in range(20):
        assert ratio(plan(Study(order=order, groups={"one": one})).trials) > 1
    assert ratio(sorted(plan(Study(groups={"one": one})).trials, key=lambda t: t.solver == "heun2")) < 1


def test_a_trial_of_two_groups_runs_once_and_knows_both():
    study = Study(groups={"one": grid(solver=["rk4", "euler"]), "two": grid(solver=["rk4"])})
    groups = {p.trial.solver: p.groups for p in plan(study).planned}
    assert groups == {"rk4": ("one", "two"), "euler": ("one",)}


def test_what_is_left_out_is_told_once():
    exclude = [Exclusion(reason="too slow", solver="rk4")]
    study = Study(groups={"one": grid(solver=["rk4", "euler"], seed=[0, 1], exclude=exclude)})
    assert plan(study).left_out == ["too slow"]


@pytest.mark.parametrize(
    ("exclusion", "message"),
    [
        ({"solver": "rk5"}, "no solver named 'rk5'; did you mean rk4"),
        ({"model": "smal"}, "did you mean small"),
        ({"overrides": {"noize": 1}}, "did you mean noise"),
        ({}, "names no axis"),
    ],
)
def test_a_wrong_exclusion_is_refused_with_its_group(exclusion, message):
    exclude = [Exclusion(reason="planted", **exclusion)]
    with pytest.raises(BadInput, match=message) as refused:
        plan(Study(name="mine", groups={"one": grid(exclude=exclude)}))
    assert str(refused.value).startswith("group one: ")


def test_the_data_folder_of_a_study_is_for_the_tasks_that_read_one(shared_data):
    groups = {"toy": grid(), "digits": Grid(task="mnist", preset="smoke", threads=1)}
    study = Study(name="mine", groups=groups, data=DataSource(folder=shared_data))
    assert {t.task: t.dataset for t in plan(study).trials} == {"toy/spiral": None, "mnist": "mnist-60k"}
    with pytest.raises(BadInput, match="makes its own data"):
        plan(Study(groups={"typed": grid()}, data=DataSource(folder=shared_data)))


@pytest.mark.parametrize("preset", [Preset.SMOKE, Preset.QUICK])
@pytest.mark.parametrize("name", shipped_studies())
def test_a_shipped_study_can_be_planned(name, preset, request):
    study = load_study(name, preset)
    if name in ("mnist-full", "ecg-mitdb"):
        source = DataSource(folder=request.getfixturevalue("shared_data"))
        study = study.model_copy(update={"data": source})
    planned = plan(study)
    assert planned.planned
    assert {group for one in planned.planned for group in one.groups} == set(study.groups)


def test_work_precision_covers_every_solver_of_torchdiffeq_and_scipy():
    study = load_study("solvers", Preset.QUICK)
    asked = {solver for grid in study.groups.values() for solver in grid.solver}
    ours = {name for name, (adapter, _) in solver_names().items() if adapter.backend in {"torchdiffeq", "scipy"}}
    assert asked == ours - {"fixed_adams"}  # an alias


MANY = 10**3


@pytest.mark.parametrize(
    "axes",
    [
        {"seed": list(range(MANY)), "rtol": [1 / n for n in range(1, MANY + 2)]},
        {"overrides": {"noise": list(range(MANY)), "epochs": list(range(1, MANY)), "points": list(range(MANY))}},
    ],
    ids=["seeds and tolerances", "options"],
)
def test_more_than_a_million_trials_are_refused_before_any_is_made(axes):
    tracemalloc.start()
    with pytest.raises(BadInput, match="a study has at most 1,000,000 trials"):
        plan(Study(groups={"one": grid(**axes)}))
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()


def test_groups_count_together():
    seeds = list(range(400_000))
    groups = {str(n): grid(seed=seeds, solver=["rk4"], step_size=[0.1 / (n + 1)]) for n in range(3)}
    with pytest.raises(BadInput, match="group 2: 1,200,000 combinations"):
        plan(Study(name="mine", groups=groups))


def test_a_further_seed_costs_little():
    """Calls of functions, which do not depend on the machine: hashing each trial three times took 90 a trial."""
    study = Study(groups={"one": grid(solver=["rk4", "euler"], seed=list(range(1000)))})
    plan(study)
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        planned = plan(study)
    finally:
        sys.setprofile(None)
    assert len(planned.planned) == len({trial.id for trial in planned.trials}) == 2000
    assert calls < 60 * 2000
