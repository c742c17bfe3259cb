"""``nodebench recommend``, typed by someone with a field of their own."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from evidence import evidence

from nodebench.analysis.recommend import Limits, Present, problems
from nodebench.analysis.recommend import recommend as recommend_from
from nodebench.api.recommend_records import Asked, study_of
from nodebench.spec import Grid, Preset, Study
from nodebench.store.run_folder import RunFolder
from nodebench.tasks import find_task

pytestmark = pytest.mark.usefixtures("reruns")

FIELD = """
import torch
from torch import nn


class Drift(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))

    def forward(self, t, y):
        return self.net(torch.cat([y, torch.ones_like(y[:, :1]) * t], 1))


class Narrow(Drift):
    def forward(self, t, y):
        return super().forward(t, y)[:, :2]


class Named(nn.Module):
    def __init__(self, width):
        super().__init__()


def number():
    return 3
"""


@pytest.fixture
def field(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(FIELD)
    monkeypatch.chdir(tmp_path)


OWN = ["recommend", "--field", "mine:Drift", "--state-shape", "3"]


def kept_run(folder, name, records):
    """A run as a command would have left it, under a name."""
    run = RunFolder.create(folder, Study(name="toys", groups={"a": Grid(task="toy/spiral")}), {})
    run = RunFolder(run.folder.rename(folder / name))
    for record in records:
        run.append(record)
    return run


def test_a_field_of_ones_own_is_measured_and_the_answer_found_again(nodebench, field, tmp_path):
    kept_run(tmp_path / "results", "zzz", [])  # begun by somebody else: it sorts after ours
    measure = [
        "--measure",
        "--solver",
        "rk4",
        "--steps",
        "16",
        "--seeds",
        "1",
        "--error",
        "1e-4",
        "--set",
        "steps_per_epoch=4",
        "--threads",
        "1",
    ]
    code, out, err = nodebench(*OWN, *measure)
    assert code == 0, err
    assert "field, model own, cpu, float32, 1 thread, " in out
    assert "field=mine:Drift" in out
    assert "-recommend: " in out.partition("Based on ")[2]
    assert "\nUse rk4 h=0.0625 " in out
    assert "\nstates = " in out  # the code of the fastest gradient, whichever it is on this machine
    chosen = next(line for line in out.splitlines() if line.startswith("Use "))
    code, again, err = nodebench(*OWN, "--error", "1e-4")
    assert code == 0, err
    assert chosen in again
    code, none, _ = nodebench(*OWN, "--error", "1e-4", "--max-memory", "1kB")
    assert code == 0
    assert "No candidate that was measured meets the limits; the smallest error is" in none
    assert "the smallest memory is" in none
    assert "is above the limit of 1 kB" in none


@pytest.mark.slow
def test_ctrl_c_while_measuring_recommends_nothing(tmp_path):
    command = ["recommend", "--task", "toy/spiral", "--measure", "--solver", "rk4", "--threads", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "nodebench", *command],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for line in process.stderr:
        if line.startswith("[1/"):
            break
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "--resume" in err
    assert "Traceback" not in err
    assert out == ""


def test_trials_whose_time_was_spoiled_run_again(nodebench, tmp_path):
    measure = ["--measure", "--solver", "rk4", "--steps", "4", "--seeds", "1", "--threads", "1"]
    drift = ["--set", "fault=drift", "--set", f"marker={tmp_path / 'first'}"]
    code, out, err = nodebench("recommend", "--task", "test/faults", *measure, *drift)
    assert code == 0, err
    (run,) = (tmp_path / "results").iterdir()
    assert max(record.place.attempts for record in RunFolder(run).records()) > 1
    assert f"Based on {len(RunFolder(run).records())} records (n = 1) of {run.name}: " in out
    code, out, _ = nodebench("results", "verify")
    assert code == 0, out


COSTS = {"gradient_error": 1e-4, "step_seconds": 1.0, "tensor_peak_bytes": 1e6}


def spirals(**changes):
    """Three replicates of two gradients."""
    return [
        evidence(seed, gradient=gradient, costs=COSTS, options={}, **changes)
        for seed in range(3)
        for gradient in ("direct", "adjoint")
    ]


def test_records_of_another_machine_are_used_only_when_it_is_named(nodebench, tmp_path):
    kept_run(tmp_path / "results", "theirs", spirals())
    recommend = ["recommend", "--task", "toy/spiral"]
    code, out, err = nodebench(*recommend)
    assert (code, out) == (2, "")
    assert "no record of this problem is from this machine" in err
    assert "Use --machine to select another machine: 'a processor'. Or measure it here: nodebench" in err
    code, out, err = nodebench(*recommend, "--machine", "A proc")
    assert code == 0, err
    assert "Based on 6 records (n = 3) of theirs: a processor, preset quick, the task's default options." in out
    code, _, err = nodebench(*recommend, "--machine", "nobody's")
    assert code == 2
    assert "--machine 'nobody's': no machine matches. Known: 'a processor'" in err


def test_an_answer_names_options_that_are_not_the_defaults(nodebench, tmp_path):
    kept_run(tmp_path / "results", "odd", spirals(overrides={"noise": 0.5}))
    recommend = ["recommend", "--task", "toy/spiral", "--machine", "a processor"]
    _, out, _ = nodebench(*recommend)
    assert "of odd: a processor, preset quick, options that are not the task's defaults (noise=0.5)." in out
    kept_run(tmp_path / "results", "usual", spirals()[:2])  # fewer, and of the task's own options
    _, out, _ = nodebench(*recommend)
    assert "Based on 2 records (n = 1) of usual: a processor, preset quick, the task's default options." in out


def test_an_answer_names_options_of_the_preset_that_have_changed_since(nodebench, tmp_path):
    present = find_task("toy/spiral").presets[Preset.QUICK].model_dump(mode="json")
    records = [one.model_copy(update={"options": present | {"noise": 0.25}}) for one in spirals()]
    kept_run(tmp_path / "results", "before", records)
    _, out, _ = nodebench("recommend", "--task", "toy/spiral", "--machine", "a processor")
    told = f"the task's defaults (noise=0.25 where the preset now has {present['noise']})."
    assert f"of before: a processor, preset quick, options that are not {told}" in out


def test_what_could_not_be_timed_is_counted(nodebench, tmp_path):
    busy = [one.model_copy(update={"drifted": True}) if one.trial.gradient == "direct" else one for one in spirals()]
    kept_run(tmp_path / "results", "busy", busy)
    code, out, _ = nodebench("recommend", "--task", "toy/spiral", "--machine", "a processor", "--error", "1e-3")
    assert code == 0
    assert "1 of 2 candidates could not be timed: the machine was busy; run --measure again when it is idle." in out
    assert "dopri5 1e-3/1e-5 direct: its time was not measured: the machine's speed changed during the trial" in out
    assert "outside the limits" not in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["recommend", "--task", "mnist", "--measure", "--machine", "x"], "use only one of them"),
        (["recommend"], "no problem given: use --task, or --field with --state-shape"),
        (["recommend", "--task", "mnits"], "did you mean mnist"),
        (["recommend", "--task", "mnist"], "Measure it: nodebench recommend --task mnist --measure"),
        (["recommend", "--field", "mine:Drift"], "--field needs --state-shape"),
        (["recommend", "--task", "mnist", "--field", "mine:Drift", "--state-shape", "3"], "leave out --task mnist"),
        ([*OWN, "--error", "-1"], "a positive number"),
        ([*OWN, "--max-memory", "much"], "--max-memory 'much': not a size"),
        ([*OWN, "--solver", "rk4"], "--solver requires --measure"),
        ([*OWN, "--measure", "--seeds", "0"], "at least 1"),
        ([*OWN, "--measure", "--steps", "0"], "--steps 0: at least 1"),
        ([*OWN, "--measure", "--steps", "few"], "--steps 'few': not a non-negative integer"),
        ([*OWN, "--steps", "4"], "--steps requires --measure"),
        (["recommend", "--task", "series"], "add --data FILE.csv"),
        ([*OWN, "--data", "mine.py"], "leave out --data"),
        ([*OWN, "--measure", "--threads", "0"], "at least 1"),
        ([*OWN, "--measure", "--solver", "dopry5"], "did you mean dopri5"),
        (
            ["recommend", "--field", "mine:Drif", "--state-shape", "3", "--measure"],
            "mine has no 'Drif'; did you mean Drift?",
        ),
        (["recommend", "--field", "yours:Drift", "--state-shape", "3", "--measure"], "No module named 'yours'"),
        (
            ["recommend", "--field", "mine.Drift", "--state-shape", "3", "--measure"],
            "write it as file.py:name or module:name",
        ),
        (["recommend", "--field", "mine:Narrow", "--state-shape", "3", "--measure"], "the shapes must be equal"),
        (["recommend", "--field", "mine:Named", "--state-shape", "3", "--measure"], "missing 1 required"),
        (["recommend", "--field", "mine:number", "--state-shape", "3", "--measure"], "not a torch.nn.Module"),
        (["recommend", "--field", "mine:Drift", "--state-shape", "x", "--measure"], "for example 64 or 3,28,28"),
        (["recommend", "--field", "mine:Drift", "--state-shape", "5", "--measure"], "called with states (32, 5)"),
    ],
)
def test_bad_input_ends_in_one_line(nodebench, field, arguments, words):
    code, out, err = nodebench(*arguments)
    assert code == 2
    assert words in err
    assert err.strip().count("\n") == 0
    assert "Traceback" not in err + out


PROBLEM = """
import torch
import nodebench

