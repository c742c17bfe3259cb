"""Precision of the interleaved pass: ratios of an arm to itself, and of an arm with 5 % more work to its baseline.

    python benchmarks/interleaved.py [--replicates N] [--out FILE]

Each replicate is a trial with its own seed and its own process, as in a study, on one thread. The script measures three
ratios, each without other load and beside a process that occupies the core of the trial for half of the time:

- an arm to itself, interleaved: the true ratio is 1, and the interval shows the precision;
- an arm to itself from one trial to the next, without interleaving, for comparison;
- an arm with 5 % more evaluations to its baseline: the ratio of evaluations is exactly 1.05, that of times close to it.

The script prints the results and writes them with the description of the machine. Intervals are 95 % t-intervals of the
mean logarithm over the replicates.
"""

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import scipy.stats

from nodebench.instruments import describe_environment
from nodebench.running.baseline import baseline_of
from nodebench.running.expand import multiply
from nodebench.spec import DataSource, Grid, Limits, Pass, Record, Request, Status, Trial
from nodebench.trial.fork_server import start_fork_server, wait_for_fork_server
from nodebench.trial.isolation import run_isolated

# Small networks and few images: a step of each takes some milliseconds.
PROBLEMS: dict[str, dict[str, object]] = {
    "mnist": {
        "task": "mnist",
        "model": "odenet",
        "solver": "rk4",
        "step_size": 0.5,
        "gradient": "direct",
        "overrides": {"epochs": 1, "batch_size": 16, "train_images": 320, "test_images": 50},
    },
    "toy/spiral": {
        "task": "toy/spiral",
        "model": "small",
        "solver": "rk4",
        "gradient": "direct",
        "overrides": {"epochs": 1, "steps_per_epoch": 100},
    },
}
# rk4 over [0, 1] in 20 and in 21 steps of four evaluations each: 5 % more work, and nothing else differs.
FINE, COARSE = 1 / 20.5, 1 / 19.5
SLOWED: dict[str, object] = {"task": "toy/exponential", "solver": "rk4", "overrides": {"span": 1.0}}

# A process that occupies its core for half of the time, in bursts like a browser or a build.
NEIGHBOUR = """
import time
while True:
    until = time.perf_counter() + 0.05
    while time.perf_counter() < until:
        pass
    time.sleep(0.05)
"""


def interval(ratios: Sequence[float]) -> dict[str, float | int]:
    """Geometric mean of ratios with its 95 % t-interval."""
    logs = np.log(ratios)
    half = scipy.stats.t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / math.sqrt(len(logs))
    mean = logs.mean()
    low, middle, high = np.exp([mean - half, mean, mean + half]).tolist()
    return {"mean": middle, "low": low, "high": high, "n": len(logs)}


@contextmanager
def neighbour(core: int) -> Iterator[None]:
    """Keep a core busy for half of the time."""
    process = subprocess.Popen([sys.executable, "-c", NEIGHBOUR])
    try:
        os.sched_setaffinity(process.pid, {core})
        yield
    finally:
        process.kill()
        process.wait()


def trials(replicates: int, **grid: object) -> list[Trial]:
    """The replicates of one trial."""
    return multiply(Grid.model_validate({**grid, "threads": 1, "seed": list(range(replicates))}), DataSource())[0]


def measure(trial: Trial, baseline: Trial, core: int) -> Record:
    """Run a trial with its interleaved pass on one core; return its record."""
    request = Request(passes=(Pass.TRAINING,), against=baseline)
    record, _ = run_isolated(trial, Limits(), DataSource(), lambda progress: None, None, (core,), request)
    if record.status is not Status.OK or record.interleaved is None:
        raise SystemExit(f"{trial.task}: {record.status}: {record.failure or record.reasons.get('interleaved')}")
    return record


def against_itself(replicates: int, core: int, **grid: object) -> dict[str, object]:
    """Ratios of a trial to itself, interleaved and from one trial to the next."""
    records = [measure(trial, trial, core) for trial in trials(replicates, **grid)]
    pairs = [record.interleaved for record in records if record.interleaved]
    seconds = [record.costs["step_seconds"] or math.nan for record in records]
    return {
        **{name: interval([pair.ratios[name] for pair in pairs]) for name in pairs[0].ratios if "seconds" in name},
        "nfe_forward": [pair.ratios["nfe_forward"] for pair in pairs],
        "spread": float(np.median([pair.spread["step_seconds"] for pair in pairs])),
        "pairs": pairs[0].blocks,
        "steps": pairs[0].steps,
        "one trial over the next": interval([a / b for a, b in zip(seconds[1:], seconds[:-1], strict=True)]),
    }


def slowed(replicates: int, core: int, **grid: object) -> dict[str, object]:
    """Ratios of an arm with 5 % more evaluations to its baseline."""
    pairs = []
    for trial in trials(replicates, **grid, step_size=FINE):
        baseline = baseline_of(trial, {"step_size": COARSE})
        pairs.append(measure(trial, baseline, core).interleaved)
    return {
        "step_seconds": interval([pair.ratios["step_seconds"] for pair in pairs if pair]),
        "nfe_forward": [pair.ratios["nfe_forward"] for pair in pairs if pair],
    }


def everything(replicates: int, core: int) -> dict[str, dict[str, object]]:
    """Measure all ratios under the current load."""
    metrics = {f"{name} against itself": against_itself(replicates, core, **grid) for name, grid in PROBLEMS.items()}
    metrics["5 % more evaluations"] = slowed(replicates, core, **SLOWED)
    for name, metric in metrics.items():
        print(f"  {name}: {json.dumps(metric)}", flush=True)
    return metrics


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("results/published/interleaved.json"))
    options = parser.parse_args()
    start_fork_server()
    wait_for_fork_server()
    core = max(os.sched_getaffinity(0))
    before = os.getloadavg()[0]
    print(f"load average before: {before:.2f}")
    metrics = {"alone": everything(options.replicates, core)}
    print("beside a process on the same core:")
    with neighbour(core):
        metrics["beside a neighbour"] = everything(options.replicates, core)
    found = {"metrics": metrics, "load_before": before, "environment": describe_environment()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
