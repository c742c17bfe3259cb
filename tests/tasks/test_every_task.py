"""Every task at its smallest, under a fixed and an adaptive solver and both gradients, each in its own process."""

import json
import subprocess
import sys

import pytest

from nodebench.tasks import tasks

OURS = sorted(name for name, task in tasks().items() if type(task).__module__.startswith("nodebench."))


@pytest.mark.parametrize("name", OURS)
def test_it_ends_well(name, tmp_path):
    gradients = ["--gradient", "direct,adjoint"] if tasks()[name].trains else []
    arguments = ["--task", name, "--preset", "smoke", "--solver", "dopri5,rk4", *gradients, "--threads", "1", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "nodebench", "run", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout[-3000:]
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(records) == (4 if gradients else 2)
    for record in records:
        assert record["status"] == "ok"
        assert record["passes_agree"] is True
        assert record["metrics"][tasks()[name].headlines[0]] is not None
    if tasks()[name].datasets:
        assert len(records[0]["data"]["sha256"]) == 64
    if gradients and name != "mnist":
        assert len(list((tmp_path / "results").glob("*/arrays/*.npz"))) == 4
