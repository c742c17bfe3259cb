"""Growth of the peak memory of a training step with the number of evaluations: adjoint over direct.

Verdict: memory-constant (paper), part "spiral". The step is one forward and backward pass of a 2–50–2 network on
20 windows of a spiral, through torchdiffeq's rk4 (float32). The peak is the maximum of the running sum of the
allocation events of torch's profiler. ``direct`` is the growth with the gradient ``direct``, in bytes per evaluation;
``adjoint / direct`` is the number of the verdict.
Source: Chen et al. 2018, arXiv 1806.07366, section 1, "Memory efficiency".

    python benchmarks/independent/memory_constant.py --step-size 0.126 0.063 0.0315 0.01575
"""

import argparse
import json
from itertools import accumulate
from statistics import linear_regression

import torch
from problems import SPAN, Counted, Network, spiral
from torch.profiler import ProfilerActivity, profile
from torchdiffeq import odeint, odeint_adjoint

WINDOWS, LENGTH, POINTS = 20, 10, 200
SOLVES = {"direct": odeint, "adjoint": odeint_adjoint}


def step(field: Counted, gradient: str, step_size: float, seed: int) -> int:
    """One forward and backward pass over the windows; return the calls of the field in the forward pass."""
    times = torch.linspace(0, SPAN, POINTS, dtype=torch.float64)
    first = torch.randperm(POINTS - LENGTH, generator=torch.Generator().manual_seed(seed))[:WINDOWS]
    targets = spiral(times)[first + torch.arange(LENGTH)[:, None], 0].float()
    elapsed = times[:LENGTH].float()
    found = SOLVES[gradient](field, targets[0], elapsed, method="rk4", options={"step_size": step_size})
    calls = field.take()
    (found - targets).abs().mean().backward()
    return calls


def measured(gradient: str, step_size: float, seed: int) -> tuple[int, int]:
    """Calls in the forward pass, and peak bytes of the step."""
    field = Counted(Network(seed))
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        calls = step(field, gradient, step_size, seed)
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return calls, max(accumulate(event.nbytes() for event in events))


def growth(gradient: str, step_sizes: list[float], seed: int) -> float:
    """Return the bytes of peak memory per evaluation: the slope of a line fitted over the step sizes."""
    calls, peaks = zip(*(measured(gradient, size, seed) for size in step_sizes), strict=True)
    return linear_regression(calls, peaks).slope


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step-size", type=float, nargs="+", default=[0.126, 0.063, 0.0315, 0.01575])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    direct, adjoint = (growth(gradient, arguments.step_size, arguments.seed) for gradient in SOLVES)
    print(json.dumps({"direct": direct, "adjoint / direct": adjoint / direct}))
