"""Every task at its smallest, under a fixed and an adaptive solver and both gradients."""

from pathlib import Path

import pytest

from nodebench.spec import Pass, Preset, Status
from nodebench.store.run_folder import RunFolder, list_runs
from nodebench.tasks import tasks

TESTS = Path(__file__).parents[1]
OWN = {  # what tasks measure that have nothing of their own
    "field": f'field = "{TESTS / "own_fields.py"}:Plain", state_shape = "8"',
    "problem": f'problem = "{TESTS / "own_problems.py"}:decay"',
    "series": 'time = "t", id = "who"',
}
OWN_DATA = "series"  # reads a file of the user's, and so runs as a study of its own
OURS = sorted(name for name, task in tasks().items() if type(task).__module__.startswith("nodebench."))
# Solver, gradient, passes and tasks. By day each task runs once: half of them
# under dopri5 and the adjoint, the others under rk4 and direct, every other one of these with all passes.
EVERY_PASS, COSTS = [one.value for one in Pass], ["training", "memory"]
FEW = [
    ("dopri5", "adjoint", COSTS, OURS[::2]),
    ("rk4", "direct", COSTS, OURS[1::4]),
    ("rk4", "direct", EVERY_PASS, OURS[3::4]),
]
ALL = [(solver, gradient, EVERY_PASS, OURS) for solver in ("dopri5", "rk4") for gradient in ("direct", "adjoint")]
# Tasks that compare families of fields: by night each of their models, by day the first one as of all others.
FAMILIES = ("toy/annuli", "toy/crossing", "toy/damped-cosine", "toy/hybrid-lotka-volterra")
NOT_DRAWN = {"mnist", "field", "problem", "toy/chirality", "toy/spheres", "toy/stiff-decay"}
SMALLER = {"epochs": 1, "batch_size": 50, "points": 50, "span": 5.0, "train_images": 96}  # than some presets
SMALLEST = {"toy/stiff": {"points": 8}}  # the adjoint begins anew at each point, with tiny steps


def group(name: str, solver: str, gradient: str, smaller: bool) -> str:
    """A group of one trial in a study file."""
    task = tasks()[name]
    preset = task.presets[Preset.SMOKE].model_dump()
    limits = SMALLER | SMALLEST.get(name, {}) if smaller else {}
    options = [f"{key} = {most}" for key, most in limits.items() if preset.get(key, 0) > most]
    options += [OWN[name]] if name in OWN else []
    lines = [f"[groups.{name.replace('/', '-')}]", f'task = "{name}"', f'solver = "{solver}"', "threads = 1"]
    lines += [f"model = {list(tasks()[name].models)}"] if name in FAMILIES and not smaller else []
    lines += [f'gradient = "{gradient}"'] if task.trains else []
    return "\n".join([*lines, f"overrides = {{ {', '.join(options)} }}"]) + "\n"


@pytest.fixture(
    scope="module",
    params=[pytest.param((FEW, True), id="few"), pytest.param((ALL, False), id="all", marks=pytest.mark.slow)],
)
def measured(request, nodebench_in, tmp_path_factory) -> tuple[list[RunFolder], int]:
    """Runs of all tasks, and how often each of them ran."""
    solves, smaller = request.param
    folder = tmp_path_factory.mktemp("every")
    for solver, gradient, passes, chosen in solves:
        others, own = [name for name in chosen if name != OWN_DATA], [name for name in chosen if name == OWN_DATA]
        for names, data in ((others, []), (own, ["--data", str(TESTS / "own_series.csv")])):
            if not names:
                continue
            study = f"{solver}-{gradient}-{names[0]}.toml"
            groups = [group(name, solver, gradient, smaller) for name in names]
            (folder / study).write_text("\n".join(["timing = false", f"passes = {passes}", *groups]))
            code, out, err = nodebench_in(folder, "study", "run", study, "--preset", "smoke", "--quiet", *data)
            assert code == 0, err + out[-3000:]
    return list_runs(folder / "results"), sum(OURS[0] in chosen for *_, chosen in solves)


@pytest.mark.parametrize("name", OURS)
def test_it_ends_well(measured, name):
    runs, times = measured
    records = [(run, record) for run in runs for record in run.records() if record.trial.task == name]
    models = {record.trial.model for _, record in records}
    assert len(records) == len(models) * times
    assert models in ({next(iter(tasks()[name].models))}, set(tasks()[name].models))
    for run, record in records:
        assert record.status is Status.OK
        assert record.passes_agree is True
        assert record.metrics[tasks()[name].headlines[0]] is not None
        if tasks()[name].trains and name not in NOT_DRAWN:
            assert run.snapshots_path(record).is_file()
        if tasks()[name].datasets:
            assert len(record.data.sha256) == 64
