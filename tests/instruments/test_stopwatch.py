import time

import pytest
import torch

from nodebench.instruments import Stopwatch, calibrate, describe_environment, drifted

CPU = torch.device("cpu")


def timed(naps: list[tuple[float, float]], warm_up: int) -> dict:
    watch = Stopwatch(CPU, warm_up)
    for forward, backward in naps:
        watch.start()
        watch.mark("data")
        time.sleep(forward)
        watch.mark("forward")
        time.sleep(backward)
        watch.mark("backward")
    return watch.summary()


def test_parts_are_told_apart_and_add_up():
    figures = timed([(0.02, 0.06)] * 5, warm_up=0)
    assert figures["backward_seconds"] / figures["forward_seconds"] == pytest.approx(3, rel=0.5)
    assert figures["step_seconds"] >= figures["forward_seconds"] + figures["backward_seconds"] - 1e-3
    assert figures["step_seconds_q1"] <= figures["step_seconds"] <= figures["step_seconds_q3"]
    assert figures["optimiser_seconds"] is None


def test_warm_up_is_left_out():
    figures = timed([(0.2, 0)] * 2 + [(0.001, 0)] * 5, warm_up=2)
    assert figures["timed_steps"] == 5
    assert figures["step_seconds_q3"] < 0.1


def test_nothing_timed_is_null_not_zero():
    assert timed([(0, 0)], warm_up=1)["step_seconds"] is None


def test_what_is_resumed_after_is_left_out():
    watch = Stopwatch(CPU, warm_up=0)
    watch.start()
    time.sleep(0.1)
    watch.resume()
    watch.mark("forward")
    assert watch.last_step < 0.05


def test_drift_is_symmetric():
    assert drifted(1.0, 1.5)
    assert drifted(1.5, 1.0)
    assert not drifted(1.0, 1.1)


def test_calibration_takes_time():
    assert calibrate(repeats=2) > 0


def test_the_environment_names_what_a_reader_asks_for():
    environment = describe_environment()
    assert environment["packages"]["torch"] == torch.__version__.split("+")[0]
    assert environment["cores"]["usable"] >= 1
    assert environment["memory_bytes"] > 0
    assert set(environment) >= {"python", "cpu", "threads", "blas", "governor", "code", "container"}