decay = nodebench.Problem(field=lambda t, y: -y, y0=torch.ones(4, 2), t=torch.linspace(0, 1, 5))
"""


def test_a_problem_in_a_file_is_measured_and_the_answer_found_again_until_it_is_edited(nodebench, tmp_path):
    (tmp_path / "mine.py").write_text(PROBLEM)
    ask = ["recommend", "--task", "mine.py:decay", "--error", "1e-2"]
    code, out, err = nodebench(*ask, "--measure", "--solver", "rk4", "--steps", "4", "--seeds", "1", "--threads", "1")
    assert code == 0, err
    assert "problem=mine.py:decay" in out.replace("\n", "")
    code, again, err = nodebench(*ask)
    assert code == 0, err
    choice = [line for line in out.splitlines() if line.startswith("Use rk4")]
    assert choice
    assert choice == [line for line in again.splitlines() if line.startswith("Use ")]
    (tmp_path / "mine.py").write_text(PROBLEM.replace("-y", "-2 * y"))
    code, _, err = nodebench(*ask)
    assert code == 2
    assert "different code" in err
    assert "Measure it: nodebench recommend --task problem --set problem=mine.py:decay --measure" in err


def test_fixed_steps_are_parts_of_the_time_that_a_solve_takes(tmp_path):
    """The time is known from a solve of the probe batch, also where a user's code alone knows it."""
    (tmp_path / "mine.py").write_text(PROBLEM.replace("linspace(0, 1, 5)", "linspace(1, 7, 5)"))  # 4 parts
    asked = Asked("problem", options={"problem": [f"{tmp_path / 'mine.py'}:decay"]})
    groups = study_of(asked, ["rk4", "euler"], seeds=1).groups
    assert groups["rk4"].step_size == [6 / steps for steps in (4, 8, 16, 32)]
    assert groups["euler"].step_size == [6 / 32, 6 / 128]
    assert groups["rk4-outputs"].step_size == []  # one step from output to output
    (rk4,) = study_of(replace(asked, steps=[5]), ["rk4"], seeds=1).groups.values()
    assert rk4.step_size == [6 / 5]
    # Many outputs tell that the time is long: twice as many steps, at most eight times as many.
    for outputs, solver, steps in ((8, "euler", (64, 256)), (500, "rk4", (32, 64, 128, 256))):
        file = tmp_path / f"mine_{outputs}.py"  # of equal size and age two files would share their bytecode
        file.write_text(PROBLEM.replace("linspace(0, 1, 5)", f"linspace(1, 7, {outputs})"))
        other = Asked("problem", options={"problem": [f"{file}:decay"]})
        assert study_of(other, [solver], seeds=1).groups[solver].step_size == [6 / count for count in steps]


