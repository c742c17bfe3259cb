"""Long trials are killed, stopped and run out of time; they go on from their checkpoints."""

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from nodebench.errors import BadInput
from nodebench.running.expand import multiply
from nodebench.running.rerun import run_until_steady
from nodebench.spec import DataSource, Grid, Limits, Record, Request, Status, Study
from nodebench.spec.record import Resumed
from nodebench.store.checkpoints import Checkpoints, checkpoint_files
from nodebench.store.maintenance import prune
from nodebench.store.run_folder import RunFolder
from nodebench.store.snapshots import load_snapshots
from nodebench.trial.isolation import Stop, run_isolated

COMMAND = [sys.executable, "-m", "nodebench", "run"]
COMMON = ["--preset", "smoke", "--threads", "1", "--passes", "training", "--checkpoint-every", "0.2"]
# Momentum, a learning-rate schedule, augmentation; dropout and every generator there is.
MNIST = "--task mnist --model rknet --solver rk4 --set train_images=96 --set epochs=3 --set augment=true"
TRAININGS = {
    "mnist": [*MNIST.split(), "--set", "schedule=cosine"],
    "everything random": ["--task", "test/random", "--solver", "rk4", "--set", "seconds=0.05"],
    "mnist, steps": [*MNIST.split(), "--set", "decay_epochs=1,2"],
    "latent-spirals": ["--task", "latent-spirals", "--set", "epochs=4", "--set", "steps_per_epoch=4"],
    "toy/spiral": [
        "--task",
        "toy/spiral",
        "--set",
        "epochs=5",
        "--set",
        "steps_per_epoch=10",
        "--set",
        "schedule=linear",
    ],
    "periodic": ["--task", "periodic", "--model", "gru-dt", "--set", "epochs=4", "--set", "steps_per_epoch=4"],
    "toy/spheres": ["--task", "toy/spheres", "--set", "epochs=8"],
    "ecg": ["--task", "ecg", "--set", "epochs=3", "--set", "steps_per_epoch=5"],
}
FEW = ("everything random",)
REQUEST = Request(passes=("training",))


def history_of(record: Record) -> list[dict]:
    """Everything but the seconds."""
    return [{name: value for name, value in row.items() if name != "seconds"} for row in record.history]


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*COMMAND, *arguments], cwd=folder, **options)


def only(folder: Path) -> tuple[RunFolder, Record]:
    (run,) = map(RunFolder, (folder / "results").iterdir())
    (record,) = run.records()
    return run, record


