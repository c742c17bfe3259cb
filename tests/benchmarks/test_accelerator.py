"""The script that runs what needs an accelerator, here on a CPU."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from nodebench.spec import Status
from nodebench.store.run_folder import runs_below

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "accelerator.py"


@pytest.fixture(scope="module")
def accelerator():
    spec = importlib.util.spec_from_file_location("accelerator", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def called(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False)


def test_a_part_is_measured(tmp_path):
    ran = called("--device", "cpu", "--preset", "smoke", "--results", str(tmp_path), "--only", "memory")
    assert ran.returncode == 0, ran.stderr
    (run,) = runs_below(tmp_path)
    assert {record.status for record in run.records()} == {Status.OK}


def test_a_command_without_time_is_interrupted_and_may_store_what_it_has(accelerator, tmp_path):
    stored = tmp_path / "stored"
    child = f"""
import pathlib, signal, time
signal.signal(signal.SIGTERM, signal.default_int_handler)
try:
    time.sleep(60)
except KeyboardInterrupt:
    pathlib.Path({str(stored)!r}).touch()
    raise SystemExit(130)
"""
    assert accelerator.run([sys.executable, "-c", child], 5) == accelerator.INTERRUPTED
    assert stored.exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--only", "memroy"), "no part named memroy"),
        (("--device", "cuda:99"), "device 'cuda:99' is not present"),
        (("--device", "cpu", "--only", "mnist"), "needs --data"),
    ],
)
def test_bad_input_is_refused(arguments, says):
    ran = called(*arguments)
    assert (ran.returncode, says in ran.stderr) == (2, True)
    assert "Traceback" not in ran.stderr


def test_no_part_begins_without_time(tmp_path):
    ran = called("--device", "cpu", "--seconds", "10", "--results", str(tmp_path), "--only", "memory")
    assert (ran.returncode, "no time is left for memory" in ran.stdout) == (0, True)
    assert not list(tmp_path.iterdir())
