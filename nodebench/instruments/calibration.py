"""The reference load, timed before and after each trial to detect a change in machine speed."""

import time

import torch

# A trial is marked as drifted if its two reference load times differ by more than this factor.
DRIFT_FACTOR = 1.25


def calibrate(repeats: int = 4) -> float:
    """Return the seconds of a fixed CPU load (matrix products and a Python loop), the minimum of ``repeats``.

    Other load on the machine only adds time and affects the minimum least; a change in machine speed changes it too.
    """
    times = []
    for repeat in range(repeats + 1):
        start = time.perf_counter()
        _load()
        if repeat > 0:  # the first run includes the start of the thread pool
            times.append(time.perf_counter() - start)
    return min(times)


def _load() -> None:
    left = torch.ones(320, 320)
    for _ in range(4):
        left @ left
    total = 0
    for i in range(50_000):
        total += i


def drifted(before: float, after: float) -> bool:
    """Return whether the speed of the machine changed between the start and the end."""
    return max(before, after) / min(before, after) > DRIFT_FACTOR
