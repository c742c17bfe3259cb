"""Measuring the noise of this machine, with trials that take no time."""

import threading

import pytest

from nodebench.errors import RunAborted
from nodebench.running.engines.local import LocalEngine
from nodebench.running.expand import multiply
from nodebench.running.noise import measure_noise
from nodebench.spec import DataSource, Grid, Preset, Trial

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


def test_a_load_that_fails_is_named():
    faulty = Grid(task="test/faults", preset=Preset.SMOKE, solver=["rk4"], overrides={"fault": ["raise"]}, threads=1)
    with pytest.raises(RunAborted, match="the load test/faults ended as error: "):
        measure_noise(one(faulty), 2, 2, 0.0, LocalEngine(1), lambda *_: None, lambda record: None)
