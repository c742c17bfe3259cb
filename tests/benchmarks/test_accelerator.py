"""The script that runs what needs an accelerator, here on a CPU."""

import importlib.util
import subprocess
import sys
from dataclasses import replace
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


@pytest.fixture
def here(accelerator, monkeypatch, capsys):
    """Run the script in this process: (exit code, output, errors)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments])
        try:
            code = accelerator.main()
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return run


# A study with two short trials.
TINY = """
timing = false
passes = ["training", "memory"]

[groups.steps]
task = "toy/spiral"
solver = "rk4"
step_size = [0.126]
gradient = ["direct", "adjoint"]
overrides = { epochs = 1, steps_per_epoch = 2 }
"""


def assert_measured(results: Path, trials: int | None = None) -> None:
    (run,) = runs_below(results)
    records = run.records()
    assert {record.status for record in records} == {Status.OK}
    assert trials in (None, len(records))


def test_the_command_of_a_part_measures_it(accelerator, here, monkeypatch, tmp_path, nodebench_in):
    study, results = tmp_path / "tiny.toml", tmp_path / "results"
    study.write_text(TINY)
    part = replace(accelerator.PARTS[0], study=str(study))
    monkeypatch.setattr(accelerator, "PARTS", (part,))
    monkeypatch.setattr(accelerator, "run", lambda words, seconds: nodebench_in(tmp_path, *words[3:])[0])
    code, out, err = here("--device", "cpu", "--preset", "smoke", "--results", str(results), "--only", "memory")
    assert (code, "exit code 0" in out) == (0, True), err
    assert_measured(results, 2)


@pytest.mark.slow
def test_a_part_is_measured(tmp_path):
    ran = called("--device", "cpu", "--preset", "smoke", "--results", str(tmp_path), "--only", "memory")
    assert ran.returncode == 0, ran.stderr
    assert_measured(tmp_path)


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
    assert accelerator.run([sys.executable, "-c", child], 1.5) == accelerator.INTERRUPTED
    assert stored.exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--only", "memroy"), "no part named memroy"),
        (("--device", "cuda:99"), "device 'cuda:99' is not present"),
        (("--device", "cpu", "--only", "mnist"), "needs --data"),
    ],
)
def test_bad_input_is_refused(here, arguments, says):
    code, _, err = here(*arguments)
    assert (code, says in err) == (2, True)


def test_the_script_by_itself_refuses_bad_input():
    ran = called("--only", "memroy")
    assert (ran.returncode, "no part named memroy" in ran.stderr) == (2, True)
    assert "Traceback" not in ran.stderr


def test_no_part_begins_without_time(here, tmp_path):
    code, out, _ = here("--device", "cpu", "--seconds", "10", "--results", str(tmp_path), "--only", "memory")
    assert (code, "no time is left for memory" in out) == (0, True)
    assert not list(tmp_path.iterdir())
