"""The Slurm example of docs/cluster.md, run with a ``sbatch`` that starts its jobs on this machine."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# As the real one, it keeps the script: its caller removes it at once.
SBATCH = """#!/bin/bash
cp "$1" "$0-$$"
setsid bash "$0-$$" > "$(dirname "$0")/job-$$.log" 2>&1 &
echo "Submitted batch job $!"
"""
SCANCEL = '#!/bin/bash\nfor job in "$@"; do kill -- -"$job"; done\n'


@pytest.mark.slow
def test_the_slurm_example_runs(tmp_path):
    (example,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "cluster.md").read_text(), re.DOTALL)
    for folder in ("bin", "config"):
        (tmp_path / folder).mkdir()
    # Of the example only what this machine lacks is changed: its memory, and the environment's place.
    (tmp_path / "config" / "jobqueue.yaml").write_text(
        example.replace("16GB", "1GB").replace("source ~/nodebench/bin/activate", "echo ready")
    )
    for name, script in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (tmp_path / "bin" / name).write_text(script)
        (tmp_path / "bin" / name).chmod(0o755)
    arguments = ["--task", "toy/exponential", "--preset", "smoke", "--solver", "euler", "--seeds", "3", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "nodebench", "run", *arguments, "--dask", "slurm"],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "DASK_CONFIG": str(tmp_path / "config")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(record["trial"]["seed"] for record in records) == [0, 1, 2]
    assert {record["status"] for record in records} == {"ok"}
    assert {record["place"]["host"] for record in records} == {os.uname().nodename}
    assert {record["trial"]["threads"] for record in records} == {1}
