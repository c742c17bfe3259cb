"""Every task at its smallest, under a fixed and an adaptive solver and both gradients, as one study."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nodebench.tasks import tasks

TESTS = Path(__file__).parents[1]
OWN = {  # what tasks measure that have nothing of their own
    "field": f'field = "{TESTS / "own_fields.py"}:Plain", state_shape = "8"',
    "problem": f'problem = "{TESTS / "own_problems.py"}:decay"',
}
OURS = sorted(name for name, task in tasks().items() if type(task).__module__.startswith("nodebench."))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """The directory of the run."""
    folder = tmp_path_factory.mktemp("every")
    groups = [
        f'[groups.{name.replace("/", "-")}]\ntask = "{name}"\nsolver = ["dopri5", "rk4"]\nthreads = 1\n'
        + 'gradient = ["direct", "adjoint"]\n' * tasks()[name].trains
        + (f"overrides = {{ {OWN[name]} }}\n" if name in OWN else "")
        for name in OURS
    ]
    (folder / "every.toml").write_text("timing = false\n" + "".join(groups))
    command = [sys.executable, "-m", "nodebench", "study", "run", "every.toml", "--preset", "smoke", "--quiet"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout[-3000:]
    (found,) = (folder / "results").iterdir()
    return found


@pytest.mark.parametrize("name", OURS)
def test_it_ends_well(run, name):
    records = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    records = [record for record in records if record["trial"]["task"] == name]
    assert len(records) == (4 if tasks()[name].trains else 2)
    for record in records:
        assert record["status"] == "ok"
        assert record["passes_agree"] is True
        assert record["metrics"][tasks()[name].headlines[0]] is not None
        if tasks()[name].trains and name not in {"mnist", "field", "problem", "toy/spheres"}:
            assert (run / "arrays" / f"{record['id']}.npz").is_file()
    if tasks()[name].datasets:
        assert len(records[0]["data"]["sha256"]) == 64
