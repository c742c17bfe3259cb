"""Sweeps in real processes that are killed, interrupted, filled up and met by a second one."""

import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from nodebench.store.maintenance import verify
from nodebench.store.run_folder import RunFolder

COMMAND = [sys.executable, "-m", "nodebench", "run"]
TRIVIAL = ["--task", "toy/exponential", "--preset", "smoke", "--solver", "euler", "--set", "solves=1", "--threads", "1"]
# Seconds of training, and nothing after it.
SLOW = ["--task", "test/faults", "--preset", "smoke", "--solver", "rk4", "--set", "seconds=0.003", "--threads", "1"]
SLOW += ["--passes", "training"]


class Sweep:
    """A sweep as somebody runs it in a shell, in a folder of its own."""

    def __init__(self, folder: Path, nodebench_in: Callable) -> None:
        self.folder = folder
        self._nodebench_in = nodebench_in

    @property
    def run(self) -> RunFolder:
        (folder,) = (self.folder / "results").iterdir()
        return RunFolder(folder)

    @property
    def has_begun(self) -> bool:
        return any((self.folder / "results").glob("*/study.toml"))

    def start(self, *arguments: str, **options) -> subprocess.Popen:
        return subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,
        )

    def finish(self, *arguments: str) -> tuple[int, str]:
        """Run a command to its end, in this process; return its exit code and its errors."""
        code, _, err = self._nodebench_in(self.folder, "run", *arguments)
        return code, err

    def check(self, trials: int) -> None:
        """Every trial is there exactly once, and the store is whole."""
        records = self.run.records()
        lines = Counter(json.loads(line)["id"] for line in (self.run.folder / "records.jsonl").read_text().splitlines())
        assert {record.trial.seed for record in records if record.status == "ok"} == set(range(trials))
        again = {record.id for record in records if record.status == "ok"}
        assert all(count == 1 or id in again for id, count in lines.items())
        assert [finding for finding in verify(self.run) if "interrupted" not in finding] == []


@pytest.fixture
def sweep(tmp_path, nodebench_in):
    return Sweep(tmp_path, nodebench_in)


def wait_for(process: subprocess.Popen, text: str) -> None:
    for line in process.stderr:
        if text in line:
            return


def descendants(process: subprocess.Popen) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.Error:
        return []


