"""The table of the axes of a trial, against the models that it is about."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import typer
from evidence import BASE, DIFFERING

import nodebench
from nodebench.cli.app import app
from nodebench.cli.axis_options import default_of
from nodebench.solvers import StepControl
from nodebench.spec import Grid, Trial
from nodebench.spec.axes import AXES, Part, as_stored, axis_names, choices_of, value_type


def test_every_axis_can_be_asked_for_in_a_grid_and_at_the_terminal():
    options = {option.name for option in typer.main.get_command(app).commands["run"].params}
    assert AXES.keys() <= Grid.model_fields.keys()
    assert AXES.keys() - {"overrides"} <= options


def test_the_types_are_those_of_the_values():
    other = Trial(**(BASE | DIFFERING)).model_dump(mode="json")
    for name in AXES:
        assert value_type(name)(other[name]) == other[name], name


# An axis that does nothing, as a contributor would add it.
PLANTED = """
    theta: Annotated[
        Positive | None, Axis(_METHOD, "theta", "A planted axis.", inapplicable="there is no theta")
    ] = None
"""
FIELD = "    first_step: float | None = None\n"  # of ``StepControl``, after which the planted one stands
EXCLUDING = """
[groups.decay]
task = "toy/stiff-decay"
solver = "rk4"
theta = [0.5, 2.0]
exclude = [{ reason = "too large", theta = 2.0 }]
"""
# Prints exit code and output of commands, and what a run holds.
COMMANDS = """
import contextlib, io, json, sys
import nodebench
from nodebench.cli import main

def command(*arguments):
    sys.argv = ["nodebench", *arguments]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        try:
            main()
        except SystemExit as end:
            return end.code, out.getvalue()

if __name__ == "__main__":
    run = ("run", "toy/stiff-decay", "--solver", "rk4", "--preset", "smoke", "--passes", "training", "--quiet")
    print(json.dumps({
        "help": command("run", "--help"),
        "run": command(*run, "--theta", "0.5,2"),
        "frame": sorted(nodebench.load().frame()["theta"]),
        "plan": command("study", "plan", "excluding.toml"),
        "refused": command("run", "mnist", "--model", "resnet", "--preset", "smoke", "--theta", "0.5"),
    }))
"""


def test_a_solver_is_told_every_axis_of_the_method():
    assert set(axis_names(Part.METHOD, without=("solver",))) <= {field.name for field in fields(StepControl)}


def test_the_reference_has_a_row_for_each_axis():
    page = (Path(__file__).parents[2] / "docs" / "reference" / "records.md").read_text()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if "|" in line]
    assert rows[2:] == [[f"`{name}`", axis.part, axis.help, default_of(name)] for name, axis in AXES.items()]


def test_a_field_that_is_added_to_trial_is_known_to_grids_commands_and_tables(tmp_path):
    """In a copy of the package whose trials have one axis more."""
    shutil.copytree(Path(nodebench.__file__).parent, tmp_path / "nodebench")
    trial = tmp_path / "nodebench" / "spec" / "trial.py"
    before, after = trial.read_text().split("    dtype: Annotated[", 1)
    trial.write_text(f"{before}{PLANTED}    dtype: Annotated[{after}")
    control = tmp_path / "nodebench" / "solvers" / "contract.py"
    control.write_text(control.read_text().replace(FIELD, f"{FIELD}    theta: float | None = None\n"))
    (tmp_path / "excluding.toml").write_text(EXCLUDING)
    (tmp_path / "commands.py").write_text(COMMANDS)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path, "COLUMNS": "200"}
    command = [sys.executable, "commands.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    code, shown = found["run"]
    assert code == 0
    header, *rows = (line for line in shown.splitlines() if "theta" in line or "rk4" in line)
    assert "theta" in header
    place = header.split().index("theta")
    assert [row.split()[place] for row in rows] == ["0.5", "2.0"]
    assert found["frame"] == [0.5, 2.0]
    assert "A planted axis" in found["help"][1]
    code, plan = found["plan"]
    assert code == 0, plan
    assert "left out: too large" in plan
    assert "1 trials" in plan
    code, refusal = found["refused"]
    assert (code, refusal.strip().endswith("--theta 0.5: there is no theta")) == (2, True)


def test_every_axis_but_the_seed_has_a_value_to_test_with():
    assert {*DIFFERING, "seed"} == AXES.keys()
    base = Trial(**BASE)
    assert all(getattr(base, name) != value for name, value in DIFFERING.items())


def test_what_none_stands_for_is_what_a_trial_cannot_hold():
    """A trial stores such a value as None, so that there is one way to write it."""
    unset = {name: axis.unset for name, axis in AXES.items() if axis.unset is not None}
    assert unset == {"batching": "joint", "compile": "eager", "autocast": "none"}
    for name, value in unset.items():
        assert as_stored(name, value) is None
        assert value in choices_of(name)
        with pytest.raises(ValueError, match=name):
            Trial(**(BASE | {name: value}))


def test_what_follows_names_an_axis():
    assert {name: axis.follows for name, axis in AXES.items() if axis.follows} == {
        "atol": "rtol",
        "adjoint_rtol": "rtol",
        "adjoint_atol": "rtol",
    }


@pytest.mark.parametrize("part", Part)
def test_each_part_has_its_axes_and_they_make_the_whole(part):
    assert axis_names(part)
    assert sorted(name for one in Part for name in axis_names(one)) == sorted(AXES)
    assert "seed" not in axis_names(without=("seed",))
