"""Measuring the noise of this machine, with trials that take no time."""

import threading
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from evidence import evidence

from nodebench.errors import RunAborted
from nodebench.running.engines.local import LocalEngine
from nodebench.running.expand import multiply
from nodebench.running.noise import measure_noise
from nodebench.spec import DataSource, Grid, Preset, Trial
from nodebench.store.run_folder import append_line

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


def test_two_processes_keep_all_their_calibrations(tmp_path):
    """Two nodes of a cluster that share a results folder."""
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        list(pool.map(append_many, [tmp_path] * 2, "ab"))
    lines = (tmp_path / "lines").read_text().splitlines()
    assert Counter(lines) == {f"{name} {number}" * 50: 1 for name in "ab" for number in range(200)}


def append_many(folder: Path, name: str) -> None:
    for number in range(200):
        append_line(folder, "lines", f"{name} {number}" * 50)


def test_a_load_that_fails_is_named():
    faulty = Grid(task="test/faults", preset=Preset.SMOKE, solver=["rk4"], overrides={"fault": ["raise"]}, threads=1)
    with pytest.raises(RunAborted, match="the load test/faults ended as error: "):
        measure_noise(one(faulty), 2, 2, 0.0, LocalEngine(1), lambda *_: None, lambda record: None)
