"""Every tutorial, done as it says: files from its code, commands one after another, in an empty folder.

``sh`` blocks are run, ``bash`` blocks are for a checkout or a quiet machine, and read only.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from unittest.mock import ANY

import pytest

ROOT = Path(__file__).parents[2]
# Minutes; by day the others show that the tutorials work, and other tests run the commands of these.
LONG = {
    "add-a-solver",
    "add-a-task",
    "from-python",
    "own-field",
    "own-problem",
    "own-series",
    "track-regressions",
}
TUTORIALS = [
    pytest.param(path, id=path.stem, marks=pytest.mark.slow if path.stem in LONG else ())
    for path in sorted((ROOT / "docs" / "tutorials").glob("*.md"))
]
# What must stand in the output, as a regular expression: that a command ends well says little of what it did.
SAYS = {
    "add-a-claim": [r"rk4-doubles-midpoint · default scope · supported", r"rk4 takes 2 × \[1\.\d+, 2\.\d+\]"],
    "add-a-solver": [r"mine:ralston +2 +fixed", r"mine:ralston .* 2\.0\d"],
    "add-a-task": [r"toy/decay", r"direct", r"4 ok"],
    "from-python": [
        r"the adjoint takes 0\.\d\d of the memory of direct",
        r"nfe_forward +identical",
        r"^supported$",
        r"not tested +\d+",
    ],
    "own-field": [r"4 ok", r"Use (rk4|dopri5)", r"from torchdiffeq import odeint"],
    "own-problem": [r"problem=pendulum.py:pendulum", r"adjoint +\d", r"problem=classifier.py:classifier", r"4 ok"],
    "own-series": [
        r"waves.csv \(48 / 12\)",
        r"latent-ode +dopri5",
        r"objective=interpolate",
        r"\d+ figures · ",
    ],
    "read-a-verdict": [
        r"memory-constant · paper scope · supported",
        r"a further evaluation adds 0\.0172 % \(exact\) of the memory",
        r"conditions could be decided",
        r"NFE fwd +2",
        r"resnet-is-euler \(default\): supported from all records",
        r"before: inconclusive; .*differ by 0 \(exact\)(?s:.*)now: inconclusive; .*differ by 0 \(exact\)",
    ],
    "track-regressions": [r"environment: the same", r"identical", r"calibrations.jsonl"],
}


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def prepared(text: str, folder: Path) -> tuple[dict[str, str], set[str]]:
    """Write the files of a tutorial, and install its entry points.

    Returns:
        the environment of its commands, and the groups of its entry points.
    """
    files = [*blocks(text, "python"), *(code for code in blocks(text, "toml") if code.startswith("# "))]
    for code in files:
        (folder / code.split(maxsplit=2)[1]).write_text(code)
    points = re.findall(r'^\[project\.entry-points\."(.*?)"\]\n((?:\w.*\n)+)', text, re.MULTILINE)
    if points:
        info = folder / "tutorial-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tutorial\nVersion: 1.0\n")
        lines = [f"[{group}]\n{line.replace(chr(34), '')}" for group, line in points]
        (info / "entry_points.txt").write_text("\n".join(lines))
    (folder / "results").mkdir(exist_ok=True)
    (folder / "results" / "published").symlink_to(ROOT / "results" / "published")
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    attempts = "3" if "recommend" in text else "1"  # a recommendation needs usable times
    variables = {"PYTHONPATH": path, "PATH": programs, "COLUMNS": "160", "NODEBENCH_ATTEMPTS": attempts}
    return os.environ | variables, {group for group, _ in points}


def in_bash(folder: Path, commands: str, environment: dict[str, str]) -> tuple[int, str, str]:
    """Run commands as a user types them: (exit code, output, errors)."""
    bash = ["bash", "-euo", "pipefail", "-c", commands]
    done = subprocess.run(bash, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.usefixtures("files_are_read_once")
@pytest.mark.parametrize("tutorial", TUTORIALS)
def test_it_does_what_it_says(tutorial, tmp_path, nodebench_in):
    text = tutorial.read_text()
    environment, groups = prepared(text, tmp_path)
    said = ""
    for commands in blocks(text, "sh"):
        words = shlex.split(commands.replace("\\\n", ""))
        # A command that needs no entry point of the tutorial runs in this process, where it starts in a tenth of the
        # time.
        needs_none = not groups or (groups == {"nodebench.claims"} and words[1] == "study")
        if words[0] == "nodebench" and "nodebench" not in words[1:] and needs_none:
            code, out, err = nodebench_in(tmp_path, *words[1:], **environment)
        else:
            code, out, err = in_bash(tmp_path, commands, environment)
        assert code == 0, f"{commands}\n{out}\n{err}"
        said += out
    for words in SAYS[tutorial.stem]:
        assert re.search(words, said, re.MULTILINE), f"no {words!r} in\n{said}"


@pytest.mark.slow
def test_task_and_solver_of_the_tutorials_work_together(tmp_path):
    """What composes in the design composes in the hands of third parties."""
    text = "".join((ROOT / "docs" / "tutorials" / f"add-a-{what}.md").read_text() for what in ("task", "solver"))
    arguments = ["--task", "toy/decay", "--solver", "mine:ralston,dopri5", "--gradient", "direct", "--threads", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "nodebench", "run", "--json", *arguments],
        env=prepared(text, tmp_path)[0],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ralston, dopri5 = map(json.loads, done.stdout.splitlines())
    assert ralston["costs"]["nfe_forward"] == 4 * 2 * 2  # four intervals of two steps of 0.125, two stages
    assert dopri5["costs"]["solution_error"] < 1e-5 < ralston["costs"]["solution_error"] < 1e-2
    assert dopri5["metrics"]["rate_error"] < 0.5


def test_the_python_of_the_readme_measures_a_problem(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (program,) = blocks((ROOT / "README.md").read_text(), "python")
    exec(program, {"__name__": "__main__"})
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith(" own ")]
    assert sorted(row[1:3] for row in rows) == [["dopri5", "1e-3"], ["dopri5", "1e-5"], ["euler", ANY], ["rk4", ANY]]


def test_every_link_of_the_front_pages_leads_somewhere():
    """Those of ``docs/`` are seen to by mkdocs."""
    for name in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / name).read_text()):
            assert (ROOT / target).exists(), f"{name}: {target}"


def test_contributing_names_every_program_of_the_benchmarks():
    benchmarks = ROOT / "benchmarks"
    programs = [*benchmarks.glob("*.py"), benchmarks / "independent" / "compare.py"]
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert len(programs) > 1
    assert [path.name for path in programs if path.name not in text] == []
