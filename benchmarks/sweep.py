"""Measure the overhead of a sweep: start of trials, storage of records, memory of the parent, resuming.

    python benchmarks/sweep.py [--out FILE] [--trials 1000] [--records 10000]

The script prints the results and writes them with the description of the machine. Run it on an idle machine.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from unittest import mock

import numpy as np
import psutil
from cost import interval, single, timed

from nodebench.instruments import describe_environment
from nodebench.running.engines.local import LocalEngine
from nodebench.running.plan import plan
from nodebench.running.sweep import missing, sweep
from nodebench.spec import Grid, Record, Study
from nodebench.store.run_folder import RunFolder
from nodebench.trial.fork_server import wait_for_fork_server

TRIVIAL = {"task": "toy/exponential", "preset": "smoke", "solver": "euler", "threads": 1, "overrides": {"solves": 1}}
# The alternative to a fork server: a new interpreter per trial, with the imports that a trial needs.
INTERPRETER = [sys.executable, "-c", "import nodebench.trial.preload"]

Metrics = dict[str, dict[str, float | int] | float]


def study(trials: int) -> Study:
    """A study of trivial trials."""
    return Study(groups={"trivial": Grid.model_validate(TRIVIAL | {"seed": list(range(trials))})}, timing=False)


def swept(folder: Path, trials: int) -> Iterator[tuple[Record, int]]:
    """Run trivial trials; yield each record with the resident bytes of the parent at that time."""
    asked = study(trials)
    run = RunFolder.create(folder, asked, {})
    this = psutil.Process()
    for record in sweep(run, asked, plan(asked).planned, LocalEngine(1), lambda trial, progress: None):
        yield record, this.memory_info().rss


def overhead(folder: Path, trials: int) -> Metrics:
    """Measure the overhead of a trial, the start of a new interpreter, and the memory growth of the parent.

    The overhead is the time of a trial without its setup and passes: start, two reference loads, end. In seconds.
    """
    seconds, held = [], []
    for record, resident in swept(folder, trials):
        seconds.append(record.duration_seconds - record.costs["passes_seconds"])
        held.append(resident)
    fresh = [timed(lambda: subprocess.run(INTERPRETER, check=True)) for _ in range(10)]
    tenth = max(1, trials // 10)
    return {
        "overhead_seconds": interval(seconds[-500:]),
        "fresh_interpreter_seconds": interval(fresh),
        "fresh_interpreter_over_overhead": median(fresh) / median(seconds),
        "parent_bytes_a_trial": float(np.polyfit(range(trials - tenth), held[tenth:], 1)[0]),
    }


def append_and_resume(folder: Path, records: int) -> Metrics:
    """Measure the seconds to store a record, and to the first trial of a resumed run.

    The time of a record excludes the disk's sync. The fork server is already warm.
    """
    trial = single(**TRIVIAL)
    (record, _), *_ = swept(folder, 1)
    asked = study(records + 1)
    run = RunFolder.create(folder, asked, {})
    appended = []
    with mock.patch.object(os, "fsync"):
        for seed in range(records):
            of = trial.model_copy(update={"seed": seed})
            one = record.model_copy(update={"id": of.id, "trial": of})
            appended.append(timed(lambda one=one: run.append(one)))
    start = time.perf_counter()
    todo = missing(plan(asked).planned, run.records())
    began = []
    for _ in sweep(run, asked, todo, LocalEngine(1), lambda trial, progress: began.append(time.perf_counter())):
        pass
    return {"append_seconds": interval(appended[-500:]), "resume_seconds": min(began) - start}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/published/sweep.json"))
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--records", type=int, default=10_000)
    arguments = parser.parse_args()
    wait_for_fork_server()
    with tempfile.TemporaryDirectory() as folder:
        metrics: Metrics = {}
        for measure, size in ((append_and_resume, arguments.records), (overhead, arguments.trials)):
            part = measure(Path(folder), size)
            metrics |= part
            for name, metric in part.items():
                print(name, json.dumps(metric), flush=True)
    content = {"metrics": metrics, "environment": describe_environment()}
    arguments.out.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
