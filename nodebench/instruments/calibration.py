"""A fixed load, timed before and after each trial: did the machine drift?"""

import time

import torch

# A trial is marked when its two calibrations differ by more than this factor.
DRIFT_FACTOR = 1.25


def calibrate(repeats: int = 4) -> float:
    """Seconds of a fixed load on the CPU: one matrix product and an interpreted loop; the least of ``repeats``.

    The least, since other load only ever adds time; drift of the machine itself moves the least as well.
    """
    times = []
    for repeat in range(repeats + 1):
        start = time.perf_counter()
        _load()
        if repeat > 0:  # the first one pays for the start of the thread pool
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
    """Tell whether the machine was another one, in speed, at the end than at the start."""
    return max(before, after) / min(before, after) > DRIFT_FACTOR
