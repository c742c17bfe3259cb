"""The benchmark of the interleaved pass, with bounds that a busy machine meets too."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_an_arm_against_itself_is_1_and_5_percent_more_evaluations_are_found(tmp_path):
    out = tmp_path / "interleaved.json"
    command = [sys.executable, ROOT / "benchmarks" / "interleaved.py", "--replicates", "4", "--out", out]
    subprocess.run(command, check=True, cwd=ROOT, timeout=3600)
    for load, metrics in json.loads(out.read_text())["metrics"].items():
        for name in ("mnist", "toy/spiral"):
            itself = metrics[f"{name} against itself"]
            assert itself["nfe_forward"] == [1.0] * 4, load
            assert itself["step_seconds"]["mean"] == pytest.approx(1.0, abs=0.1), load
        slower = metrics["5 % more evaluations"]
        assert slower["nfe_forward"] == [1.05] * 4
        assert slower["step_seconds"]["mean"] == pytest.approx(1.05, abs=0.1), load
