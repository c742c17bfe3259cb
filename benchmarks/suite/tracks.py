"""Deterministic metrics: each change has a cause in the code or in a library.

They are measured in float64, where neither counts nor the leading digits of an error depend on the order of summation.
``benchmarks/gate.py`` compares them with a stored baseline.
"""

import gc
from collections.abc import Callable
from functools import cache

import torch

from nodebench.instruments import MemoryMeter, NfeCounter
from nodebench.instruments.memory import StorageMeter
from nodebench.spec.metrics import metric
from suite.problems import FIELDS, GRADIENTS, SOLVERS, Problem, integrator, problem, reference, solved

DTYPE = torch.float64
SAMPLES = 2
STEPS_BESIDE = 3  # training steps that must not increase the live memory
LEFT_BEHIND = "left_behind_bytes"
UNITS = {"s": "seconds"}  # names of units in asv


@cache
def metrics_of(name: str, solver: str, gradient: str) -> dict[str, float]:
    """Measure all metrics of one combination, without those that cannot be measured for it."""
    torch.set_num_threads(1)
    one = problem(name, DTYPE, SAMPLES)
    counter = NfeCounter(count_vjps=True)
    solve = integrator(solver, gradient, one.times, counter)
    unseen = solve.adapter.unseen(solve.control)
    found: dict[str, float | None] = {}

    counter.begin_forward()
    existing = [*one.field.parameters(), one.y0, one.times]
    with MemoryMeter(existing, torch.device("cpu"), unseen) as meter:
        loss = one.loss(solve)
        meter.mark("forward")
        found |= {"nfe_forward": counter.forward, "sample_evaluations": counter.samples}
        counter.begin_backward()
        loss.backward()
    found |= {"vjp_calls": counter.vjp}
    if solve.control.gradient is not None and solve.control.gradient.solves_backwards:
        found["nfe_backward"] = counter.backward
    found |= {key: value for key, value in meter.metrics()[0].items() if key in NAMES}
    found[LEFT_BEHIND] = None if "tensor_peak_bytes" in unseen else _left_behind(one, lambda: one.loss(solve))

    states, slopes = solved(one, solve)
    true_states, true_slopes = reference(name, SAMPLES)
    found["solution_error"] = _relative(states[-1], true_states[-1])
    found["gradient_error"] = _relative(slopes, true_slopes)
    return {key: value for key, value in found.items() if value is not None and key not in unseen}


def _left_behind(one: Problem, forward: Callable[[], torch.Tensor]) -> int:
    """Bytes of tensors that a few steps leave alive, such as a graph that is still referenced."""
    gc.collect()
    with StorageMeter([*one.field.parameters(), one.y0, one.times]) as meter:
        forward().backward()
        gc.collect()
        before = meter.live
        for _ in range(STEPS_BESIDE):
            forward().backward()
        gc.collect()
        return meter.live - before


def _relative(given: torch.Tensor, true: torch.Tensor) -> float:
    return float((given - true).norm() / true.norm())


class Track:
    """One method per metric; see ``metrics_of``."""

    params = (list(FIELDS), list(SOLVERS), list(GRADIENTS))
    param_names = ("problem", "solver", "gradient")
    timeout = 240.0
    version = "1"

    def setup(self, name: str, solver: str, gradient: str) -> None:
        """Raise ``NotImplementedError`` for a combination that cannot be measured; asv skips a benchmark only here."""
        integrator(solver, gradient, problem(name, DTYPE, SAMPLES).times)


def _track(name: str) -> Callable[[Track, str, str, str], float]:
    def track(self: Track, problem: str, solver: str, gradient: str) -> float:
        return metrics_of(problem, solver, gradient).get(name, float("nan"))

    known = metric(name)
    track.__doc__ = f"{known.about}."
    track.unit = UNITS.get(known.unit, known.unit)
    track.pretty_name = f"{known.label} ({name})"
    return track


NAMES = (
    "nfe_forward",
    "nfe_backward",
    "sample_evaluations",
    "vjp_calls",
    "tensor_peak_bytes",
    "saved_bytes",
    "solution_error",
    "gradient_error",
    LEFT_BEHIND,
)
for _name in NAMES:
    setattr(Track, f"track_{_name}", _track(_name))