def command_line(process: psutil.Process) -> str:
    """Empty for a process that has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def fork_server(process: subprocess.Popen) -> psutil.Process:
    (server,) = (p for p in psutil.Process(process.pid).children() if "forkserver" in command_line(p))
    return server


def assert_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []


@pytest.mark.parametrize(("kills", "trials"), [(2, 24), pytest.param(20, 120, marks=pytest.mark.slow)])
def test_a_parent_killed_many_times_loses_and_doubles_nothing(sweep, kills, trials):
    moments = random.Random(0)
    arguments = [*TRIVIAL, "--seeds", str(trials), "--jobs", "2"]
    for kill in range(kills):
        process = sweep.start(*(["--resume", "--jobs", "2"] if sweep.has_begun else arguments))
        if kill % 2:  # anywhere, in its start too
            time.sleep(moments.uniform(0.5, 3.0))
        else:
            wait_for(process, "[1/")
            time.sleep(moments.uniform(0, 0.5))
        family = descendants(process)
        process.kill()
        process.communicate()
        assert_gone(family)
    assert sweep.has_begun
    assert len(sweep.run.records()) < trials
    code, err = sweep.finish("--resume", "--jobs", "2")
    assert code == 0, err
    sweep.check(trials)
    lines = (sweep.run.folder / "records.jsonl").read_text().splitlines()
    assert len(lines) == trials


@pytest.mark.parametrize(
    ("signals", "trials"),
    [([signal.SIGTERM], 12), pytest.param([signal.SIGINT, signal.SIGTERM] * 3, 60, marks=pytest.mark.slow)],
)
def test_a_parent_interrupted_again_and_again_ends_cleanly_and_goes_on(sweep, signals, trials):
    moments = random.Random(1)
    arguments = [*TRIVIAL, "--seeds", str(trials), "--jobs", "2"]
    for number in signals:
        process = sweep.start(*(["--resume", "--jobs", "2"] if sweep.has_begun else arguments))
        wait_for(process, "[1/")
        time.sleep(moments.uniform(0, 0.5))
        family = descendants(process)
        os.killpg(process.pid, number)  # as a terminal does: to the whole group
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "Traceback" not in err
        assert "--resume" in err
        assert_gone(family)
    assert sweep.finish("--resume", "--jobs", "2")[0] == 0
    sweep.check(trials)


def test_a_second_command_is_refused_and_a_killed_trial_is_a_crashed_record_and_the_sweep_goes_on(sweep):
    process = sweep.start(*SLOW, "--seeds", "3", "--jobs", "2")
    wait_for(process, "epoch 1/")
    code, err = sweep.finish("--resume")  # it is told who holds the run
    assert code == 2
    assert re.search(rf"being written by process {process.pid}, since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d", err)
    random.Random(2).choice(fork_server(process).children()).kill()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert Counter(record.status for record in sweep.run.records()) == {"ok": 2, "crashed": 1}
    assert "--retry-failed" in err
    assert sweep.finish("--resume")[0] == 1  # failed ones only when asked for
    assert len((sweep.run.folder / "records.jsonl").read_text().splitlines()) == 3
    assert sweep.finish("--resume", "--retry-failed")[0] == 0
    sweep.check(3)


@pytest.mark.slow
def test_a_request_to_end_is_the_parents_to_hear(sweep):
    """A batch system asks all processes of a job at once; a trial that had heard it first would seem crashed."""
    process = sweep.start(*SLOW, "--seeds", "2", "--jobs", "2")
    wait_for(process, "epoch 1/")
    server = fork_server(process)
    for one in [server, *server.children()]:
        one.terminate()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    sweep.check(2)


@pytest.mark.slow
def test_a_killed_fork_server_loses_nothing(sweep):
    process = sweep.start(*SLOW, "--seeds", "3", "--jobs", "2")
    wait_for(process, "epoch 1/")
    fork_server(process).kill()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err  # running trials go on, and the next one starts another server
    assert "Traceback" not in err
    sweep.check(3)


def limit_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))


@pytest.mark.parametrize("kind", ["limit", pytest.param("tmpfs", marks=pytest.mark.slow)])
def test_a_full_disk_is_one_message_and_loses_nothing(sweep, kind, request):
    # Otherwise Python writes compiled modules that are cut off at the limit, and later tests cannot load them.
    options = {"preexec_fn": limit_files, "env": os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}}
    if kind == "tmpfs":
        small = sweep.folder / "results"
        small.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=28k", "tmpfs", str(small)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("a file system cannot be mounted here")
        request.addfinalizer(lambda: subprocess.run(["umount", "-l", str(small)], check=False))
        options = {}
    trials = 8 if kind == "limit" else 20
    process = sweep.start(*TRIVIAL, "--seeds", str(trials), **options)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 3
    assert "Traceback" not in err
    (message,) = (line for line in err.splitlines() if line.startswith("nodebench: "))
    assert "cannot write there: " + ("File too large" if kind == "limit" else "No space left on device") in message
    kept = [record.id for record in sweep.run.records()]
    assert 0 < len(kept) < trials
    if kind == "tmpfs":
        subprocess.run(["mount", "-o", "remount,size=10m", str(sweep.folder / "results")], check=True)
    assert sweep.finish("--resume")[0] == 0
    sweep.check(trials)
    assert [record.id for record in sweep.run.records()][: len(kept)] == kept


def hammer(process: subprocess.Popen, seconds: float) -> None:
    """Press Ctrl-C in the process's terminal again and again, until it has ended or the time is over."""
    until = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < until:
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.002)


@pytest.mark.slow  # by day, tests/cli/test_commands.py presses it many times
def test_ctrl_c_pressed_many_times_ends_cleanly_and_names_the_way_on(sweep):
    process = sweep.start(*TRIVIAL, "--seeds", "30", "--jobs", "2")
    wait_for(process, "[1/")
    family = descendants(process)
    hammer(process, 8)  # less than PATIENCE_SECONDS, after which the command gives up its cleanup
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "--resume" in err
    assert_gone(family)


# A signal in the middle of an import of the command line, and one while the interpreter shuts down.
AT_IMPORT = """
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Finder())
"""
AT_EXIT = "atexit.register(signal.raise_signal, signal.SIGINT)"


@pytest.mark.parametrize(("moment", "code"), [(AT_IMPORT, 130), (AT_EXIT, 0)])
def test_ctrl_c_at_the_start_and_at_the_end_leaves_no_traceback(moment, code):
    program = f"import atexit, runpy, signal, sys\n{moment}\nsys.argv = ['nodebench', 'study', 'list']\n"
    program += "runpy.run_module('nodebench', run_name='__main__', alter_sys=True)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (code, "")


def test_the_installed_command_starts_where_signals_are_handled_first():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"nodebench": "nodebench.__main__:main"}


# --- Dask


