"""Planted regressions, each found by the benchmark that is for it: by asv, and by the gate of what never varies."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nodebench.instruments.nfe import CountedField

ROOT = Path(__file__).parents[2]
SUITE = ROOT / "benchmarks" / "suite"
BENCHMARKS = {
    "nfe": r"tracks.Track.track_nfe_forward\('spiral', 'dopri5', 'direct'\)",
    "left": r"tracks.Track.track_left_behind_bytes\('spiral', 'dopri5', 'direct'\)",
    "time": r"solves.Solve.time_solve\('spiral', 'rk4'\)",
}
# File, what stands there, what is planted in its place.
PLANTS = {
    "a field evaluated twice": (
        "instruments/nfe.py",
        "derivative: Tensor = self._evaluate(t, y)",
        "self.counter.on_call(t)\n        derivative: Tensor = self._evaluate(t, y) / 2 + self._evaluate(t, y) / 2",
    ),
    "a retained graph": (
        "solvers/integrator.py",
        "        if self._trace is not None:\n            self._trace.append((field, y0.detach(), times.detach(),",
        "        self.__dict__.setdefault('kept', []).append(states)\n        if self._trace is not None:\n"
        "            self._trace.append((field, y0.detach(), times.detach(),",
    ),
    "a sleep": (
        "solvers/integrator.py",
        "        self.counter.begin_solve()",
        "        __import__('time').sleep(0.02)\n        self.counter.begin_solve()",
    ),
}
FOUND_BY = {"a field evaluated twice": "nfe", "a retained graph": "left", "a sleep": "time"}


def planted(folder: Path, plant: str | None) -> Path:
    """A copy of the package with a plant in it, to be put before the installed one."""
    copy = folder / (plant or "as it is").replace(" ", "-")
    shutil.copytree(ROOT / "nodebench", copy / "nodebench", ignore=shutil.ignore_patterns("__pycache__"))
    if plant:
        name, old, new = PLANTS[plant]
        path = copy / "nodebench" / name
        text = path.read_text()
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))
    return copy


@pytest.fixture(scope="module")
def asv(tmp_path_factory):
    """Measures a copy of the package with asv, as a commit of its own; compares two of them."""
    folder = tmp_path_factory.mktemp("asv")
    repository = folder / "repository"
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "init", "-q", "-b", "main", repository], check=True)
    settings = {
        "version": 1,
        "project": "nodebench",
        "repo": str(repository),
        "branches": ["main"],
        "environment_type": "virtualenv",
        "benchmark_dir": str(SUITE),
        "results_dir": str(folder / "results"),
        "env_dir": str(folder / "env"),
    }
    (folder / "asv.conf.json").write_text(json.dumps(settings))

    def run(*arguments: str, path: Path | None = None) -> str:
        environment = os.environ | {"HOME": str(folder), "ASV_PYTHONPATH": str(path or ROOT)}
        command = [sys.executable, "-m", "asv", *arguments]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def commit(message: str) -> str:
        git = ["git", "-C", str(repository), *author]
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", message], check=True)
        return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()

    def measure(plant: str | None) -> str:
        made = commit(plant or "as it is")
        chosen = [word for pattern in BENCHMARKS.values() for word in ("-b", pattern)]
        run("run", "--python=same", f"--set-commit-hash={made}", *chosen, path=planted(folder, plant))
        return made

    run("machine", "--yes")
    return run, measure, measure(None)


@pytest.mark.slow
@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_regression_is_found_by_its_benchmark(asv, plant):
    run, measure, before = asv
    report = run("compare", "--factor", "1.5", before, measure(plant))
    worse = {
        name for name, pattern in BENCHMARKS.items() if any(_is_worse(line, pattern) for line in report.splitlines())
    }
    assert FOUND_BY[plant] in worse, report
    assert worse <= {FOUND_BY[plant], "time"}, report  # work costs time too; and a busy machine is no finding


def _is_worse(line: str, pattern: str) -> bool:
    cells = [cell.strip() for cell in line.split("|")]
    return len(cells) > 2 and cells[1] == "+" and bool(re.search(pattern, line))


def gate(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the gate on a copy of the package."""
    command = [sys.executable, str(ROOT / "benchmarks" / "gate.py"), *arguments]
    environment = os.environ | {"PYTHONPATH": str(copy)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


SMALL = ["--problem", "spiral", "--solver", "dopri5"]


@pytest.mark.slow
@pytest.mark.parametrize("less", [SMALL, []], ids=str)
def test_the_gate_passes_as_it_is(tmp_path, less):
    done = gate(planted(tmp_path, None), *less)
    assert done.returncode == 0, done.stdout + done.stderr


SPIRAL = ["--problem", "spiral", "--solver", "rk4"]  # a drift would show anywhere


def assert_tells(output: str) -> None:
    assert "spiral, rk4, direct, nfe_forward: 32 → 64 (2.000 ×)" in output
    assert "spiral, rk4, direct, saved_bytes" in output
    assert "tensor_peak" in output
    assert "solution_error" not in output
    assert "python benchmarks/gate.py --accept" in output


@pytest.fixture
def here(monkeypatch):
    """The gate as a module of this process, without anything measured by others."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    spec = importlib.util.spec_from_file_location("gate", ROOT / "benchmarks" / "gate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    known = (*vars(module).values(), *vars(sys.modules["suite.problems"]).values())
    caches = [one for one in known if hasattr(one, "cache_clear")]
    for one in caches:
        one.cache_clear()
    yield module
    for one in caches:
        one.cache_clear()


def test_the_gate_tells_a_drift(here, monkeypatch, capsys):
    real = CountedField.__call__
    monkeypatch.setattr(CountedField, "__call__", lambda self, t, y: real(self, t, y) / 2 + real(self, t, y) / 2)
    monkeypatch.setattr(sys, "argv", ["gate.py", *SPIRAL])
    assert here.main() == 1
    assert_tells(capsys.readouterr().out)


@pytest.mark.slow
def test_the_gate_tells_a_drift_of_a_changed_package(tmp_path):
    done = gate(planted(tmp_path, "a field evaluated twice"), *SPIRAL)
    assert done.returncode == 1, done.stdout + done.stderr
    assert_tells(done.stdout)
