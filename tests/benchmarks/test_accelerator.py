"""The script that measures what needs an accelerator, here on a CPU."""

import subprocess
import sys
from pathlib import Path

from nodebench.spec import Status
from nodebench.store.run_folder import runs_below

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "accelerator.py"


def test_a_part_is_measured_and_one_without_time_is_interrupted_and_keeps_its_run(tmp_path):
    asked = [sys.executable, str(SCRIPT), "--device", "cpu", "--preset", "smoke", "--results", str(tmp_path)]
    ran = subprocess.run([*asked, "--only", "memory"], capture_output=True, text=True, check=True)
    (run,) = runs_below(tmp_path)
    assert {record.status for record in run.records()} == {Status.OK}
    assert "memory: " in ran.stdout
    assert "exit code 0" in ran.stdout
    hurried = subprocess.run([*asked, "--only", "memory", "--seconds", "0"], capture_output=True, text=True, check=True)
    assert "exit code 0" not in hurried.stdout


def test_an_unknown_part_is_one_line(tmp_path):
    ran = subprocess.run([sys.executable, str(SCRIPT), "--only", "memroy"], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "no part named memroy" in ran.stderr
