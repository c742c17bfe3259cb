"""Sweeps with closed or full streams, few descriptors, long temporary paths, and a parent that is stopped or killed."""

import fcntl
import io
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from nodebench.spec import Record
from nodebench.store.run_folder import list_runs
from nodebench.trial.scratch import remove_stale

COMMAND = [sys.executable, "-m", "nodebench", "run"]
TRIVIAL = ["--task", "toy/exponential", "--preset", "smoke", "--solver", "euler", "--set", "solves=1", "--threads", "1"]
FAULTS = ["--task", "test/faults", "--preset", "smoke", "--solver", "rk4", "--threads", "1"]


def shell(folder: Path, arguments: list[str], rest: str = "", before: str = "", **variables: str):
    command = f"{before} {shlex.join([*COMMAND, *arguments])} {rest}"
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def records(folder: Path) -> list[Record]:
    return [record for run in list_runs(folder / "results") for record in run.records()]


def ours_in(folder: Path) -> set[Path]:
    """What nodebench and multiprocessing leave in a folder; torch has a cache of its own there."""
    return {path for path in folder.iterdir() if path.name.startswith(("nodebench-", "pymp-"))}


@pytest.mark.parametrize(
    ("redirection", "code"),
    [
        (">/dev/full", 3),
        *(
            pytest.param(*one, marks=pytest.mark.slow)
            for one in (("<&- >&- 2>&-", 0), ("2>/dev/full", 0), (">&-", 0), ("2>&-", 0), ("--json >/dev/full", 3))
        ),
    ],
)
def test_closed_and_full_streams_change_no_record(tmp_path, redirection, code):
    done = shell(tmp_path, [*TRIVIAL, "--seeds", "2"], redirection)
    assert [record.status for record in records(tmp_path)] == ["ok", "ok"]
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert ("cannot write to standard output: No space left on device" in done.stderr) == (code == 3)


def test_a_reader_that_leaves_does_not_end_a_sweep(tmp_path, nodebench_to):
    reading, writing = os.pipe()
    read, errors = [], io.StringIO()

    def read_a_line() -> None:
        with os.fdopen(reading) as pipe:
            read.append(pipe.readline())

    reader = threading.Thread(target=read_a_line)
    reader.start()
    with suppress(BrokenPipeError), os.fdopen(writing, "w") as output:  # closing it flushes what is left
        code = nodebench_to(tmp_path, output, errors, "run", *TRIVIAL, "--seeds", "4", "--json")
    reader.join()
    assert code == 1
    assert Record.parse(read[0]).status == "ok"
    assert [record.status for record in records(tmp_path)] == ["ok"] * 4
    assert "Traceback" not in errors.getvalue()


@pytest.mark.slow
def test_a_reader_in_a_shell_that_leaves_does_not_end_a_sweep(tmp_path):
    done = shell(tmp_path, [*TRIVIAL, "--seeds", "4", "--json"], "| head -n 1")
    assert len(done.stdout.splitlines()) == 1
    assert [record.status for record in records(tmp_path)] == ["ok"] * 4
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("limit", [8, 16])
def test_too_few_descriptors_are_bad_input(tmp_path, limit):
    done = shell(tmp_path, TRIVIAL, before=f"ulimit -n {limit};")
    assert done.returncode == 2
    assert done.stderr == f"nodebench: this process may open {limit} files; allowed: 64 or more (see 'ulimit -n')\n"


@pytest.mark.slow
def test_the_soft_limit_of_descriptors_is_raised(tmp_path):
    done = shell(tmp_path, [*TRIVIAL, "--jobs", "2", "--seeds", "2"], before="ulimit -S -n 16;")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_temporary_folder_with_a_long_path_will_do(tmp_path):
    folder = tmp_path / ("x" * 150)
    folder.mkdir()
    done = shell(tmp_path, TRIVIAL, TMPDIR=str(folder))
    assert done.returncode == 0, done.stderr
    assert ours_in(folder) == set()


