"""``nodebench recommend``, typed by someone with a field of their own."""

import pytest

FIELD = """
import torch
from torch import nn


class Drift(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))

    def forward(self, t, y):
        return self.net(torch.cat([y, torch.ones_like(y[:, :1]) * t], 1))


class Narrow(Drift):
    def forward(self, t, y):
        return super().forward(t, y)[:, :2]


class Named(nn.Module):
    def __init__(self, width):
        super().__init__()


def number():
    return 3
"""


@pytest.fixture
def field(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(FIELD)
    monkeypatch.chdir(tmp_path)


OWN = ["recommend", "--field", "mine:Drift", "--state-shape", "3"]


def test_a_field_of_ones_own_is_measured_and_the_answer_found_again(nodebench, field):
    measure = [
        "--measure",
        "--solver",
        "rk4",
        "--seeds",
        "2",
        "--error",
        "1e-4",
        "--set",
        "steps_per_epoch=4",
        "--threads",
        "1",
    ]
    code, out, err = nodebench(*OWN, *measure)
    assert code == 0, err
    assert "field, model own, cpu, float32, 1 thread, " in out
    assert "field=mine:Drift" in out
    assert "\nUse rk4 h=0.0625 " in out
    assert "from torchdiffeq import odeint" in out
    chosen = next(line for line in out.splitlines() if line.startswith("Use "))
    code, again, err = nodebench(*OWN, "--error", "1e-4")
    assert code == 0, err
    assert chosen in again
    code, none, _ = nodebench(*OWN, "--error", "1e-4", "--max-memory", "1kB")
    assert code == 0
    assert "Nothing that was measured meets the limits; the least error is" in none
    assert "the least memory is" in none
    assert "and 1 kB is allowed" in none


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["recommend"], "give --task, or --field with --state-shape"),
        (["recommend", "--task", "mnits"], "did you mean mnist"),
        (["recommend", "--task", "mnist"], "Measure it: nodebench recommend --task mnist --measure"),
        (["recommend", "--field", "mine:Drift"], "--field needs --state-shape"),
        (["recommend", "--task", "mnist", "--field", "mine:Drift", "--state-shape", "3"], "leave out --task mnist"),
        ([*OWN, "--error", "-1"], "a positive number"),
        ([*OWN, "--max-memory", "much"], "--max-memory 'much': not a size"),
        ([*OWN, "--solver", "rk4"], "--solver goes with --measure"),
        ([*OWN, "--measure", "--seeds", "0"], "at least 1"),
        ([*OWN, "--measure", "--threads", "0"], "at least 1"),
        ([*OWN, "--measure", "--solver", "dopry5"], "did you mean dopri5"),
        (["recommend", "--field", "mine:Drif", "--state-shape", "3", "--measure"], "has no attribute 'Drif'"),
        (["recommend", "--field", "yours:Drift", "--state-shape", "3", "--measure"], "No module named 'yours'"),
        (["recommend", "--field", "mine.Drift", "--state-shape", "3", "--measure"], "write it as module:name"),
        (["recommend", "--field", "mine:Narrow", "--state-shape", "3", "--measure"], "the shape must stay"),
        (["recommend", "--field", "mine:Named", "--state-shape", "3", "--measure"], "missing 1 required"),
        (["recommend", "--field", "mine:number", "--state-shape", "3", "--measure"], "not a torch.nn.Module"),
        (["recommend", "--field", "mine:Drift", "--state-shape", "x", "--measure"], "as in 64 or 3,28,28"),
        (["recommend", "--field", "mine:Drift", "--state-shape", "5", "--measure"], "called with states (32, 5)"),
    ],
)
def test_bad_input_ends_in_one_line(nodebench, field, arguments, words):
    code, out, err = nodebench(*arguments)
    assert code == 2
    assert words in err
    assert err.strip().count("\n") == 0
    assert "Traceback" not in err + out
