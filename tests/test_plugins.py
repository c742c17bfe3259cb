"""Plug-ins that are broken or take a name in use, as real packages read by real commands."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from evidence import evidence

from nodebench.errors import BadInput
from nodebench.plugins import PluginWarning
from nodebench.solvers import SolverAdapter, registry
from nodebench.spec import Gradient, Grid, Study
from nodebench.store.run_folder import RunFolder
from nodebench.tasks import find_task, source_of_task, tasks

CODE = """
import math

from pydantic import field_validator

from nodebench.solvers import Method, SolverAdapter
from nodebench.spec import Gradient
from nodebench.spec import Preset
from nodebench.tasks import DatasetInfo
from nodebench.tasks.exponential import Exponential, ExponentialOptions


class Mnist(Exponential):
    name = "mnist"


class NoHeadlines(Exponential):
    name = "toy/no-headlines"
    headlines = None


class Good(Exponential):
    name = "toy/good"


class ReproductionOutcome(Exponential):
    name = "toy/good"


class NoData(Exponential):
    name = "toy/no-data"
    datasets = {"a": DatasetInfo("a set", "the tests"), "b": DatasetInfo("a set", "the tests")}

    def dataset(self, wanted, source, preset):
        print("chatter")
        return math.sqrt(-1) if wanted == "a" else 1


class Unchecked(ExponentialOptions):
    @field_validator("solves")
    @classmethod
    def limit(cls, value):
        return {1: value}[value]


class NoOptions(Exponential):
    name = "toy/no-options"
    options = Unchecked
    presets = {Preset.SMOKE: Unchecked(solves=1)}


class Raising(SolverAdapter):
    backend = "raising"
    source = "the tests"
    gradients = frozenset({Gradient.DIRECT})

    def methods(self):
        raise SystemExit("\\x1b[31mno methods")

    def solve(self, field, y0, times, control):
        return y0


class Torchdiffeq(Raising):
    backend = "torchdiffeq"


class Euler(Raising):
    backend = "mine"

    def methods(self):
        return {"euler": Method("Euler", order=1, adaptive=False)}

    def solve(self, field, y0, times, control):
        import torch

        return torch.stack([y0, y0 + (times[1] - times[0]) * field(times[0], y0)])

    def code(self, control):
        return control.nothing
"""
POINTS = """
[nodebench.tasks]
again = odd_parts:ReproductionOutcome
exits = odd_exit:Task
good = odd_parts:Good
headlines = odd_parts:NoHeadlines
mnist = odd_parts:Mnist
no-data = odd_parts:NoData
no-options = odd_parts:NoOptions

[nodebench.solvers]
bare = odd_parts:Torchdiffeq
gone = odd_gone:Adapter
mine = odd_parts:Euler
raising = odd_parts:Raising
"""
EULER = ["run", "--preset", "smoke", "--threads", "1", "--json", "--task"]
LINES = {
    "first": [*EULER, "toy/exponential", "--solver", "euler", "--set", "solves=1"],
    "list": ["list", "solvers"],
    "raising": ["run", "--task", "toy/exponential", "--solver", "raising:any"],
    "good": [*EULER, "toy/good", "--solver", "mine:euler", "--set", "solves=1"],
    "data a": [*EULER, "toy/no-data", "--dataset", "a", "--solver", "euler"],
    "data b": [*EULER, "toy/no-data", "--dataset", "b", "--solver", "euler"],
    "options": [*EULER, "toy/no-options", "--set", "solves=2", "--solver", "euler"],
    "code": ["recommend", "--task", "toy/spiral", "--machine", "a processor", "--results", "kept"],
    "preset": ["recommend", "--task", "toy/no-options", "--set", "solves=1"],
}
# Prints exit code, output and errors of commands.
COMMANDS = """
import contextlib, io, json, sys
from nodebench.cli import main

def said(line):
    sys.argv, out, err = ["nodebench", *line], io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            return end.code, out.getvalue(), err.getvalue()