@pytest.mark.slow
def test_a_folder_named_as_the_package_is_not_imported_in_its_place(tmp_path):
    (tmp_path / "nodebench").mkdir()
    (tmp_path / "nodebench" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    program = Path(sys.executable).with_name("nodebench")  # whose path has no working folder
    done = subprocess.run([program, "run", *TRIVIAL], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "imported" not in done.stderr


@pytest.fixture
def temporary():
    """A folder whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


def test_what_killed_commands_left_is_removed_at_the_next_start(tmp_path, temporary):
    foreign, link = temporary / "nodebench-12345678", temporary / "nodebench-abcdefgh"
    foreign.mkdir()
    (foreign / "mine.txt").write_text("kept")
    link.symlink_to(foreign)
    environment = os.environ | {"TMPDIR": str(temporary)}
    process = subprocess.Popen([*COMMAND, *FAULTS, "--set", "seconds=0.05"], cwd=tmp_path, env=environment)
    while process.poll() is None and not trials_of(process):
        time.sleep(0.05)
    (left,) = ours_in(temporary) - {foreign, link}
    remove_stale(temporary)
    assert left.is_dir()  # its owner lives
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()  # before its children: it would remove the folder when they end
    process.wait()
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    assert left.is_dir()
    starting = "from nodebench.trial.scratch import make_scratch_folder; make_scratch_folder()"
    subprocess.run([sys.executable, "-c", starting], env=environment, check=True)
    assert ours_in(temporary) == {foreign, link}
    assert (foreign / "mine.txt").read_text() == "kept"


def trials_of(process: subprocess.Popen) -> list[psutil.Process]:
    return [child for child in psutil.Process(process.pid).children(recursive=True) if is_trial(child)]


def is_trial(process: psutil.Process) -> bool:
    try:
        return "forkserver" in " ".join(process.parent().cmdline())
    except (psutil.Error, AttributeError):
        return False


@pytest.mark.slow
def test_a_stopped_parent_does_not_turn_a_finished_trial_into_a_timeout(tmp_path):
    arguments = [*FAULTS, "--set", "seconds=0.001", "--passes", "training", "--timeout", "15"]
    process = subprocess.Popen([*COMMAND, *arguments], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "epoch 1/" in line:
            break
    process.send_signal(signal.SIGSTOP)
    _, alive = psutil.wait_procs(trials_of(process), timeout=60)
    assert alive == []
    time.sleep(16)  # until after the limit
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=60)
    (record,) = records(tmp_path)
    assert record.status == "ok"
    assert record.duration_seconds < 15


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 100])
def test_a_fork_that_fails_is_no_interruption(tmp_path, times):
    """The operating system refuses forks from the third one on, once or for good; a trial runs meanwhile."""
    arguments = [*FAULTS, "--set", "seconds=0.002", "--passes", "training", "--seeds", "4", "--jobs", "2"]
    done = shell(tmp_path, arguments, REFUSED_FORKS=f"3:{times}", REFUSED_COUNT=str(tmp_path / "count"))
    assert "stopped by the user" not in done.stderr
    assert "Traceback" not in done.stderr
    statuses = {record.status for record in records(tmp_path)}
    assert statuses == {"ok"}, done.stderr
    if times == 1:
        assert done.returncode == 0, done.stderr
        assert len(records(tmp_path)) == 4
    else:
        assert done.returncode == 3, done.stderr
        assert "no trial can be started: the fork server ended" in done.stderr
        assert 0 < len(records(tmp_path)) < 4
        assert "--resume" in done.stderr


def test_a_run_that_another_program_has_locked_is_not_written(nodebench, tmp_path):
    assert nodebench("run", *TRIVIAL)[0] == 0
    (run,) = list_runs(tmp_path / "results")
    before = (run.folder / "records.jsonl").read_bytes()
    with (run.folder / "lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        code, _, err = nodebench("run", "--resume")
    assert code == 2
    assert "is being written by" in err
    assert (run.folder / "records.jsonl").read_bytes() == before