@pytest.fixture
def dask(tmp_path):
    """Start a scheduler and some workers, each a process of its own: (address, scheduler, workers)."""
    started: list[subprocess.Popen] = []

    def start(program: str, *arguments: str) -> subprocess.Popen:
        command = [sys.executable, "-m", f"distributed.cli.dask_{program}", "--no-dashboard", *arguments]
        with (tmp_path / f"dask-{len(started)}.log").open("w") as log:
            started.append(subprocess.Popen(command, stdout=log, stderr=log))
        return started[-1]

    def cluster(workers: int) -> tuple[str, subprocess.Popen, list[subprocess.Popen]]:
        known_at = tmp_path / "scheduler.json"
        scheduler = start("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(known_at))
        while not known_at.exists() or not known_at.read_text().strip():
            time.sleep(0.1)
        address = json.loads(known_at.read_text())["address"]
        options = ("--nthreads", "1", "--no-nanny")
        return address, scheduler, [start("worker", address, *options) for _ in range(workers)]

    yield cluster
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_request_to_end_is_the_workers_to_hear(sweep, dask):
    address, _, workers = dask(1)
    process = sweep.start(*SLOW, "--seeds", "2", "--dask", address)
    wait_for(process, "epoch 1/")
    for one in [child for worker in workers for child in psutil.Process(worker.pid).children(recursive=True)]:
        one.terminate()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    sweep.check(2)


@pytest.mark.slow
def test_a_lost_worker_and_a_lost_scheduler_lose_nothing(sweep, dask):
    address, scheduler, workers = dask(2)
    process = sweep.start(*SLOW, "--seeds", "8", "--dask", address)
    wait_for(process, "[2/8]")
    workers[0].kill()
    wait_for(process, "[4/8]")
    scheduler.kill()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 3, err
    assert f"the Dask scheduler at {address} is gone" in err
    assert "Traceback" not in err
    assert "Error" not in err
    kept = sweep.run.records()
    assert 4 <= len(kept) < 8
    assert {record.status for record in kept} == {"ok"}
    assert all(record.place.host and record.environment["packages"]["torch"] for record in kept)
    code, err = sweep.finish("--resume", "--jobs", "2")
    assert code == 0, err
    sweep.check(8)
    assert len((sweep.run.folder / "records.jsonl").read_text().splitlines()) == 8


@pytest.mark.slow
def test_all_workers_lost_is_said_and_ctrl_c_ends_the_command(sweep, dask):
    address, _, workers = dask(1)
    process = sweep.start(*SLOW, "--seeds", "4", "--dask", address)
    wait_for(process, "[1/4]")
    workers[0].kill()
    wait_for(process, f"no Dask worker is left at {address}")
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in err
    assert "Traceback" not in err
    assert {record.status for record in sweep.run.records()} == {"ok"}


@pytest.mark.slow  # it waits for half a minute; test_dask_watch.py has the rule
def test_a_run_without_any_worker_ends_by_itself(sweep, dask):
    address, _, workers = dask(2)
    process = sweep.start(*SLOW, "--seeds", "8", "--dask", address)
    wait_for(process, "[2/8]")
    for worker in workers:
        worker.kill()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 3
    assert f"the Dask scheduler at {address} has had no worker for 30 s" in err
    assert "Traceback" not in err


@pytest.mark.slow  # it waits for a quarter of a minute; test_dask_watch.py has the rule
def test_ctrl_c_ends_the_command_when_a_worker_does_not_answer(sweep, dask):
    address, _, workers = dask(2)
    process = sweep.start(*SLOW, "--seeds", "8", "--dask", address)
    wait_for(process, "[2/8]")
    for worker in workers:
        worker.send_signal(signal.SIGSTOP)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "--resume" in err


# What a worker's machine looks like where nodebench is not installed.
WITHOUT_NODEBENCH = """
import sys
sys.modules["nodebench"] = None
from distributed.cli.dask_worker import main
main()
"""


def test_a_worker_without_nodebench_is_one_line(sweep, dask):
    address, _, _ = dask(0)
    command = [sys.executable, "-c", WITHOUT_NODEBENCH, address, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
    bare = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        code, err = sweep.finish(*TRIVIAL, "--dask", address)
    finally:
        bare.kill()
        bare.wait()
    assert code == 2
    (line,) = err.splitlines()
    assert re.search(r"worker tcp://\S+ cannot run nodebench \(.*nodebench.*\): install the parent's versions", line)


def test_ctrl_c_while_local_workers_start_ends_without_a_traceback(sweep):
    process = sweep.start(*TRIVIAL, "--dask", "local", "--jobs", "1")
    while not (starting := [one for one in descendants(process) if "spawn_main" in command_line(one)]):
        time.sleep(0.02)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in out + err
    assert_gone(starting)


@pytest.mark.slow
def test_ctrl_c_on_local_workers_keeps_what_is_finished(sweep):
    process = sweep.start(*SLOW, "--seeds", "8", "--dask", "local", "--jobs", "2")
    wait_for(process, "[1/")
    family = descendants(process)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in out + err
    assert "--resume" in err
    assert_gone(family)
