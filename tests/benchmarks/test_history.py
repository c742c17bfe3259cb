"""Results of asv are filed under the commit of the code that was measured, and under no other."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "history.py"
SETTINGS = """{
    // as the real one has comments
    "version": 1, "project": "nodebench", "repo": "..", "branches": ["main"], "dvcs": "git",
    "environment_type": "virtualenv", "benchmark_dir": "suite", "results_dir": "../.asv/results"
}"""


@pytest.fixture
def clone(tmp_path) -> Path:
    """A clone with a package and a suite of one benchmark."""
    folder = tmp_path / "clone"
    for name in ("nodebench", "benchmarks/suite"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("")
    shutil.copy(SCRIPT, folder / "benchmarks" / "history.py")
    (folder / "benchmarks" / "asv.conf.json").write_text(SETTINGS)
    (folder / ".gitignore").write_text("__pycache__/\n.asv/\n")
    (folder / "benchmarks" / "suite" / "one.py").write_text("def track_one():\n    return 1\n")
    git(folder, "init", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "first")
    return folder


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def history(clone: Path, measured: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"HOME": str(clone.parent), "ASV_PYTHONPATH": str(measured)}
    asv = [sys.executable, "-m", "asv", "machine", "--yes"]
    subprocess.run(asv, cwd=clone / "benchmarks", env=environment, check=True, capture_output=True)
    command = [sys.executable, str(clone / "benchmarks" / "history.py"), "--quick"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def filed(clone: Path) -> list[str]:
    """Commits, in eight digits, that there are results of."""
    return [path.name[:8] for path in (clone / ".asv").rglob("*-existing*.json")]


def test_results_are_filed_under_the_commit_of_the_clone(clone):
    done = history(clone, clone)
    assert done.returncode == 0, done.stdout + done.stderr
    assert filed(clone) == [git(clone, "rev-parse", "HEAD")[:8]]
    assert "asv publish" not in done.stdout


def test_code_of_another_place_is_refused(clone, tmp_path):
    shutil.copytree(clone / "nodebench", tmp_path / "elsewhere" / "nodebench")
    done = history(clone, tmp_path / "elsewhere")
    assert done.returncode == 2
    assert f"asv would measure {tmp_path / 'elsewhere' / 'nodebench'}, not this clone" in done.stderr
    assert filed(clone) == []


@pytest.mark.parametrize("changed", ["nodebench/__init__.py", "benchmarks/suite/new.py"])
def test_code_that_no_commit_holds_is_refused(clone, changed):
    (clone / changed).write_text("changed = True\n")
    done = history(clone, clone)
    assert done.returncode == 2
    assert "uncommitted changes" in done.stderr
    assert filed(clone) == []


def test_a_commit_of_another_branch_is_said_to_be_left_out_at_publish(clone):
    git(clone, "switch", "-c", "other")
    git(clone, "commit", "--allow-empty", "-m", "second")
    done = history(clone, clone)
    assert done.returncode == 0, done.stdout + done.stderr
    commit = git(clone, "rev-parse", "HEAD")[:8]
    assert f"commit {commit} is on none of the branches main: 'asv publish' leaves it out" in done.stdout
    assert filed(clone) == [commit]
