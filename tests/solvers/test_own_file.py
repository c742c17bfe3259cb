"""A solver of the user's own, from a file that belongs to no package."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN = ["run", "--task", "toy/exponential", "--preset", "smoke", "--threads", "1", "--quiet"]


@pytest.fixture
def file(tmp_path) -> Path:
    """The solver of the tutorial, with a second class that is no adapter."""
    text = (ROOT / "docs" / "tutorials" / "add-a-solver.md").read_text()
    (code,) = re.findall(r"```python\n(# ralston\.py\n.*?)```", text, re.DOTALL)
    path = tmp_path / "ralston.py"
    path.write_text(code + "\n\nclass Other:\n    pass\n")
    return path


def test_its_method_runs_and_the_record_knows_the_file(nodebench, file):
    code, out, err = nodebench(*RUN, "--json", "--solver", "ralston.py:RalstonAdapter")
    assert code == 0, err
    record = json.loads(out)
    assert record["trial"]["solver"] == "ralston.py:RalstonAdapter:ralston"
    assert record["metrics"]["observed_order"] == pytest.approx(2, abs=0.1)
    assert record["environment"]["plugins"]["ralston.py"]["identity"].startswith("files:")
    code, out, err = nodebench(*RUN, "--json", "--solver", "ralston.py:RalstonAdapter:ralston")
    assert json.loads(out)["id"] == record["id"]


@pytest.mark.parametrize(
    ("solver", "told"),
    [
        ("ralston.py:RalstonAdapter:ralstn", "did you mean ralston.py:RalstonAdapter:ralston?"),
        ("ralston.py:Ralstonadapter", "ralston.py has no 'Ralstonadapter'; did you mean RalstonAdapter?"),
        ("ralston.py:Other", "Other is not a subclass of nodebench.solvers.SolverAdapter"),
        ("nothing.py:Adapter", "there is no file"),
        ("../ralston.py:RalstonAdapter", "start nodebench in the folder of the file, or in one above it"),
    ],
)
def test_what_cannot_be_used_is_one_line(nodebench, file, solver, told):
    code, _, err = nodebench(*RUN, "--solver", solver)
    assert (code, len(err.splitlines())) == (2, 1)
    assert told in err
