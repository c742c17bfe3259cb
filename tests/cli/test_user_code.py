"""Fields of a user's own, typed on the command line: their code is never run by the command itself, and is recorded."""

import json
import subprocess
import sys

import pytest

from nodebench.spec import Status
from nodebench.store.run_folder import RECORDS, RunFolder, replace_file
from nodebench.trial import isolation

pytestmark = pytest.mark.usefixtures("reruns")

FIELD = """
import torch
from torch import nn
from parts import SCALE


class Drift(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, 3)

    def forward(self, t, y):
        return SCALE * torch.tanh(self.a(y))
"""
BODIES = {
    "prints": "print('hello from the field')\n" + FIELD,
    "parses": "import argparse\nargparse.ArgumentParser().parse_args()\n" + FIELD,
    "requires": "import argparse\np = argparse.ArgumentParser()\np.add_argument('--data', required=True)\n"
    "p.parse_args()\n" + FIELD,
    "sleeps": "import time\ntime.sleep(600)\n" + FIELD,
    "crashes": "import os\nos.kill(os.getpid(), 11)\n" + FIELD,
    "leaves": "import os\nos._exit(0)\n" + FIELD,
    "ends": FIELD.replace("        return SCALE", "        raise SystemExit(4)\n        return SCALE"),
    "narrow": FIELD.replace("self.a(y))", "self.a(y))[:1]"),
    "imaginary": FIELD.replace("SCALE *", "1j *"),
    "unbatched": FIELD.replace("return SCALE", "x, v, w = y\n        return SCALE"),
    "drift": FIELD,
}


@pytest.fixture
def fields(tmp_path, monkeypatch):
    for name, body in BODIES.items():
        (tmp_path / f"{name}_field.py").write_text(body)
    (tmp_path / "parts.py").write_text("SCALE = 1.0\n")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not sys.modules.keys() & {"parts", *(f"{name}_field" for name in BODIES)}, "the command imported it"


def arguments(name: str, *more: str) -> list[str]:
    smoke = ["--preset", "smoke", "--solver", "rk4", "--threads", "1", "--set", "steps_per_epoch=1"]
    named = ["--set", f"field={name}_field:Drift", "--set", "state_shape=3", "--set", "batch_size=4"]
    return ["run", "--task", "field", *named, *smoke, *more]


def records(out: str) -> list[dict]:
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.parametrize("name", ["prints", "parses"])
def test_what_a_field_prints_or_parses_does_not_reach_the_command(nodebench, fields, name):
    code, out, err = nodebench(*arguments(name, "--json"))
    assert code == 0, err
    (record,) = records(out)
    assert record["status"] == "ok"
    assert "hello" not in err


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("requires", "it exited with code 2"),
        ("sleeps", "it did not end within 1 s"),
        ("crashes", "killed by SIGSEGV"),
        ("leaves", "exit code 0 and without a result"),
        ("ends", "SystemExit: 4"),
        ("narrow", "maps states (4, 3) to (1, 3)"),
        ("imaginary", "it must return real numbers"),
        ("unbatched", "called with states (4, 3): ValueError: too many values to unpack"),
    ],
)
def test_code_that_cannot_be_used_ends_in_one_line_and_makes_no_run(nodebench, fields, monkeypatch, name, words):
    monkeypatch.setattr(isolation, "GRACE_SECONDS", 0.3)
    more = ["--timeout", "1"] if name == "sleeps" else []
    code, out, err = nodebench(*arguments(name, *more))
    assert code == 2
    assert words in err
    assert f"{name}_field:Drift" in err
    assert err.strip().count("\n") == 0
    assert "Traceback" not in out + err
    assert not (fields / "results").exists()


@pytest.mark.slow  # by day the command runs in the process of the tests, which would not survive it either
def test_a_field_that_crashes_does_not_take_the_command_with_it(fields):
    command = [sys.executable, "-m", "nodebench", *arguments("crashes")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert "killed by SIGSEGV" in done.stderr


def test_records_know_the_code_that_they_measured(nodebench, fields):
    _, out, _ = nodebench(*arguments("drift", "--json", "--seeds", "2"))
    first, second = (record["measured"] for record in records(out))
    assert list(first["modules"]) == ["drift_field", "parts"]
    assert first["modules"] == second["modules"]
    assert first["state"] != second["state"]  # the weights of another seed
    _, out, _ = nodebench(*arguments("drift", "--json"))
    assert records(out)[0]["measured"] == first


@pytest.mark.slow
def test_an_edit_is_seen_by_compare_merge_resume_and_recommend(nodebench, fields):
    """The edit is in a module that the field imports; the trial's id stays the same."""
    measure = ["recommend", "--field", "drift_field:Drift", "--state-shape", "3"]
    small = ["--set", "batch_size=4", "--set", "steps_per_epoch=2"]
    more = ["--measure", "--solver", "rk4", "--seeds", "1", "--threads", "1"]
    code, _, err = nodebench(*measure, *small, *more)
    assert code == 0, err
    code, out, _ = nodebench(*measure, *small)
    assert code == 0
    assert "\nUse rk4" in out
    nodebench(*arguments("drift", "--results", "apart"))
    (fields / "parts.py").write_text("SCALE = 2.0\n")
    code, out, err = nodebench(*measure, *small)
    assert code == 2
    assert "different code of this field" in err
    assert "Measure it:" in err
    nodebench(*arguments("drift", "--results", "apart"))
    before, after = sorted(path.name for path in (fields / "apart").iterdir())
    ids = [record.id for name in (before, after) for record in RunFolder(fields / "apart" / name).records()]
    assert ids[0] == ids[1]
    code, out, _ = nodebench("compare", before, after, "--results", "apart")
    assert code == 0
    assert "user's code.parts" in out
    assert "the field's code differs between the two records of a trial" in out
    code, _, err = nodebench("results", "merge", before, after, "--results", "apart")
    assert code == 2
    assert "the user's code differs: module parts" in err
    run = RunFolder(fields / "apart" / before)
    interrupted = run.records()[0].model_copy(update={"status": Status.INTERRUPTED})
    replace_file(run.folder / RECORDS, [interrupted.line().encode() + b"\n"])
    code, _, err = nodebench("run", "--results", "apart", "--resume", before)
    assert code == 2
    assert f"the user's code has changed since run {before} was made: module parts" in err