def stored(folder: Path) -> dict[str, int]:
    """Each checkpoint with the time at which it was stored."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("results/*/checkpoints/*.checkpoint")}


def kill_after_checkpoint(process: subprocess.Popen, folder: Path, delay: float) -> bool:
    """Kill a command some time after its trial has stored a checkpoint; false if it has ended before."""
    before = stored(folder)
    while stored(folder) in (before, {}):
        if process.poll() is not None:
            return False
        time.sleep(0.005)
    time.sleep(delay)
    process.kill()
    process.communicate()
    return process.returncode < 0


@pytest.mark.parametrize(
    ("name", "kills"),
    [
        *((name, 1) for name in FEW),
        *(pytest.param(name, 5, marks=pytest.mark.slow, id=f"{name}, often") for name in TRAININGS),
    ],
)
def test_a_training_killed_at_random_has_the_history_of_one_that_was_not(nodebench_in, tmp_path, name, kills):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    arguments = [*TRAININGS[name], *COMMON]
    # A history does not depend on how long its steps sleep.
    code, _, err = nodebench_in(whole, "run", *("seconds=0" if word == "seconds=0.05" else word for word in arguments))
    assert code == 0, err
    moments = random.Random(name)
    hits = 0
    for _ in range(kills):
        process = start(killed, *arguments)
        hits += kill_after_checkpoint(process, killed, moments.uniform(0, 0.3))
        if process.returncode == 0:
            break
        arguments = ["--resume", "--checkpoint-every", "0.2"]
    else:
        code, _, err = nodebench_in(killed, "run", *arguments)
        assert code == 0, err
    (run, record), (expected_run, expected) = only(killed), only(whole)
    assert expected.resumed is None
    assert hits >= 1
    assert record.resumed is not None, err
    assert 1 <= record.resumed.times <= hits
    assert history_of(record) == history_of(expected)
    assert (record.metrics, record.wrong) == (expected.metrics, expected.wrong)
    assert record.costs["nfe_forward"] == expected.costs["nfe_forward"]
    assert not (run.folder / "checkpoints").exists()
    assert_same_film(run.snapshots_path(record), expected_run.snapshots_path(expected))


def assert_same_film(path: Path, expected: Path) -> None:
    assert path.exists() == expected.exists()
    if path.exists():
        snapshots, other = load_snapshots(path), load_snapshots(expected)
        assert snapshots.keys() == other.keys()
        for epoch in snapshots:
            np.testing.assert_equal(vars(snapshots[epoch]), vars(other[epoch]))


# --- the same in one process for each trial, without the command line


@pytest.fixture
def run(tmp_path) -> RunFolder:
    return RunFolder.create(tmp_path, Study(groups={"typed": GRID}), {"cpu": "test"})


GRID = Grid(task="test/random", preset="smoke", solver=["rk4"], overrides={"seconds": [0.05]}, threads=1)


def trial_of(**options: object):
    overrides = {name: [value] for name, value in {"seconds": 0.05, **options}.items()}
    return multiply(GRID.model_copy(update={"overrides": overrides}), DataSource())[0][0]


class Notices(list):
    def __call__(self, progress) -> None:
        self += [progress.notice] if progress.notice else []


def go(trial, run: RunFolder, every: float = 0.1, report: Callable = lambda progress: None, **how) -> Record:
    checkpoints = Checkpoints.of(run.folder, every)
    limits = how.pop("limits", Limits())
    return run_isolated(trial, limits, DataSource(), report, request=REQUEST, checkpoints=checkpoints, **how)[0]


def interrupted(trial, run: RunFolder, every: float = 0.1) -> Record:
    """The record of a trial that is stopped once it has stored a checkpoint."""
    stop = Stop()

    def wait() -> None:
        end = time.monotonic() + 120
        while not any(checkpoint_files(run.folder).values()) and time.monotonic() < end:
            time.sleep(0.01)
        stop.ask()

    waiting = threading.Thread(target=wait)
    waiting.start()
    record = go(trial, run, every=every, stop=stop)
    waiting.join()
    assert record.status is Status.INTERRUPTED
    assert any(checkpoint_files(run.folder).values())
    return record


def test_a_resumed_trial_says_so_and_its_times_are_those_of_all_processes(run):
    trial = trial_of()
    first = interrupted(trial, run)
    run.append(first)
    told = Notices()
    record = go(trial, run, report=told)
    assert record.status is Status.OK
    (notice,) = told
    assert notice.startswith("resumes from its checkpoint, after ")
    assert record.resumed is not None
    assert record.resumed.times == 1
    assert 0 < record.resumed.seconds < first.duration_seconds
    assert record.reasons["resumed"].code == "resumed"
    assert "from 2 processes" in str(record.reasons["resumed"])
    assert record.duration_seconds > record.costs["passes_seconds"] > record.resumed.seconds
    assert len(record.calibration) == 3
    assert record.costs["timed_steps"] < 4 * 8 - 2  # each process warms up
    assert [row["epoch"] for row in record.history] == [0, 1, 2, 3, 4]
    again = Record.parse(record.line())
    assert again == record
    run.append(record)
    assert checkpoint_files(run.folder) == {}


def test_a_trial_without_checkpoints_has_the_record_it_always_had(run):
    record = go(trial_of(seconds=0.0), run, every=600.0)
    assert record.resumed is None
    assert "resumed" not in record.reasons
    assert len(record.calibration) == 2
    assert not (run.folder / "checkpoints").exists()
    old = json.loads(record.line())
    del old["resumed"]
    assert Record.model_validate({name: value for name, value in old.items() if name != "checksum"}) == record


def test_no_checkpoint_is_stored_where_the_interval_is_zero(run):
    assert go(trial_of(seconds=0.01), run, every=0.0).status is Status.OK
    assert not (run.folder / "checkpoints").exists()


@pytest.mark.parametrize("options", [{"tells_state": False}, {"hidden": True}])
def test_no_checkpoint_is_stored_of_what_cannot_be_restored(run, options):
    """A task that does not say what its training depends on, and a field that counts its calls."""
    record = go(trial_of(seconds=0.005, **options), run, every=0.01)
    assert record.status is Status.OK
    assert not (run.folder / "checkpoints").exists()


def path_of(run: RunFolder) -> Path:
    (name,) = checkpoint_files(run.folder)
    return run.folder / "checkpoints" / name


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def plant_pickle(path: Path) -> None:
    """A whole file of the right form, whose content makes another kind of object."""
    import pickle

    Checkpoints.of(path.parents[1], 1.0).write(path.stem, pickle.dumps(Path("/")))


DAMAGES = {
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:1000]),
    "a changed byte": flip_a_byte,
    "empty": lambda path: path.write_bytes(b""),
    "nonsense": lambda path: path.write_bytes(b"nonsense\n" * 100),
    "a pickle": plant_pickle,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Record:
    """The record of a training that nothing disturbed; its history does not depend on how long an evaluation takes."""
    folder = tmp_path_factory.mktemp("whole")
    run = RunFolder.create(folder, Study(groups={"typed": GRID}), {"cpu": "test"})
    return go(trial_of(seconds=0.0), run, every=0.0)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(plant, id=name, marks=pytest.mark.slow if name in ("empty", "nonsense") else ())
        for name, plant in DAMAGES.items()
    ],
)
def test_a_damaged_checkpoint_is_one_line_and_the_trial_begins_anew(run, whole, damage):
    trial = trial_of(seconds=0.012)
    interrupted(trial, run, every=0.05)
    damage(path_of(run))
    assert_begins_anew(trial, run, whole)


def test_the_checkpoint_of_another_trial_is_refused(run, whole):
    trial, other = trial_of(seconds=0.012), trial_of(seconds=0.0121)
    interrupted(other, run, every=0.05)
    path_of(run).rename(run.folder / "checkpoints" / f"{trial.id}.checkpoint")
    assert_begins_anew(trial, run, whole)


def test_a_checkpoint_of_other_software_is_refused_by_name(run, whole):
    trial = trial_of(seconds=0.012)
    interrupted(trial, run, every=0.05)
    change(run, trial, lambda content: content["identity"].update(packages='{"torch": "1.0"}'))
    assert "stored with another packages" in assert_begins_anew(trial, run, whole)


def test_a_checkpoint_that_does_not_fit_leaves_no_trace_in_the_training(run, whole):
    trial = trial_of(seconds=0.012)
    interrupted(trial, run, every=0.05)
    # The weights are read before the optimiser, which does not fit.
    change(run, trial, lambda content: content["state"]["training"]["now"].update(optimizer={"state": {}}))
    assert_begins_anew(trial, run, whole)


def change(run: RunFolder, trial, edit: Callable) -> None:
    from nodebench.trial.training_state import from_bytes, to_bytes

    checkpoints = Checkpoints.of(run.folder, 1.0)
    content = from_bytes(checkpoints.read(trial.id))
    edit(content)
    checkpoints.write(trial.id, to_bytes(content))


def assert_begins_anew(trial, run: RunFolder, whole: Record) -> str:
    told = Notices()
    record = go(trial, run, every=600.0, report=told)
    (notice,) = told
    assert "starts from the beginning" in notice
    assert "\n" not in notice
    assert record.status is Status.OK
    assert record.resumed is None
    assert history_of(record) == history_of(whole)
    return notice


def test_a_checkpoint_that_cannot_be_stored_is_told_once_and_the_training_goes_on(run):
    (run.folder / "checkpoints").write_text("in the way")
    told = Notices()
    assert go(trial_of(seconds=0.02), run, every=0.05, report=told).status is Status.OK
    (notice,) = told
    assert "cannot be stored" in notice


def test_the_time_limit_counts_the_seconds_of_earlier_processes_and_a_longer_one_goes_on(run):
    trial = trial_of(seconds=0.03)
    first = interrupted(trial, run)
    change(run, trial, lambda content: content.update(seconds=1000.0))
    record = go(trial, run, limits=Limits(timeout=900.0))
    assert record.status is Status.TIMEOUT
    assert record.duration_seconds > 1000.0
    assert record.resumed is not None
    assert len(record.history) >= len(first.history) >= 1
    run.append(record)
    record = go(trial, run)
    assert record.status is Status.OK
    assert record.resumed is not None


def test_a_killed_trial_goes_on_when_failed_trials_run_again(nodebench, tmp_path):
    def kill_after_checkpoint() -> None:
        end = time.monotonic() + 120
        while not stored(tmp_path) and time.monotonic() < end:
            time.sleep(0.005)
        trial_process().kill()

    killer = threading.Thread(target=kill_after_checkpoint)
    killer.start()
    code, _, _ = nodebench("run", *TRAININGS["everything random"], *COMMON)
    killer.join()
    assert code == 1
    _, record = only(tmp_path)
    assert record.status is Status.CRASHED
    code, _, err = nodebench("run", "--resume", "--retry-failed")
    assert code == 0, err
    assert only(tmp_path)[1].resumed is not None, err


def trial_process() -> psutil.Process:
    """The only one that the fork server of this process has."""
    (server,) = (p for p in psutil.Process().children() if "forkserver" in " ".join(p.cmdline()))
    (trial,) = server.children()
    return trial


# --- a drifting machine


def record_of(run: RunFolder, **known) -> Record:
    trial = trial_of()
    frame = {"id": trial.id, "trial": trial, "started": "2026-01-01", "duration_seconds": 1.0}
    return Record(**frame, status=Status.OK, drifted=True, calibration=[1.0, 2.0], **known)


def attempts(run: RunFolder, record: Record) -> Iterator[tuple[Record, dict]]:
    while True:
        assert checkpoint_files(run.folder) == {}
        checkpoints = Checkpoints.of(run.folder, 1.0)
        checkpoints.write(record.id, b"state")
        yield record, {}


def test_a_trial_that_runs_again_for_drift_does_not_resume_the_finished_one(run):
    each = attempts(run, record_of(run))
    record, _ = run_until_steady(lambda: next(each), 3, Checkpoints.of(run.folder, 1.0))
    assert record.place.attempts == 3


def test_a_resumed_trial_does_not_run_again_for_drift(run):
    each = attempts(run, record_of(run, resumed=Resumed(times=1, seconds=1.0)))
    record, _ = run_until_steady(lambda: next(each), 3, Checkpoints.of(run.folder, 1.0))
    assert record.place.attempts == 1
    assert record.drifted
    assert record.reasons["drifted"].code == "drifted"


# --- files


def test_a_run_elsewhere_is_told_from_the_one_on_this_machine(run, tmp_path):
    ours = Checkpoints.of(run.folder, 1.0)
    assert ours.are_shared()
    assert not replace(ours, folder=tmp_path / "nowhere").are_shared()
    assert not replace(ours, run="").are_shared()
    other = RunFolder.create(tmp_path, Study(groups={"typed": GRID}), {"cpu": "test"})
    assert not replace(ours, folder=other.folder).are_shared()


def test_a_cut_off_write_leaves_the_checkpoint_before_it(run):
    checkpoints = Checkpoints.of(run.folder, 1.0)
    id = trial_of().id
    checkpoints.write(id, b"first")
    (run.folder / "checkpoints" / f"{id}.part").write_bytes(b"nodebench check")
    assert checkpoints.read(id) == b"first"
    checkpoints.write(id, b"second")
    assert checkpoints.read(id) == b"second"
    assert os.listdir(run.folder / "checkpoints") == [f"{id}.checkpoint"]


def test_nothing_is_written_through_a_symbolic_link(run, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (run.folder / "checkpoints").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadInput, match="symbolic link"):
        Checkpoints.of(run.folder, 1.0).write(trial_of().id, b"state")
    with pytest.raises(BadInput, match="symbolic link"), run.writing():
        pass
    assert os.listdir(tmp_path / "elsewhere") == []


def test_prune_removes_checkpoints_from_which_resume_does_not_go_on(run):
    """Those of trials with a record and cut-off ones; not those of stopped trials, nor files of others."""
    checkpoints = Checkpoints.of(run.folder, 1.0)
    ended, stopped, unfinished = (trial_of(seconds=seconds) for seconds in (0.0, 0.1, 0.2))
    for trial, status in ((ended, Status.CRASHED), (stopped, Status.INTERRUPTED)):
        frame = {"id": trial.id, "trial": trial, "started": "2026-01-01", "duration_seconds": 1.0}
        run.append(Record(**frame, status=status))
    for trial in (ended, stopped, unfinished):
        checkpoints.write(trial.id, b"state")
    folder = run.folder / "checkpoints"
    (folder / f"{unfinished.id}.part").write_bytes(b"")
    (folder / f"{'0' * 12}.checkpoint").write_bytes(b"of somebody else")
    kept = {f"{stopped.id}.checkpoint", f"{unfinished.id}.checkpoint", f"{'0' * 12}.checkpoint"}
    found = prune(run.folder.parent, remove=False)
    assert len(found) == 2
    assert prune(run.folder.parent, remove=True) == found
    assert set(os.listdir(folder)) == kept
    assert prune(run.folder.parent, remove=True) == []


def test_prune_leaves_a_run_that_has_only_a_checkpoint(run):
    checkpoints = Checkpoints.of(run.folder, 1.0)
    id = trial_of().id
    checkpoints.write(id, b"state")
    assert prune(run.folder.parent, remove=True) == []
    checkpoints.remove(id)
    (run.folder / "checkpoints" / f"{id}.part").write_bytes(b"")
    (found,) = prune(run.folder.parent, remove=True)
    assert "a run without a record" in found
    assert not run.folder.exists()


@pytest.mark.parametrize("typed", ["-1", "nan", "inf"])
def test_an_impossible_interval_is_refused(nodebench, typed):
    code, _, err = nodebench("run", "--task", "toy/spiral", f"--checkpoint-every={typed}")
    assert code == 2
    assert "--checkpoint-every" in err
    assert "Traceback" not in err


def test_a_run_keeps_its_interval_and_another_one_can_be_typed(nodebench, tmp_path):
    small = ["--task", "toy/exponential", "--preset", "smoke", "--threads", "1", "--quiet", "--checkpoint-every", "7"]
    small += ["--solver", "euler", "--set", "solves=1", "--passes", "training"]
    assert nodebench("run", *small)[0] == 0
    (run,) = map(RunFolder, (tmp_path / "results").iterdir())
    assert run.study().checkpoint_every == 7.0
    assert Study(groups={"typed": GRID}).checkpoint_every == 600.0
