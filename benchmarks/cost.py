"""Measure the overhead of the timed pass and the memory pass, and the time of ``--help``.

    python benchmarks/cost.py [--out FILE]

The script prints the results with their intervals and writes them with the description of the machine. Arms are paired
and interleaved, so a slow period affects both. Intervals are 95 % BCa bootstrap intervals of the median.
"""

import argparse
import gc
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import scipy.stats
import torch
from torch import nn
from torchdiffeq import odeint_adjoint

from nodebench.instruments import MemoryMeter, NfeCounter, Stopwatch, describe_environment
from nodebench.models.ode_block import OdeBlock
from nodebench.models.trajectories import OdeTrajectories
from nodebench.running.expand import multiply
from nodebench.spec import DataSource, Gradient, Grid, Trial
from nodebench.tasks import Experiment
from nodebench.trial.build import experiment_of, integrator_of
from nodebench.trial.step import step_tensors, training_step

CPU = torch.device("cpu")


def interval(values: Sequence[float]) -> dict[str, float | int]:
    """Median with its 95 % interval."""
    result = scipy.stats.bootstrap([np.array(values)], np.median, method="BCa", rng=0)
    low, high = result.confidence_interval
    return {"median": float(np.median(values)), "low": float(low), "high": float(high), "n": len(values)}


def timed(work: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def build(trial: Trial) -> tuple[Experiment, NfeCounter]:
    """Build the experiment of a trial in this process; return it with its NFE counter."""
    counter = NfeCounter()
    return experiment_of(trial, integrator_of(trial, counter), DataSource()), counter


def single(**grid: object) -> Trial:
    """Return the only trial of a grid."""
    (trial,) = multiply(Grid.model_validate(grid), DataSource())[0]
    return trial


def bare_solve(trial: Trial) -> Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return a solve as a user would write it with torchdiffeq alone."""
    options = {"step_size": trial.step_size} if trial.step_size else {}
    tolerances = {"rtol": trial.rtol, "atol": trial.atol} if trial.rtol else {}

    def solve(field: nn.Module, y0: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        return odeint_adjoint(field, y0, times, method=trial.solver, options=options, **tolerances)

    return solve


def timed_pass(task: str, rounds: int, **grid: object) -> dict[str, dict[str, float | int]]:
    """Time ratio of a step in the timed pass to the same step written by hand; control: by hand to by hand.

    All arms use one thread and the same layers, so only the code differs.
    """
    torch.set_num_threads(1)
    trial = single(task=task, gradient=[Gradient.ADJOINT], **grid)
    ours, counter = build(trial)
    solve = bare_solve(trial)
    if task == "mnist":
        bare: nn.Module = nn.Sequential(*(OdeBlock(m.field, solve) if hasattr(m, "field") else m for m in ours.model))
    else:
        bare = OdeTrajectories(ours.model.field, solve)
    watch = Stopwatch(CPU)
    batch = next(ours.batches(0))

    def timed_step() -> None:
        watch.start()
        watch.mark("data")
        training_step(ours, batch, counter, watch.mark)

    def by_hand() -> None:
        ours.optimizer.zero_grad()
        loss = ours.loss(bare, batch)
        loss.backward()
        ours.optimizer.step()
        loss.item()

    arms = {"timed": timed_step, "control": by_hand, "by hand": by_hand}
    order = random.Random(0)
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for turn in range(rounds + 2):
        for name in order.sample(list(arms), len(arms)):
            took = timed(arms[name])
            if turn >= 2:
                seconds[name].append(took)
    by_hand_seconds = np.array(seconds["by hand"])
    return {name: interval(np.array(seconds[name]) / by_hand_seconds) for name in ("timed", "control")}


def memory_pass(pairs: int) -> dict[str, float | int]:
    """Ratio of an MNIST step under the memory meter to one without it."""
    experiment, counter = build(single(task="mnist", preset="quick"))
    batch = next(experiment.batches(0))

    def metered() -> None:
        with MemoryMeter(step_tensors(experiment, batch), CPU) as meter:
            training_step(experiment, batch, counter, meter.mark)

    def plain() -> None:
        training_step(experiment, batch, counter, lambda part: None)

    metered()
    return interval([timed(metered) / timed(plain) for _ in range(pairs)])


def help_seconds(repeats: int) -> dict[str, float | int]:
    """Seconds of ``nodebench --help`` in a fresh interpreter."""
    command = [sys.executable, "-m", "nodebench", "--help"]
    return interval([timed(lambda: subprocess.run(command, check=True, capture_output=True)) for _ in range(repeats)])


def main() -> None:
    """Measure and write."""
    gc.freeze()  # as a trial's process does
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/published/cost.json"))
    out = parser.parse_args().out
    metrics = {
        "help_seconds": help_seconds(20),
        "memory_pass_over_mnist_step": memory_pass(10),
    }
    # One rk4 step over [0, 1] keeps training steps short: many rounds fit and make the interval narrow.
    for name, task, rounds, step_size in (("mnist", "mnist", 600, [1.0]), ("spiral", "toy/spiral", 600, [])):
        for arm, ratio in timed_pass(task, rounds, preset="smoke", solver=["rk4"], step_size=step_size).items():
            metrics[f"{arm}_over_by_hand_{name}"] = ratio
    for name, metric in metrics.items():
        print(name, json.dumps(metric))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"metrics": metrics, "environment": describe_environment()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
