"""What the shell completes."""

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from nodebench.cli import completion
from nodebench.cli.app import _ORDER, app
from nodebench.spec import Grid, Study
from nodebench.store.run_folder import RunFolder
from nodebench.tasks import tasks


@pytest.fixture
def runs(tmp_path):
    run = RunFolder.create(tmp_path / "results", Study(groups={"a": Grid(task="toy/spiral")}), {})
    run.folder.rename(tmp_path / "results" / "alpha")


def asked(*words: str) -> dict[str, str]:
    """What bash tells a command that completes the last of some words."""
    typed = " ".join(("nodebench", *words))
    return {"_NODEBENCH_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(words))}


def completed(folder, *words: str) -> list[str]:
    """As bash asks for the last of some words."""
    command = [sys.executable, "-c", "from nodebench.cli.app import app; app(prog_name='nodebench')"]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | asked(*words), capture_output=True, text=True, check=False
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "found"), [(["run", "--task", "mn"], ["mnist"]), (["report", "--run", "a"], ["alpha"])]
)
def test_a_shell_is_told_how_the_last_word_goes_on(runs, tmp_path, words, found):
    assert completed(tmp_path, *words) == found


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["run", "--solver", "dopri5,bosh"], {"dopri5,bosh3"}),
        (["run", "--gradient", "direct,adjoint-"], {"direct,adjoint-seminorm"}),
        (["run", "--batching", "e"], {"each"}),
        (["run", "--preset", "sm"], {"smoke"}),
        (["study", "show", "gradients"], {"gradients", "gradients-all"}),
        (["claims", "show", "memory"], {"memory-constant"}),
        (["run", "--task", "latent-spirals", "--model", "rnn,lat"], {"rnn,latent-ode"}),
    ],
)
def test_names_go_on_from_what_was_typed(words, found):
    done = CliRunner().invoke(app, prog_name="nodebench", env=asked(*words))
    assert set(done.output.split()) == found


def test_every_task_of_nodebench_is_completed():
    ours = {name for name, task in tasks().items() if type(task).__module__.startswith("nodebench.")}
    assert set(completion.of_tasks()) == ours


def test_the_help_lists_every_command():
    commands = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert commands | {group.typer_instance.info.name for group in app.registered_groups} == set(_ORDER)
