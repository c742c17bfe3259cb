"""The recipes of CONTRIBUTING.md, built as packages of a third party and run."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN = ["run", "--threads", "1", "--json"]


@pytest.fixture(scope="module")
def recipes(tmp_path_factory) -> dict[str, str]:
    """The environment in which the two recipes are installed."""
    site = tmp_path_factory.mktemp("site")
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        (site / code.split(maxsplit=2)[1]).write_text(code)
    info = site / "recipes-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: recipes\nVersion: 1.0\n")
    points = re.findall(r'```toml\n\[project\.entry-points\."(.*?)"\]\n(.*?)```', text, re.DOTALL)
    (info / "entry_points.txt").write_text(
        "\n".join(f"[{group}]\n{line.replace(chr(34), '')}" for group, line in points)
    )
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": path}


def nodebench(environment, folder, *arguments) -> str:
    command = [sys.executable, "-m", "nodebench", *arguments]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_recipes_are_listed(recipes, tmp_path):
    assert "toy/decay" in nodebench(recipes, tmp_path, "list", "tasks")
    assert "mine:ralston" in nodebench(recipes, tmp_path, "list", "solvers")


def test_the_recipes_run_together(recipes, tmp_path):
    arguments = ["--task", "toy/decay", "--solver", "mine:ralston,dopri5", "--gradient", "direct"]
    ralston, dopri5 = map(json.loads, nodebench(recipes, tmp_path, *RUN, *arguments).splitlines())
    assert ralston["costs"]["nfe_forward"] == 4 * 2 * 2  # four intervals of two steps of 0.125, two stages
    assert dopri5["costs"]["solution_error"] < 1e-5 < ralston["costs"]["solution_error"] < 1e-2
    assert dopri5["metrics"]["rate_error"] < 0.5


def test_the_order_of_the_recipe_is_what_it_says(recipes, tmp_path):
    output = nodebench(recipes, tmp_path, *RUN, "--task", "toy/exponential", "--solver", "mine:ralston")
    assert json.loads(output)["metrics"]["observed_order"] == pytest.approx(2, abs=0.25)
