"""Measuring the noise of this machine, with trials that take no time."""

import fcntl
import threading

import pytest
from evidence import evidence

from nodebench.errors import RunAborted
from nodebench.running.engines.local import LocalEngine
from nodebench.running.expand import multiply
from nodebench.running.noise import measure_noise
from nodebench.spec import DataSource, Grid, Preset, Trial
from nodebench.spec.calibration import Calibration
from nodebench.store.calibrations import FILE, calibrations, keep

TRIVIAL = Grid(task="toy/exponential", preset=Preset.SMOKE, solver=["euler"], overrides={"solves": [1]}, threads=1)


def one(grid: Grid) -> list[Trial]:
    return multiply(grid, DataSource())[0]


def test_a_stop_ends_the_pause_between_rounds():
    engine, pressed, records = LocalEngine(1), [], []

    def stop():
        pressed.append(True)
        engine.stop()

    def finished(record):
        records.append(record)
        if len(records) == 2:  # the round is over
            threading.Timer(0.3, stop).start()

    with pytest.raises(RunAborted, match="interrupted"):
        measure_noise(one(TRIVIAL), 2, 2, 600.0, engine, lambda *_: None, finished, lambda: pressed)
    assert [record.status for record in records] == ["ok", "ok"]


class Made:
    """An engine whose trials end at once with given metrics."""

    def __init__(self, metrics: list[dict[str, float]]) -> None:
        self._metrics = iter(metrics)

    def run(self, trials, *_):
        for trial, metrics in zip(trials, self._metrics, strict=True):
            made = evidence(costs=metrics)
            yield made.model_copy(update={"trial": trial, "id": trial.id}), None


def test_a_measured_zero_is_a_value(tmp_path):
    costs = [{"process_peak_bytes": value, "step_seconds": 1.0} for value in (0.0, 8.0, 4.0, 0.0)]
    found = measure_noise(one(TRIVIAL), 2, 2, 0.0, Made(costs), lambda *_: None, lambda record: None)
    assert found.rounds["toy/exponential"]["process_peak_bytes"] == [[0.0, 8.0], [4.0, 0.0]]


def test_a_calibration_waits_for_another_process_that_writes_the_file(tmp_path):
    """Two commands that share a results folder; the file that the other one writes ends in half a line."""
    keep(tmp_path, calibration("first"))
    path = tmp_path / FILE
    whole = path.read_text()
    with path.open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        other.write("half a li")
        other.flush()
        writer = threading.Thread(target=keep, args=(tmp_path, calibration("second")))
        writer.start()
        writer.join(0.5)
        assert writer.is_alive()
        assert path.read_text() == whole + "half a li"
    writer.join()
    assert [one.started for one in calibrations(tmp_path)] == ["first", "second"]


def calibration(started: str) -> Calibration:
    return Calibration(started=started, environment={}, threads=1, rounds={})


def test_a_load_that_fails_is_named():
    faulty = Grid(task="test/faults", preset=Preset.SMOKE, solver=["rk4"], overrides={"fault": ["raise"]}, threads=1)
    with pytest.raises(RunAborted, match="the load test/faults ended as error: "):
        measure_noise(one(faulty), 2, 2, 0.0, LocalEngine(1), lambda *_: None, lambda record: None)
