"""Each shipped study to its end at the smallest scale: ``pytest -m slow``, some minutes."""

import subprocess
import sys

import pytest

from nodebench.spec import shipped_studies
from nodebench.store.maintenance import verify
from nodebench.store.run_folder import list_runs


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped_studies())
def test_it_runs_to_its_end(tmp_path, name, request):
    command = [sys.executable, "-m", "nodebench", "study", "run", name, "--preset", "smoke"]
    if name in ("mnist-full", "ecg-mitdb"):
        command += ["--data", str(request.getfixturevalue("shared_data"))]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    (run,) = list_runs(tmp_path / "results")
    assert verify(run) == []
    assert {group for record in run.records() for group in record.place.groups} == set(run.study().groups)
    assert all(record.passes_agree is not False for record in run.records())
