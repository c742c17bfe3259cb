import time
from types import SimpleNamespace

import pytest
import torch

from nodebench.instruments import (
    Stopwatch,
    calibrate,
    calibration,
    describe_environment,
    drifted,
    stopwatch,
)

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


Y0 = torch.ones(4, 3)


def clock(monkeypatch, module, *seconds: float) -> None:
    """A clock that shows these times one after another."""
    shown = iter(seconds)
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: next(shown)))


def watched(monkeypatch, steps: list[tuple[float, ...]], **options) -> dict:
    """The summary of steps whose parts take so long."""
    return stepped(monkeypatch, steps, **options).summary()


def stepped(monkeypatch, steps: list[tuple[float, ...]], **options) -> Stopwatch:
    """Steps whose parts take so long; a step ends where the next begins."""
    now, times = 0.0, []
    for step in steps:
        times.append(now)
        for seconds in step:
            times.append(now := now + seconds)
    clock(monkeypatch, stopwatch, *times)
    watch = Stopwatch(CPU, **options)
    for step in steps:
        watch.start()
        for part, _ in zip(stopwatch.PARTS, step, strict=False):
            watch.mark(part)
        assert watch.last_step == pytest.approx(sum(step))
    return watch


def test_the_summary_is_of_medians_and_quartiles_after_two_steps(monkeypatch):
    steps = [(90.0, 5.0, 3.0, 2.0), (50.0, 0.0, 0.0, 0.0), *[(1.0, float(i), 2.0 * i, 4.0) for i in range(1, 6)]]
    figures = watched(monkeypatch, steps)
    assert figures == pytest.approx(
        {
            "data_seconds": 1.0,
            "forward_seconds": 3.0,
            "backward_seconds": 6.0,
            "optimiser_seconds": 4.0,
            "step_seconds": 14.0,
            "step_seconds_q1": 11.0,
            "step_seconds_q3": 17.0,
            "first_step_seconds": 100.0,
            "timed_steps": 5,
        }
    )


def test_means_are_those_of_the_steps_after_the_warm_up(monkeypatch):
    steps = [(90.0, 5.0), (50.0, 1.0), (1.0, 2.0), (2.0, 6.0)]
    found = stepped(monkeypatch, steps, warm_up=2).means()
    assert found == {"data_seconds": 1.5, "forward_seconds": 4.0, "step_seconds": 5.5}
    assert stepped(monkeypatch, steps, warm_up=4).means() == {}


def test_without_a_warm_up_no_step_was_the_first_one(monkeypatch):
    assert watched(monkeypatch, [(1.0,), (2.0,)], warm_up=0)["first_step_seconds"] is None
    nothing = Stopwatch(CPU).summary()
    assert nothing == dict.fromkeys(nothing) | {"timed_steps": 0}


def test_an_accelerator_is_waited_for_at_each_mark(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waited.append("mps"))
    for device in (torch.device("cuda"), torch.device("mps"), CPU):
        watch = Stopwatch(device)
        watch.start()
        watch.resume()
        watch.mark("forward")
        stopwatch.synchronise(device)
    assert waited == [torch.device("cuda")] * 4 + ["mps"] * 4


def test_the_calibration_is_the_least_of_all_but_the_first(monkeypatch):
    clock(monkeypatch, calibration, 0.0, 10.0, 14.0, 20.0, 22.0, 30.0, 33.0)  # a start alone; then 4 s, 2 s, 3 s
    loads = []
    monkeypatch.setattr(calibration, "_load", lambda: loads.append(1))
    assert (calibrate(repeats=3), len(loads)) == (2.0, 4)


def test_the_load_of_the_calibration_is_fixed(monkeypatch):
    """Its size: records are compared by it, over the years."""
    products = []
    ones = torch.ones(2, 2)
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda left, right: products.append(left.shape) or ones)
    calibration._load()
    assert products == [(320, 320)] * 4


def test_a_quarter_more_is_no_drift_yet():
    assert [drifted(1.0, 1.25), drifted(1.25, 1.0), drifted(1.0, 1.26), drifted(1.26, 1.0)] == [False] * 2 + [True] * 2
    assert drifted(2.0, 2.4) is False