print(json.dumps([said(line) for line in json.loads(sys.argv[1])]))
"""


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def odd(tmp_path_factory) -> Path:
    """A checkout with a package of a third party in it."""
    folder = tmp_path_factory.mktemp("odd")
    info = folder / "nodebench_odd-2.5.dist-info"
    info.mkdir()
    (folder / "odd_parts.py").write_text(CODE)
    (folder / "odd_exit.py").write_text("import argparse\nprint('chatter')\nargparse.ArgumentParser().error('usage')\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nodebench-odd\nVersion: 2.5\n")
    (info / "entry_points.txt").write_text(POINTS)
    git(folder, "init")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "first")
    return folder


@pytest.fixture(scope="module")
def said(odd, tmp_path_factory) -> dict[str, subprocess.CompletedProcess[str]]:
    """What commands say in a process that finds the package.

    It is one process for all of them, since its start takes longer than most. What is said of a plug-in when it is
    loaded is said once, by the first command.
    """
    folder = tmp_path_factory.mktemp("said")
    run = RunFolder.create(folder / "kept", Study(name="toys", groups={"a": Grid(task="toy/spiral")}), {})
    for seed in range(2):
        run.append(evidence(seed, solver="mine:euler", costs={"step_seconds": 1.0}))
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(odd), os.environ["PYTHONPATH"]]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    line = [sys.executable, "-c", COMMANDS, json.dumps(list(LINES.values()))]
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ended = json.loads(done.stdout)
    return {name: subprocess.CompletedProcess(LINES[name], *one) for name, one in zip(LINES, ended, strict=True)}


def complaints(done: subprocess.CompletedProcess[str], word: str) -> list[str]:
    return [line for line in done.stderr.splitlines() if word in line]


def test_broken_plugins_disable_only_themselves_and_are_reported_once(said):
    done = said["first"]
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)  # one line: what a plug-in prints is not among it
    assert (record["status"], record["environment"]["plugins"]) == ("ok", {})
    for word, why in {
        "odd_parts:NoHeadlines": "its attribute 'headlines'",
        "odd_exit:Task": "SystemExit: 2",
        "odd_gone:Adapter": "ModuleNotFoundError",
    }.items():
        (line,) = complaints(done, word)
        assert line.startswith(f"nodebench: warning: plug-in {word} of package nodebench-odd 2.5 is not used: ")
        assert why in line
    assert "Traceback" not in done.stderr
    (taken,) = complaints(done, "odd_parts:Mnist")
    assert taken.endswith("package nodebench-odd 2.5 is not used: package nodebench has registered the name 'mnist'")
    (again,) = complaints(done, "'toy/good'")  # the first entry point of a package keeps the name
    assert "odd_parts:Good of package nodebench-odd 2.5 is not used: package nodebench-odd 2.5 has" in again
    (bare,) = complaints(done, "'torchdiffeq'")
    assert "package nodebench has registered the name" in bare
    for name in LINES.keys() - {"first"}:
        assert complaints(said[name], "is not used") == [], name


def test_an_adapter_that_cannot_list_its_methods_leaves_the_others(said):
    done = said["list"]
    assert done.returncode == 0, done.stderr
    assert "dopri5" in done.stdout
    assert "mine:euler" in done.stdout
    (line,) = complaints(done, "methods()")
    assert line == (
        "nodebench: warning: solvers 'raising' of package nodebench-odd 2.5: methods() failed: "
        "SystemExit: ?[31mno methods"
    )
    refused = said["raising"]
    assert refused.returncode == 2
    assert line.replace("warning: ", "") in refused.stderr.splitlines()
    assert "Traceback" not in refused.stderr


def test_a_record_names_the_package_version_and_commit_of_its_plugins(said, odd):
    done = said["good"]
    assert done.returncode == 0, done.stderr
    commit = git(odd, "rev-parse", "HEAD")
    record = json.loads(done.stdout)
    assert record["status"] == "ok"
    plugins = record["environment"]["plugins"]
    assert plugins == {"nodebench-odd": {"version": "2.5", "commit": commit, "identity": f"git:{commit}"}}


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("data a", "'toy/no-data' {}: dataset() failed: ValueError: math domain error"),
        ("data b", "'toy/no-data' {}: dataset() failed: TypeError: it returned int, not"),
        ("options", "'toy/no-options' {}: the check of its options failed: KeyError: 2"),
    ],
)
def test_a_task_that_fails_in_the_process_of_a_command_is_one_line(said, command, words):
    done = said[command]
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    (line,) = complaints(done, "failed: ")
    assert line.startswith(f"nodebench: task {words.format('of package nodebench-odd 2.5')}")


def test_an_adapter_that_cannot_write_its_code_is_one_line(said):
    done = said["code"]
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    (line,) = complaints(done, "code() failed")
    assert line.startswith("nodebench: solvers 'mine' of package nodebench-odd 2.5: code() failed: AttributeError: ")


def test_a_preset_that_a_task_lacks_is_one_line(said):
    done = said["preset"]
    assert done.returncode == 2
    assert "task toy/no-options has no preset 'quick'. Allowed: smoke" in done.stderr
    assert "Traceback" not in done.stderr


def test_our_own_tasks_come_from_no_plugin_and_those_of_the_tests_do():
    assert source_of_task("mnist") is None
    assert "mnist" in tasks()
    assert str(source_of_task("test/faults")) == "nodebench-faults 1.0"
    assert find_task("test/faults").name == "test/faults"


class _List(SolverAdapter):
    backend = "list"
    source = "the tests"
    gradients = frozenset({Gradient.DIRECT})

    def methods(self):
        return ["euler"]

    def solve(self, field, y0, times, control):
        return y0


def test_methods_that_are_no_mapping_are_refused(monkeypatch):
    adapter = _List()
    monkeypatch.setattr(registry, "adapters", lambda: {"list": adapter})
    monkeypatch.setattr(registry, "source_of_solver", lambda name: None)
    with pytest.raises(BadInput, match=r"solvers 'list': methods\(\) failed: TypeError: it returned no mapping"):
        registry.methods_of(adapter)
    with pytest.warns(PluginWarning, match="no mapping"):
        assert registry.solver_names() == {}


@pytest.mark.parametrize(
    ("changes", "attribute"),
    [
        ({"name": ""}, "name"),
        ({"name": "a b"}, "name"),
        ({"models": {}}, "models"),
        ({"models": {"a": "one"}}, "models.a"),
        ({"presets": {"quick": 1}}, "presets.quick"),
        ({"rtol": 0.0}, "rtol"),
        ({"reference": None}, "reference"),
        ({"headlines": "error"}, "headlines"),
    ],
)
def test_a_task_with_a_wrong_attribute_is_refused_by_its_name(changes, attribute):
    from nodebench.tasks.exponential import Exponential
    from nodebench.tasks.registry import _checked_name

    wrong = type("Wrong", (Exponential,), changes)
    with pytest.raises(TypeError, match=f"its attribute '{attribute}'"):
        _checked_name(wrong())
    assert _checked_name(Exponential()) == Exponential.name


@pytest.mark.parametrize(
    ("changes", "attribute"),
    [({"backend": "a:b"}, "backend"), ({"batchings": ()}, "batchings"), ({"gradients": {"steepest"}}, "gradients.0")],
)
def test_an_adapter_with_a_wrong_attribute_is_refused_by_its_name(changes, attribute):
    wrong = type("Wrong", (_List,), changes)
    with pytest.raises(TypeError, match=f"its attribute '{attribute}'"):
        registry._checked_backend(wrong())
    with pytest.raises(TypeError, match="is not a subclass"):
        registry._checked_backend(object())