def test_a_fixed_step_solver_wins_where_its_steps_suffice():
    """Of equal error the solver of fewer evaluations is faster; several numbers of steps let it be found."""
    found = [
        evidence(0, solver=solver, gradient="direct", options={}, costs=COSTS | costs, **step)
        for solver, step, costs in (
            ("dopri5", {"rtol": 1e-3, "atol": 1e-3}, {"step_seconds": 1.0, "gradient_error": 1e-3}),
            ("rk4", {"rtol": None, "atol": None, "step_size": 0.25}, {"step_seconds": 0.5, "gradient_error": 5e-2}),
            ("rk4", {"rtol": None, "atol": None, "step_size": 0.125}, {"step_seconds": 0.8, "gradient_error": 2e-3}),
        )
    ]
    (problem, *_) = problems(found, {}, Present())
    answer = recommend_from(problem, Limits(error=1e-2))
    assert answer.choice is not None
    assert answer.choice.name == "rk4 h=0.125 direct"


def test_records_of_another_file_of_series_do_not_answer(nodebench, tmp_path, monkeypatch):
    monkeypatch.setenv("NODEBENCH_ATTEMPTS", "1")
    for name, shift in (("a.csv", 0.0), ("b.csv", 1.0)):
        rows = [f"{series},{i / 5},{shift + i * (series + 1) / 10}" for series in range(4) for i in range(6)]
        (tmp_path / name).write_text("\n".join(["id,time,x", *rows]) + "\n")
    ask = ["recommend", "--task", "series", "--set", "id=id"]
    sizes = ["--set", "hidden=4", "--set", "latent=2", "--set", "steps_per_epoch=1", "--set", "batch_size=4"]
    measure = ["--measure", "--solver", "euler", "--steps", "4", "--seeds", "1", "--threads", "1"]
    code, out, err = nodebench(*ask, *sizes, "--data", "a.csv", *measure)
    assert code == 0, err
    assert "euler h=0.25 direct" in out
    code, again, err = nodebench(*ask, *sizes, "--data", "a.csv")
    assert code == 0, err
    assert "euler h=0.25 direct" in again
    code, _, err = nodebench(*ask, *sizes, "--data", "b.csv")
    assert code == 2
    assert "Measure it: nodebench recommend --task series --data b.csv --set id=id" in err
